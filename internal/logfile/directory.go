package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// current is the name of the file that is written.
const current = "current"

// Modes of what is made here: output of agents is not for everybody.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// directory is an open log directory. Files in it are named relative to fd, so
// that nobody can replace a part of the path meanwhile.
type directory struct {
	fd   int
	path string // for messages
}

func (d directory) close() { _ = unix.Close(d.fd) }

// place is a log's directory and how to get there.
type place struct {
	home  string   // links are followed up to here
	steps []string // and from here on none
	owner *Owner
}

func newPlace(o Options) (place, error) {
	home := o.Home
	if home == "" {
		home = "/"
	}
	rel, err := filepath.Rel(home, o.Dir)
	if err != nil || !filepath.IsAbs(home) || !filepath.IsLocal(rel) || rel == "." {
		return place{}, fmt.Errorf("cannot keep a log in %q: it is no absolute path below %q", o.Dir, home)
	}
	p := place{home: home, steps: strings.Split(rel, "/")}
	if os.Geteuid() == 0 {
		p.owner = o.Owner // nobody else can give anything away
	}
	return p, nil
}

// open walks to the directory and makes what is missing on the way.
func (p place) open() (directory, error) {
	path := p.home
	fd, err := openat(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return directory{}, fmt.Errorf("cannot open %s: %w", path, err)
	}
	for i, name := range p.steps {
		path = filepath.Join(path, name)
		access := unix.O_PATH // no read permission is needed on the way
		if i == len(p.steps)-1 {
			access = unix.O_RDONLY
		}
		next, err := p.step(fd, name, access)
		_ = unix.Close(fd)
		if err != nil {
			return directory{}, fmt.Errorf("cannot open %s: %w", path, explain(err))
		}
		fd = next
	}
	return directory{fd, path}, nil
}

func (p place) step(parent int, name string, access int) (int, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := openat(parent, name, access|flags, 0)
	if err != unix.ENOENT {
		return fd, err
	}
	if err := unix.Mkdirat(parent, name, dirMode); err == unix.EEXIST {
		return openat(parent, name, access|flags, 0) // somebody was faster: theirs
	} else if err != nil {
		return -1, err
	}
	fd, err = openat(parent, name, unix.O_RDONLY|flags, 0)
	if err != nil {
		return -1, err
	}
	if err := p.giveAway(fd); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// giveAway chowns a directory that was just made. The parent's owner may have
// put another one in its place: only an empty one of ours is given away.
func (p place) giveAway(fd int) error {
	if p.owner == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	empty := true
	err := directory{fd: fd}.each(func(string) bool { empty = false; return false })
	if err != nil || !empty || int(st.Uid) != os.Geteuid() {
		return err
	}
	return p.chown(fd)
}

// chown gives the open file to the owner. Root without CAP_CHOWN keeps it,
// which is no reason to lose a log.
func (p place) chown(fd int) error {
	if p.owner == nil {
		return nil
	}
	if err := unix.Fchown(fd, p.owner.UID, p.owner.GID); err != nil && err != unix.EPERM {
		return err
	}
	return nil
}

// each calls f for every name in the directory until f returns false.
func (d directory) each(f func(name string) bool) error {
	if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return fmt.Errorf("cannot list %s: %w", d.path, err)
	}
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot list %s: %w", d.path, err)
		}
		if n <= 0 {
			return nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if !f(name) {
				return nil
			}
		}
	}
}

// errShared is a file with a second name, which may be a place where we must
// not write.
var errShared = errors.New("it has more than one hard link")

// checkFile refuses what is not a regular file with one name.
func checkFile(fd int) (unix.Stat_t, error) {
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return st, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return st, errors.New("it is not a regular file")
	case st.Nlink > 1:
		return st, errShared
	}
	return st, nil
}

// readFile is a file of a log, open for reading.
type readFile struct {
	*os.File
	dev, ino uint64
}

// is says whether both are the same file; nil is no file.
func (f *readFile) is(other *readFile) bool {
	return f != nil && other != nil && f.dev == other.dev && f.ino == other.ino
}

// openForReading opens a regular file of the directory; that never blocks on a
// FIFO or on a lease.
func (d directory) openForReading(name string) (*readFile, error) {
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	path := filepath.Join(d.path, name)
	if err == nil {
		var st unix.Stat_t
		if st, err = checkFile(fd); err == nil {
			return &readFile{os.NewFile(uintptr(fd), path), uint64(st.Dev), st.Ino}, nil //nolint:unconvert // as in newFile
		}
		_ = unix.Close(fd)
	}
	return nil, fmt.Errorf("cannot open %s: %w", path, explain(err))
}

// explain puts the errno of a refused link into words.
func explain(err error) error {
	if err == unix.ELOOP {
		return fmt.Errorf("it is a symbolic link (%w)", err)
	}
	return err
}

// openat never passes a descriptor on to a child and retries when a signal
// came first.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
