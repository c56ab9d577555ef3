package process

import (
	"os"
	"strconv"
	"strings"
)

// oomShare is what [Expose] adds to oom_score_adj.
const oomShare = 200

// Expose makes pid a likelier victim of the OOM killer than a process whose
// oom_score_adj is own; best effort.
func Expose(pid, own int) {
	const most = 1000
	path := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	_ = os.WriteFile(path, strconv.AppendInt(nil, int64(min(own+oomShare, most)), 10), 0)
}

// OOMScore is this process's oom_score_adj.
func OOMScore() int {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}
