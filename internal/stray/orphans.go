package stray

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
)

// Process is a process and what anybody may know of it.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Name  string `json:"name"`  // as the kernel has it, 15 bytes; hostile text
	UID   uint32 `json:"uid"`
	Group int    `json:"group"`
}

// Age is how long ago the process was started.
func (p Process) Age() time.Duration {
	return time.Duration(max(process.Ticks(), p.Start)-p.Start) * (time.Second / process.TicksPerSecond)
}

// Look reads what anybody may know of process pid; false if it is gone, or
// has ended and is not reaped yet.
func Look(pid int) (Process, bool) {
	st, err := process.ReadStat(pid)
	if err != nil || st.State == 'Z' || st.State == 'X' {
		return Process{}, false
	}
	uid, ok := owner(pid)
	return Process{PID: pid, Start: st.Start, Name: st.Name, UID: uid, Group: st.Group}, ok
}

// owner is the effective uid of process pid, or 0 if the process does not let
// itself be looked at.
func owner(pid int) (uint32, bool) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(pid), &st); err != nil {
		return 0, false
	}
	return st.Uid, true
}

// Orphans lists the children of process reaper that it may have been given
// when their parents ended. The kernel gives them to its first thread; those
// that other threads of it forked are not in the list, which keeps it short.
func Orphans(reaper int) ([]int, error) {
	pid := strconv.Itoa(reaper)
	b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if errors.Is(err, fs.ErrNotExist) {
		return childrenOf(reaper) // no CONFIG_PROC_CHILDREN
	}
	if err != nil {
		return nil, err
	}
	return parseChildren(b), nil
}

func parseChildren(b []byte) []int {
	var pids []int
	for f := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants are pids and all that descends from them.
func descendants(pids []int) map[int]bool {
	all := map[int]bool{}
	for len(pids) > 0 {
		pid := pids[len(pids)-1]
		pids = pids[:len(pids)-1]
		if all[pid] {
			continue
		}
		all[pid] = true
		pids = slices.Concat(pids, children(pid))
	}
	return all
}

// children lists the children of process pid, whichever thread forked them.
func children(pid int) []int {
	tasks := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil
	}
	var all []int
	for _, thread := range threads {
		b, err := os.ReadFile(tasks + "/" + thread.Name() + "/children")
		if errors.Is(err, fs.ErrNotExist) && thread.Name() == strconv.Itoa(pid) {
			all, _ = childrenOf(pid)
			return all
		}
		all = append(all, parseChildren(b)...)
	}
	return all
}

// childrenOf looks at every process for its parent.
func childrenOf(reaper int) ([]int, error) {
	if _, err := process.ReadStat(reaper); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(process.All(), func(pid int) bool {
		st, err := process.ReadStat(pid)
		return err != nil || st.Parent != reaper
	}), nil
}
