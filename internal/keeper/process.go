package keeper

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BootID is the kernel's random id of this boot, "" where it does not tell.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// PIDNamespace is the inode of this process's pid namespace, 0 where the
// kernel does not tell. A pid means something only inside its namespace.
func PIDNamespace() uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0
	}
	return st.Ino
}

// StartTime is when process pid started: field 22 of its stat file, clock
// ticks since boot. With the pid it identifies a process within one boot.
// A zombie still has one.
func StartTime(pid int) (uint64, error) {
	st, err := readStat(pid)
	return st.start, err
}

// stat is the part of /proc/<pid>/stat that is used here.
type stat struct {
	state  byte
	parent int
	start  uint64
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
	}
	return parseStat(b)
}

// parseStat reads a stat line. The command in it is in parentheses and may
// itself hold anything, so fields are counted from the last one.
func parseStat(b []byte) (stat, error) {
	const state, parent, start = 0, 1, 19 // after the command, which is field 2
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) <= start {
		return stat{}, fmt.Errorf("cannot read %q as a process's status", b)
	}
	ppid, err := strconv.Atoi(string(f[parent]))
	if err != nil {
		return stat{}, fmt.Errorf("cannot read %q as a parent's pid", f[parent])
	}
	ticks, err := strconv.ParseUint(string(f[start]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("cannot read %q as a start time", f[start])
	}
	return stat{state: f[state][0], parent: ppid, start: ticks}, nil
}

// processes lists the pids there are, nil without /proc.
func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// children lists this process's direct children, zombies too.
func children() []int {
	self := os.Getpid()
	return slices.DeleteFunc(processes(), func(pid int) bool {
		st, err := readStat(pid)
		return err != nil || st.parent != self
	})
}

// clockTick is the kernel's USER_HZ, 100 on every Linux Go runs on.
const clockTick = 1e9 / 100

// ticksNow is the clock StartTime is measured with.
func ticksNow() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano()) / clockTick
}

// oomShare is added to a run's oom_score_adj, so that the keeper and the
// engine are never the first victims.
const oomShare = 200

// raiseOOM makes pid a likelier victim of the OOM killer; best effort.
func raiseOOM(pid, own int) {
	const most = 1000
	path := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	_ = os.WriteFile(path, strconv.AppendInt(nil, int64(min(own+oomShare, most)), 10), 0)
}

// ownOOM is this process's oom_score_adj.
func ownOOM() int {
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
