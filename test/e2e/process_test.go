package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// long says whether the long counts are wanted.
func long() bool { return os.Getenv("HERMES_SOAK") != "" }

// seeded is the seed of a test's randomness, and says how to have it again.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("HERMES_CHAOS_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with HERMES_CHAOS_SEED=%d", seed)
	return seed
}

// upTo is a random duration below most.
func upTo(rnd *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(most)))
}

// usage is what a process takes of the machine.
type usage struct {
	descriptors, threads int
	pss                  int64         // bytes
	cpu                  time.Duration // user and system, ever
}

func (u usage) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, PSS %.1f MB, CPU %v", u.descriptors, u.threads, float64(u.pss)/1e6, u.cpu)
}

func (h *host) usage(pid int) usage {
	h.t.Helper()
	u := usage{descriptors: h.descriptors(pid)}
	u.threads = int(h.number(pid, "status", "Threads:"))
	u.pss = h.number(pid, "smaps_rollup", "Pss:") * 1024
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		h.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond // Linux has 100 ticks a second on every machine we run on
	for _, f := range fields[utime : stime+1] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			h.t.Fatal(err)
		}
		u.cpu += time.Duration(ticks) * tick
	}
	return u
}

// number is the one after a label in a file of /proc.
func (h *host) number(pid int, file, label string) int64 {
	h.t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		rest, ok := strings.CutPrefix(line, label)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			h.t.Fatal(err)
		}
		return n
	}
	h.t.Fatalf("/proc/%d/%s has no %s", pid, file, label)
	return 0
}

// settled is what a process takes once it has let go of what it had to do.
func (h *host) settled(pid int) usage {
	h.t.Helper()
	var u usage
	h.eventually("the descriptors of a process stay as they are", func() error {
		u = h.usage(pid)
		pause(500 * time.Millisecond)
		if now := h.descriptors(pid); now != u.descriptors {
			return fmt.Errorf("%d and %d", u.descriptors, now)
		}
		return nil
	})
	return u
}

// growth bounds what may be left after work that is done: no descriptor, a few
// threads (the Go runtime keeps those it ever needed) and some memory.
type growth struct {
	threads int
	pss     int64
}

// keeperGrowth: the keeper has its threads from the beginning, and collects its
// garbage only once that is 8 MB.
func keeperGrowth() growth { return growth{threads: 2, pss: 16 << 20} }

// engineGrowth is what the runtime of the engine keeps for itself.
func engineGrowth() growth { return growth{threads: 8, pss: 12 << 20} }

// atRest waits until a process has no more than it had.
func (h *host) atRest(what string, pid func() int, before usage, g growth) {
	h.t.Helper()
	var now usage
	h.eventually(what+" takes no more than before: "+before.String(), func() error {
		now = h.usage(pid())
		if now.descriptors > before.descriptors || now.threads > before.threads+g.threads || now.pss > before.pss+g.pss {
			return fmt.Errorf("now %s", now)
		}
		return nil
	})
	h.t.Logf("%s before: %s; after: %s", what, before, now)
}

// stateOf is the letter /proc has for a process, "" where there is none.
func stateOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return string(rest[:1])
}

// only checks that what lives of this host is its supervisor and these.
func (h *host) only(pids []int) error {
	f := h.fleet()
	want := append([]int{f.KeeperPID, f.EnginePID}, pids...)
	got := h.processes()
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("processes %v, want keeper %d, engine %d and %v", got, f.KeeperPID, f.EnginePID, pids)
	}
	return nil
}
