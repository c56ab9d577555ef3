package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// root is an open directory. What a boot does to every profile's files takes
// one system call each here, where package os takes several; what meets a link
// is left to an [os.Root]. It may be used from any goroutine.
type root struct {
	fd     int
	path   string
	users  atomic.Int64 // who works with fd now, and one more until Close
	closed atomic.Bool
}

const openDirectory = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// openRoot opens the directory at path, which may be reached through links.
func openRoot(path string) (*root, error) {
	r := &root{path: path}
	err := again(func() (err error) {
		r.fd, err = unix.Open(path, openDirectory, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	r.users.Store(1)
	return r, nil
}

// again repeats what a signal interrupted.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// Close releases the descriptor once nobody works with it.
func (r *root) Close() error {
	if r.closed.Swap(true) {
		return fs.ErrClosed
	}
	return r.release()
}

func (r *root) release() error {
	if r.users.Add(-1) == 0 {
		return unix.Close(r.fd)
	}
	return nil
}

// with lends f the descriptor.
func (r *root) with(op, name string, f func(fd int) error) error {
	for {
		n := r.users.Load()
		if n == 0 {
			return &fs.PathError{Op: op, Path: r.at(name), Err: fs.ErrClosed}
		}
		if r.users.CompareAndSwap(n, n+1) {
			break
		}
	}
	err := again(func() error { return f(r.fd) })
	_ = r.release() // of a directory: nothing is lost
	if err != nil {
		return &fs.PathError{Op: op, Path: r.at(name), Err: err}
	}
	return nil
}

func (r *root) at(name string) string { return filepath.Join(r.path, name) }

// openAt opens name, which is no link, as a bare descriptor.
func (r *root) openAt(name string, flags int, mode fs.FileMode) (opened int, err error) {
	err = r.with("open", name, func(fd int) (err error) {
		opened, err = unix.Openat(fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		return err
	})
	return opened, err
}

// sub opens a directory in r, which is no link.
func (r *root) sub(name string) (*root, error) {
	fd, err := r.openAt(name, openDirectory, 0)
	if err != nil {
		return nil, err
	}
	s := &root{fd: fd, path: r.at(name)}
	s.users.Store(1)
	return s, nil
}

// Stat is the directory itself.
func (r *root) Stat() (fs.FileInfo, error) {
	i := &info{name: path.Base(r.path)}
	return i, r.with("stat", "", func(fd int) error { return syscall.Fstat(fd, &i.stat) })
}

// Lstat is what is called name, which may be a way through directories.
func (r *root) Lstat(name string) (fs.FileInfo, error) {
	i := &info{name: path.Base(name)}
	var st unix.Stat_t
	err := r.with("lstat", name, func(fd int) error {
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return nil, err
	}
	i.stat = syscall.Stat_t{
		Dev: st.Dev, Ino: st.Ino, Nlink: st.Nlink, Mode: st.Mode, Uid: st.Uid, Gid: st.Gid, Size: st.Size,
		Mtim: syscall.Timespec{Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec},
	}
	return i, nil
}

func (r *root) Mkdir(name string, mode fs.FileMode) error {
	return r.with("mkdir", name, func(fd int) error { return unix.Mkdirat(fd, name, uint32(mode.Perm())) })
}

func (r *root) Rename(from, to string) error {
	return r.with("rename", from, func(fd int) error { return unix.Renameat(fd, from, fd, to) })
}

// Remove removes a file or an empty directory.
func (r *root) Remove(name string) error {
	return r.with("remove", name, func(fd int) error {
		err := unix.Unlinkat(fd, name, 0)
		if err == unix.EISDIR || err == unix.EPERM {
			if dirErr := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); dirErr != unix.ENOTDIR {
				return dirErr
			}
		}
		return err
	})
}

// RemoveAll removes name with all that is in it; that nothing is there is no
// error.
func (r *root) RemoveAll(name string) error {
	within, err := r.following()
	if err != nil {
		return err
	}
	defer within.Close()
	return within.RemoveAll(name)
}

// OpenFile opens a file; links are followed as long as they stay in r.
func (r *root) OpenFile(name string, flags int, mode fs.FileMode) (*os.File, error) {
	fd, err := r.openAt(name, flags, mode)
	if err == nil {
		return os.NewFile(uintptr(fd), r.at(name)), nil
	}
	if !errors.Is(err, unix.ELOOP) {
		return nil, err
	}
	within, err := r.following()
	if err != nil {
		return nil, err
	}
	defer within.Close()
	return within.OpenFile(name, flags, mode)
}

// following is r for what may meet a link. It is opened by its name, or where
// that has changed, by its descriptor's.
func (r *root) following() (*os.Root, error) {
	var within *os.Root
	err := r.with("open", "", func(fd int) error {
		var want syscall.Stat_t
		if err := syscall.Fstat(fd, &want); err != nil {
			return err
		}
		var err error
		for _, name := range []string{r.path, filepath.Join("/proc/self/fd", strconv.Itoa(fd))} {
			if within, err = os.OpenRoot(name); err != nil {
				continue
			}
			var found fs.FileInfo
			if found, err = within.Stat("."); err == nil && sameFile(found, &info{stat: want}) {
				return nil
			}
			_ = within.Close()
			err = errors.Join(err, fs.ErrNotExist)
		}
		return err
	})
	return within, err
}

// names lists the directory, in no order.
func (r *root) names() ([]string, error) {
	fd, err := r.openAt(".", openDirectory, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	var buf [8 << 10]byte
	for {
		n := 0
		err := again(func() (err error) {
			n, err = unix.ReadDirent(fd, buf[:])
			return err
		})
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: r.path, Err: err}
		}
		if n <= 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// readAll reads a descriptor of a file that had so many bytes a moment ago, to
// its end or beyond limit.
func readAll(fd int, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, min(size, limit)+1)
	for int64(len(data)) <= limit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n := 0
		err := again(func() (err error) {
			n, err = unix.Read(fd, data[len(data):cap(data)])
			return err
		})
		if err != nil {
			return nil, err
		}
		data = data[:len(data)+n]
		if n == 0 || int64(len(data)) == size && len(data) < cap(data) {
			return data, nil
		}
	}
	return data, nil
}

// writeAll writes all of data.
func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n := 0
		err := again(func() (err error) {
			n, err = unix.Write(fd, data)
			return err
		})
		switch {
		case err != nil:
			return err
		case n == 0:
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return nil
}

// info is what a system call says of a file.
type info struct {
	name string
	stat syscall.Stat_t
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.stat.Size }
func (i *info) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }
func (i *info) IsDir() bool        { return i.Mode().IsDir() }
func (i *info) Sys() any           { return &i.stat }

func (i *info) Mode() fs.FileMode {
	mode := fs.FileMode(i.stat.Mode & 0o777)
	switch i.stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	return mode
}

// sameFile is [os.SameFile] for an info too.
func sameFile(a, b fs.FileInfo) bool { return idOf(a) == idOf(b) }
