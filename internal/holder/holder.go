// Package holder finds the process that holds a flock(2) on a file, proves it,
// and can end it.
//
// A gateway holds gateway.lock for life, so the lock says whether it lives; a
// pid in a file is only advice. The proof is the kernel's: /proc/locks names
// this very inode, the process is of our pid namespace, and, where we may look,
// its table of descriptors shows the file. Signals go by pidfd, so they cannot
// hit a process that got the pid later.
package holder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrFree is the answer for a file nobody holds, or that is not there.
	ErrFree = errors.New("nobody holds the lock")
	// ErrHidden is the answer for a lock whose holder cannot be seen or proven:
	// it is of another container, or it inherited the lock from the process
	// that took it.
	ErrHidden = errors.New("the process that holds the lock cannot be seen from here")
)

// Holder is the process that holds a lock.
type Holder struct {
	PID  int
	file string
	id   lockID
}

// lockID is a file as /proc/locks prints it, "fd:01:1234".
type lockID string

// Of finds the holder of the lock on file. Errors: ErrFree, ErrHidden, or what
// opening the file gave. It takes no lock if it can do without, so that it
// never makes a gateway fail that starts at this moment.
func Of(file string) (Holder, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Holder{}, ErrFree
	case err != nil:
		return Holder{}, &fs.PathError{Op: "open", Path: file, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	id, err := identify(fd)
	if err != nil {
		return Holder{}, fmt.Errorf("cannot identify %s: %w", file, err)
	}
	pid, err := lockedBy(id)
	if err != nil {
		return Holder{}, err
	}
	if pid == 0 {
		return Holder{}, probe(fd)
	}
	if !visible(pid) || !mayHold(pid, fd) {
		return Holder{}, ErrHidden
	}
	return Holder{PID: pid, file: file, id: id}, nil
}

// probe asks the kernel about a lock /proc/locks does not show us: that of a
// process in another pid namespace. The lock it may get is gone at once.
func probe(fd int) error {
	switch err := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil:
		_ = unix.Flock(fd, unix.LOCK_UN)
		return ErrFree
	case errors.Is(err, unix.EWOULDBLOCK):
		return ErrHidden
	default:
		return fmt.Errorf("cannot test the lock: %w", err)
	}
}

// identify builds the lockID of an open file. The device is the one of the
// mount, from mountinfo: stat gives another one on btrfs and overlayfs.
func identify(fd int) (lockID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	major, minor, ino := unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "ino":
			if n, err := strconv.ParseUint(value, 10, 64); err == nil {
				ino = n
			}
		case "mnt_id":
			if ma, mi, ok := mountDevice(value); ok {
				major, minor = ma, mi
			}
		}
	}
	return lockID(fmt.Sprintf("%02x:%02x:%d", major, minor, ino)), nil
}

// mountDevice is the device of a mount in /proc/self/mountinfo.
func mountDevice(mountID string) (major, minor uint32, ok bool) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != mountID {
			continue
		}
		n, err := fmt.Sscanf(fields[2], "%d:%d", &major, &minor)
		return major, minor, err == nil && n == 2
	}
	return 0, 0, false
}

// lockedBy is the pid that took the flock on id, 0 for none we can see.
func lockedBy(id lockID) (int, error) {
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("cannot list locks: %w", err)
	}
	return findLock(string(table), id), nil
}

// findLock reads /proc/locks: "1: FLOCK  ADVISORY  WRITE 77 fd:01:1234 0 EOF".
// Waiters have "->" as their second word.
func findLock(table string, id lockID) int {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || lockID(f[5]) != id {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// visible reports that pid lives in our own pid namespace: then its NSpid line,
// read from our /proc, has one number. A process of a container has two.
func visible(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(rest)) == 1
		}
	}
	return true // no such line: a kernel without pid namespaces
}

// mayHold is false when pid's descriptors can be read and do not show the file
// open as fd: the process that took the lock is gone, and pid is a stranger.
func mayHold(pid, fd int) bool {
	var want unix.Stat_t
	if unix.Fstat(fd, &want) != nil {
		return false
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(dir+"/"+e.Name(), &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino {
			return true
		}
	}
	return false
}
