// Package slotlock is the lock file of a slot, which every run of it carries:
// while anything of the run holds the file's OFD lock the slot is taken, and
// the record in the file says by whom. So a supervisor that was not there when
// a run was started finds it, and proves what it ends.
//
// # Usage
//
// Whoever starts a run opens the file with [Open], locks it with [Try], lets
// the run inherit the descriptor, and writes the [Record]. Whoever comes after
// a supervisor that is gone calls [Sweep].
//
// # Failure
//
// Nothing is signalled that is not proven to be of the run: by its record (pid,
// start time, boot, pid namespace) or by the locked descriptor in its hands.
package slotlock

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
)

// Suffix follows the slot in the name of its lock file.
const Suffix = ".lock"

// Open opens the lock file at path and makes it if there is none. It is no
// link, and closed by exec.
func Open(path string) (fd int, err error) {
	return unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
}

// Try takes the OFD lock on fd: it belongs to the open description, so it
// is held until the last process with a copy of fd is gone.
func Try(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// Unlock gives up the lock of fd's description, for every copy of fd.
func Unlock(fd int) {
	_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
}

// Record is what a lock file says about the run that holds it.
type Record struct {
	Slot       string
	Generation uint64
	PID        int
	Birth      uint64 // clock ticks since boot
	Place
}

// Place is where a pid means something.
type Place struct {
	Boot  string // the boot's id
	PIDNS uint64 // the pid namespace
}

// Here is where this process is.
func Here() Place { return Place{Boot: process.BootID(), PIDNS: process.PIDNamespace()} }

const noBoot = "-" // in place of a boot id that is not known

// String is the record's one line, without its newline.
func (r Record) String() string {
	boot := r.Boot
	if boot == "" {
		boot = noBoot
	}
	return fmt.Sprintf("%s %d %d %d %s %d", r.Slot, r.Generation, r.PID, r.Birth, boot, r.PIDNS)
}

// parseRecord reads a lock file's content. Without the newline at its end it
// was not written to the end.
func parseRecord(b []byte) (Record, bool) {
	line, whole := bytes.CutSuffix(b, []byte("\n"))
	f := strings.Split(string(line), " ")
	if !whole || len(f) != 6 {
		return Record{}, false
	}
	r := Record{Slot: f[0], Place: Place{Boot: f[4]}}
	if r.Boot == noBoot {
		r.Boot = ""
	}
	var errs [4]error
	r.Generation, errs[0] = strconv.ParseUint(f[1], 10, 64)
	r.PID, errs[1] = strconv.Atoi(f[2])
	r.Birth, errs[2] = strconv.ParseUint(f[3], 10, 64)
	r.PIDNS, errs[3] = strconv.ParseUint(f[5], 10, 64)
	ok := errs == [4]error{} && r.PID > 1 && r.Slot != "" && !strings.ContainsAny(r.Slot+r.Boot, "\n\x00")
	return r, ok
}

// Write makes r the record of the lock file fd.
func (r Record) Write(fd int) error {
	line := r.String() + "\n"
	n, err := unix.Pwrite(fd, []byte(line), 0)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = unix.Ftruncate(fd, int64(len(line)))
	}
	return err
}

// Read reads the record of the lock file fd; ok is false if it has none.
func Read(fd int) (r Record, ok bool) {
	buf := make([]byte, 1024)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return Record{}, false
	}
	return parseRecord(buf[:n])
}

// Evict kills the processes that are proven to hold the lock of fd's file: the
// recorded leader with its group, and whatever else holds a locked descriptor
// of the file and can be looked at. It returns their pids.
func Evict(fd int, here Place) []int {
	var killed []int
	r, ok := Read(fd)
	if ok && r.Place == here && killGroupOf(r.PID, r.Birth) {
		killed = append(killed, r.PID)
	}
	for _, pid := range lockHolders(fd) {
		if killHolder(pid, fd) {
			killed = append(killed, pid)
		}
	}
	return killed
}

// killGroupOf kills the group led by pid if it is the process born at birth.
// The leader is stopped first, by its pidfd: it cannot end of its own accord
// then, and its number stays its group's.
func killGroupOf(pid int, birth uint64) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	st, err := process.ReadStat(pid)
	if err != nil || st.Start != birth || st.State == 'Z' {
		return false
	}
	if unix.PidfdSendSignal(pidfd, unix.SIGSTOP, nil, 0) != nil {
		return false
	}
	if st, err = process.ReadStat(pid); err == nil && st.Start == birth {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}

// killHolder kills pid, if it still holds the lock of fd's file.
func killHolder(pid, fd int) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	return holdsLock(pid, lockPath(fd)) && unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}

// lockHolders lists the other processes seen to hold the lock of fd's file.
// Those of another uid may be out of sight.
func lockHolders(fd int) []int {
	path, self := lockPath(fd), os.Getpid()
	var pids []int
	for _, pid := range process.All() {
		if pid != self && holdsLock(pid, path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lockPath is the name the kernel gives fd's file; compared as a name, since
// looking at a file may hang.
func lockPath(fd int) string {
	path, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return path
}

// holdsLock reports whether pid has a descriptor of path with an OFD write
// lock on its open description.
func holdsLock(pid int, path string) bool {
	return path != "" && len(Held(pid, func(p string) bool { return p == path })) > 0
}

// File is a lock file as the kernel knows it.
type File struct {
	Path  string
	Inode uint64
}

// Held lists the files, of those whose path is wanted, that process pid has a
// descriptor of with an OFD write lock on its open description. The files
// themselves are not looked at, since that may hang.
func Held(pid int, wanted func(path string) bool) []File {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil
	}
	var held []File
	for _, fd := range fds {
		path, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err != nil || !wanted(path) {
			continue
		}
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd.Name()))
		if err != nil {
			continue
		}
		if inode, ok := ofdLock(info); ok {
			held = append(held, File{path, inode})
		}
	}
	return held
}

// ofdLock finds in a descriptor's fdinfo the inode that its open description
// has an OFD write lock on: "lock:	1: OFDLCK ADVISORY  WRITE -1 fd:01:1234 0 EOF".
func ofdLock(info []byte) (inode uint64, ok bool) {
	for line := range bytes.Lines(info) {
		f := bytes.Fields(line)
		if len(f) < 7 || string(f[0]) != "lock:" || string(f[2]) != "OFDLCK" || string(f[4]) != "WRITE" {
			continue
		}
		n, err := strconv.ParseUint(string(f[6][bytes.LastIndexByte(f[6], ':')+1:]), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// Inode is the number of the file at path as [Held] tells it, which on some
// file systems is not what stat says.
func Inode(path string) (uint64, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(info) {
		if n, ok := bytes.CutPrefix(line, []byte("ino:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(n)), 10, 64)
		}
	}
	var st unix.Stat_t // a kernel older than 5.14
	err = unix.Fstat(fd, &st)
	return st.Ino, err
}
