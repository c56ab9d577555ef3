package logfile

import (
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// file is an open current. It is a bare descriptor and not an *os.File, which
// would try the netpoller first and cost two allocations per rotation.
type file struct {
	fd     int
	path   string // for messages
	dev    uint64
	ino    uint64
	size   int64
	inLine bool // the last byte is not a newline
}

// openCurrent opens current for appending and makes it if there is none.
func (p place) openCurrent(d directory) (*file, error) {
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := openat(d.fd, current, flags, 0)
	if err == unix.ENOENT {
		fd, err = openat(d.fd, current, flags|unix.O_CREAT|unix.O_EXCL, fileMode)
		if err == nil {
			err = p.chown(fd)
		}
	}
	path := filepath.Join(d.path, current)
	var f *file
	if err == nil {
		f, err = newFile(fd, path)
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("cannot open %s: %w", path, explain(err))
	}
	return f, nil
}

func newFile(fd int, path string) (*file, error) {
	st, err := checkFile(fd)
	if err != nil {
		return nil, err
	}
	f := &file{fd: fd, path: path, dev: uint64(st.Dev), ino: st.Ino, size: st.Size} //nolint:unconvert // Dev's type differs between architectures
	if f.size > 0 {
		var last [1]byte
		if _, err := unix.Pread(fd, last[:], f.size-1); err != nil {
			return nil, err
		}
		f.inLine = last[0] != '\n'
	}
	return f, nil
}

// write appends all of p or says how much of it was written.
func (f *file) write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(f.fd, p[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && m == 0:
			err = io.ErrShortWrite
			fallthrough
		case err != nil:
			return n, fmt.Errorf("cannot write to %s: %w", f.path, err)
		}
		n += m
		f.size += int64(m)
		f.inLine = p[n-1] != '\n'
	}
	return n, nil
}

// isCurrent says whether the file is still the one that is named current, and
// notes its size, which somebody may have cut.
func (f *file) isCurrent(d directory) bool {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, current, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || uint64(st.Dev) != f.dev || st.Ino != f.ino { //nolint:unconvert // as above
		return false
	}
	if st.Size < f.size {
		f.size = st.Size
		f.inLine = f.inLine && f.size > 0
	}
	return true
}

func (f *file) close() { _ = unix.Close(f.fd) }
