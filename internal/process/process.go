// Package process tells which process is which: by pid and start time, boot and
// pid namespace. A pid alone may be somebody else's a moment later.
package process

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
	st, err := ReadStat(pid)
	return st.Start, err
}

// Stat is the part of /proc/<pid>/stat that is used here.
type Stat struct {
	Name   string // of the program, at most 15 bytes; the process may change it
	State  byte   // a letter, as in ps: 'Z' is a zombie
	Parent int    // its pid
	Group  int    // its process group
	Start  uint64 // clock ticks since boot
}

// ReadStat reads the status of process pid. A zombie still has one.
func ReadStat(pid int) (Stat, error) {
	b, err := readLine("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, fmt.Errorf("cannot read the status of process %d: %w", pid, err)
	}
	return parseStat(b)
}

// maxLine is longer than any stat file: some 50 numbers and a name.
const maxLine = 2048

// readLine reads a file of /proc, which one read gives as a whole. Every fork is
// followed by one: package os would ask the poller about it too, and for its size.
func readLine(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, maxLine)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// parseStat reads a stat line. The command in it is in parentheses and may
// itself hold anything, so fields are counted from the last one.
func parseStat(b []byte) (Stat, error) {
	const state, parent, group, start = 0, 1, 2, 19 // after the command, which is field 2
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	f := bytes.Fields(b[end+1:])
	if len(f) <= start || open < 0 || open > end {
		return Stat{}, fmt.Errorf("cannot read %q as a process's status", b)
	}
	ppid, err := strconv.Atoi(string(f[parent]))
	if err != nil {
		return Stat{}, fmt.Errorf("cannot read %q as a parent's pid", f[parent])
	}
	pgrp, err := strconv.Atoi(string(f[group]))
	if err != nil {
		return Stat{}, fmt.Errorf("cannot read %q as a process group", f[group])
	}
	ticks, err := strconv.ParseUint(string(f[start]), 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("cannot read %q as a start time", f[start])
	}
	return Stat{Name: string(b[open+1 : end]), State: f[state][0], Parent: ppid, Group: pgrp, Start: ticks}, nil
}

// All lists the pids there are, nil without /proc.
func All() []int {
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

// Children lists this process's direct Children, zombies too.
func Children() []int {
	self := os.Getpid()
	return slices.DeleteFunc(All(), func(pid int) bool {
		st, err := ReadStat(pid)
		return err != nil || st.Parent != self
	})
}

// TicksPerSecond is the kernel's USER_HZ, 100 on every Linux Go runs on.
const TicksPerSecond = 100

// Ticks is now on the clock that [StartTime] is measured with.
func Ticks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano()) / (1e9 / TicksPerSecond)
}
