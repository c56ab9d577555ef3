package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that the services read too.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // it cannot fail; a figure of this would be absurd at first sight
	}
	return t.Nano()
}

// mark is a life of a service: when it began, and its pid.
type mark struct {
	at  int64
	pid int
}

// parseMarks reads the whole lines of a service's file.
func parseMarks(text string) ([]mark, error) {
	var marks []mark
	for line := range strings.Lines(text) {
		var m mark
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if _, err := fmt.Sscanf(line, "%d %d\n", &m.at, &m.pid); err != nil {
			return nil, fmt.Errorf("%q is no mark of a service", line)
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// parseParent is the parent of a process, from its /proc/PID/stat.
func parseParent(text string) (int, error) {
	// The command is in brackets and may be any text, brackets too.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 || !strings.Contains(text, ")") {
		return 0, fmt.Errorf("%q is no /proc/PID/stat", text)
	}
	return strconv.Atoi(fields[1])
}

// tree is root and all that descend from it, root first.
func tree(root int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		parent, err := parseParent(string(text))
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// field is the sum of the numbers after "name:" in the lines of text.
func field(text string, names ...string) (sum int64, ok bool) {
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":")
		values := strings.Fields(rest)
		for _, want := range names {
			if !found || name != want || len(values) == 0 {
				continue
			}
			v, err := strconv.ParseInt(values[0], 10, 64)
			if err != nil {
				return 0, false
			}
			sum, ok = sum+v, true
		}
	}
	return sum, ok
}

// pssKB is the process's memory, what it shares counted by its share.
func pssKB(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	kb, ok := field(string(text), "Pss")
	if !ok {
		return 0, fmt.Errorf("process %d has no Pss in smaps_rollup", pid)
	}
	return kb, nil
}

// switches counts how often a process's threads were put on a processor.
func switches(pid int) (int64, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		n, ok := field(string(text), "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
		if err != nil || !ok {
			return 0, fmt.Errorf("cannot count the context switches in %s", path)
		}
		sum += n
	}
	return sum, nil
}

// descriptors counts the process's open files.
func descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// pidfds refer to processes whatever becomes of their pids. Those that ended
// already are left out. The caller closes them.
func pidfds(pids []int) ([]int, error) {
	var fds []int
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("cannot open a pidfd of %d: %w", pid, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// awaitEnd waits until all have ended, one after the other: it is woken as
// seldom as can be, and the last one's end is the end of all.
func awaitEnd(fds []int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for i, fd := range fds {
		for {
			left := time.Until(deadline)
			if left <= 0 {
				return fmt.Errorf("of %d processes %d had ended after %v", len(fds), i, limit)
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			if n == 1 {
				break
			}
		}
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
