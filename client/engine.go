package client

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// enginePID finds the engine of the keeper with that pid: its child that was
// started as `hermes … engine --runtime …`. It is 0 if /proc does not show one.
func enginePID(keeper int) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || parentOf(pid) != keeper {
			continue
		}
		argv, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err == nil && bytes.Contains(argv, []byte("\x00engine\x00--runtime\x00")) {
			return pid
		}
	}
	return 0
}

// parentOf reads the fourth field of proc_pid_stat(5); the second, in
// parentheses, may hold anything. 0 for a process that is gone.
func parentOf(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}
