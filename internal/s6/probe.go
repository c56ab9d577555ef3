package s6

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Paths below a service directory.
const (
	superviseDir = "supervise"
	eventDir     = "event"
	logDir       = "log"
	controlFile  = "control"
	lockFile     = "lock"
	statusFile   = "status"
	tallyFile    = "death_tally"
	downFile     = "down"
)

// supervisor finds the s6-supervise of a service directory: it holds a POSIX
// lock on supervise/lock for life. The pid is 0 if there is none, -1 if it lives
// where this process cannot see it.
func supervisor(dir string) (pid int, err error) {
	return lockHolder(filepath.Join(dir, superviseDir, lockFile))
}

// lockHolder is the pid of the process with a POSIX write lock on path, 0 for
// none, -1 if its pid means nothing here. Reading is all it needs. To close the
// file would give up a lock of this process's own: it never has one.
func lockHolder(path string) (pid int, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	lk := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lk); err != nil {
		return 0, &os.PathError{Op: "probe the lock of", Path: path, Err: err}
	}
	switch {
	case lk.Type == unix.F_UNLCK:
		return 0, nil
	case lk.Pid <= 0:
		return -1, nil
	}
	return int(lk.Pid), nil
}

// maxFile bounds what is read of a file: the tallies are the longest.
const maxFile = 4096 * deathSize

// readFile reads a small file; a FIFO in its place hangs nothing.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// readStatus reads the status of a service directory. s6-supervise replaces the
// file by a rename: it is never half written.
func readStatus(dir string) (Status, error) {
	path := filepath.Join(dir, superviseDir, statusFile)
	b, err := readFile(path)
	if err != nil {
		return Status{}, err
	}
	s, err := ParseStatus(b)
	if err != nil {
		return Status{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
