package lease

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errReplaced: the file that was locked is no longer found under its name, so
// somebody else may lock the one that is.
var errReplaced = errors.New("it is replaced again and again")

// lock opens and locks home's file; the caller owns the descriptor.
func lock(home string) (int, error) {
	path := filepath.Join(home, File)
	var err error
	for range 8 { // each turn needs a replacement at that very moment
		var fd int
		if fd, err = openForTake(home, path); err != nil {
			return -1, err
		}
		if err = lockAs(fd, home, path); err == nil {
			return fd, nil
		}
		unix.Close(fd)
		if !errors.Is(err, errReplaced) {
			break
		}
	}
	return -1, err
}

// lockAs locks fd, which was opened as path. Errors: *HeldError, errReplaced
// and what the kernel says.
func lockAs(fd int, home, path string) error {
	err := setLock(fd)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
		rec, _ := readRecord(fd)
		return &HeldError{Home: home, Record: rec}
	case err == nil && !sameFile(fd, path):
		err = errReplaced
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return nil
}

// openForTake opens the lock file for writing and makes it if need be. A new
// one is given to home's owner, so that a later supervisor of that uid can
// open it though this one is root.
func openForTake(home, path string) (int, error) {
	var dir unix.Stat_t
	if err := unix.Stat(home, &dir); err != nil {
		return -1, &os.PathError{Op: "stat", Path: home, Err: err}
	}
	fd, err := open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err == nil {
		if os.Geteuid() == 0 {
			// Best effort: root without CAP_CHOWN keeps it.
			_ = unix.Fchown(fd, int(dir.Uid), int(dir.Gid))
		}
		// The umask must not hide the socket's path from other uids.
		_ = unix.Fchmod(fd, fileMode)
		return fd, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	fd, err = open(path, unix.O_RDWR)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	// A hard link to a file of somebody else, planted for root to overwrite.
	// (A second link as such is what a backup by hard links leaves.)
	if st.Nlink > 1 && st.Uid != dir.Uid {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot use %s: it is a hard link to a file of uid %d", path, st.Uid)
	}
	return fd, nil
}

// open never follows a link, never hangs (a FIFO) and takes regular files only.
func open(path string, flags int) (int, error) {
	const safe = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := retry(func() (int, error) { return unix.Open(path, flags|safe, fileMode) })
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return -1, fmt.Errorf("cannot use %s: it is a symbolic link", path)
		}
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot use %s: it is not a regular file", path)
	}
	return fd, nil
}

func setLock(fd int) error {
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	_, err := retry(func() (int, error) {
		return 0, unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk)
	})
	return err
}

// isLocked asks whether some other open file description has fd's file locked;
// a read-only descriptor may ask.
func isLocked(fd int) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	_, err := retry(func() (int, error) {
		return 0, unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lk)
	})
	return lk.Type != unix.F_UNLCK, err
}

// sameFile reports whether path still names the file open as fd.
func sameFile(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Lstat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// readRecord reads the record of an open lock file, whatever its offset.
func readRecord(fd int) (Record, error) {
	b := make([]byte, maxRecord)
	n, err := retry(func() (int, error) { return unix.Pread(fd, b, 0) })
	if err != nil {
		return Record{}, err
	}
	return decode(b[:n])
}

// retry repeats a system call that a signal interrupted: Go's runtime preempts
// goroutines by signal.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
