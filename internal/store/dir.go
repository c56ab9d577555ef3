package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// owner is whom written files are given to.
type owner struct {
	uid, gid int
}

// ownerFor is the owner of a directory, nil unless giving files away is
// possible and changes something.
func ownerFor(info fs.FileInfo) *owner {
	st := statOf(info)
	if os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	return &owner{uid: int(st.Uid), gid: int(st.Gid)}
}

// dir is one directory whose files are read and written without ever leaving
// it. Names are single components.
type dir struct {
	root  *root
	path  string
	owner *owner // nil: files stay the caller's
}

// sub opens a directory in d. It follows no link, not even one that stays
// inside: two names for one profile would be two gateways in one directory.
func (d dir) sub(name string) (dir, fs.FileInfo, error) {
	root, err := d.root.sub(name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		if found, lerr := d.root.Lstat(name); lerr == nil && !found.IsDir() {
			err = &badFile{kindOf(found.Mode())}
		}
	}
	if err != nil {
		return dir{}, nil, err
	}
	info, err := root.Stat()
	if err != nil {
		_ = root.Close()
		return dir{}, nil, err
	}
	return dir{root: root, path: filepath.Join(d.path, name), owner: d.owner}, info, nil
}

// mkdir makes a directory unless there is something of that name.
func (d dir) mkdir(name string) error {
	err := d.root.Mkdir(name, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return homeFault("make directory", filepath.Join(d.path, name), err)
	}
	if d.owner != nil {
		made, _, err := d.sub(name)
		if err != nil {
			return homeFault("make directory", filepath.Join(d.path, name), err)
		}
		defer made.root.Close()
		made.giveAway()
	}
	return nil
}

// giveAway chowns the directory itself. That it may fail (a squashing NFS
// server, a dropped capability) is no reason to do without the directory.
func (d dir) giveAway() {
	if d.owner == nil {
		return
	}
	_ = d.root.with("chown", "", func(fd int) error { return unix.Fchown(fd, d.owner.uid, d.owner.gid) })
}

// read returns the content of a regular file of at most limit bytes. What is
// there but is no such file is a *badFile; a missing file is fs.ErrNotExist.
func (d dir) read(name string, limit int64) ([]byte, error) {
	fd, err := d.openToRead(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var found info
	if err := again(func() error { return syscall.Fstat(fd, &found.stat) }); err != nil {
		return nil, err
	}
	if !found.Mode().IsRegular() {
		return nil, &badFile{kindOf(found.Mode())}
	}
	if err := d.checkNames(&found); err != nil {
		return nil, err
	}
	data, err := readAll(fd, found.Size(), limit)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &badFile{fmt.Sprintf("larger than %d bytes", limit)}
	}
	return data, nil
}

// openToRead opens a file, through links as long as they stay in d.
func (d dir) openToRead(name string) (int, error) {
	fd, err := d.root.openAt(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil || errors.Is(err, unix.ENOENT) { // not even a link that leads nowhere
		return fd, err
	}
	if !errors.Is(err, unix.ELOOP) {
		return -1, d.explain(name, err)
	}
	f, err := d.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, d.explain(name, err)
	}
	defer f.Close()
	err = withDescriptor(f, func(opened int) error {
		fd, err = unix.FcntlInt(uintptr(opened), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	return fd, err
}

// explain tells what is wrong with name from what is wrong with opening it.
func (d dir) explain(name string, err error) error {
	info, lerr := d.root.Lstat(name)
	if lerr != nil {
		return err
	}
	_, hasErrno := errors.AsType[syscall.Errno](err)
	lost := !hasErrno || errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist)
	switch {
	case info.Mode()&fs.ModeSymlink != 0 && lost:
		return &badFile{"a link that leads to no file inside of " + d.path}
	case errors.Is(err, syscall.ENXIO): // a socket cannot be opened
		return &badFile{kindOf(info.Mode())}
	}
	return err
}

// checkNames refuses a file with a second name when we are root and could be
// made to read what the one who linked it here could not.
func (d dir) checkNames(info fs.FileInfo) error {
	st := statOf(info)
	harmless := st.Nlink < 2 || d.owner == nil || d.owner.uid == 0 || int(st.Uid) == d.owner.uid || st.Mode&0o004 != 0
	if harmless {
		return nil
	}
	return &badFile{fmt.Sprintf("another name of a file of uid %d", st.Uid)}
}

// write replaces the content of name, in one step for every reader: a new
// file is written, given to the owner and renamed. With sync it is on disk,
// and so is its name, when write returns.
func (d dir) write(name string, data []byte, mode fs.FileMode, sync bool) error {
	tmp, err := d.temporary(name, data, mode, sync)
	if err == nil {
		if err = d.root.Rename(tmp, name); err != nil {
			_ = d.root.Remove(tmp)
		}
	}
	if err == nil && sync {
		err = d.sync()
	}
	if err != nil {
		return homeFault("write", filepath.Join(d.path, name), err)
	}
	return nil
}

// temporary writes a new file of a random name and returns that name.
func (d dir) temporary(name string, data []byte, mode fs.FileMode, sync bool) (string, error) {
	tmp := temporaryName(name)
	fd, err := d.root.openAt(tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	err = writeAll(fd, data)
	if d.owner != nil {
		_ = unix.Fchown(fd, d.owner.uid, d.owner.gid) // as for directories
	}
	if err == nil && sync {
		err = ignoreUnsupported(again(func() error { return unix.Fsync(fd) }))
	}
	if err2 := unix.Close(fd); err == nil {
		err = err2
	}
	if err != nil {
		_ = d.root.Remove(tmp)
		return "", err
	}
	return tmp, nil
}

// create writes a file that must not exist; fs.ErrExist says that it does.
func (d dir) create(name string, data []byte, mode fs.FileMode) error {
	if _, err := d.root.Lstat(name); err == nil {
		return fs.ErrExist // known without writing: the disk may be full
	}
	tmp, err := d.temporary(name, data, mode, true)
	if err != nil {
		return err
	}
	if err := d.moveNew(tmp, d, name); err != nil {
		_ = d.root.Remove(tmp)
		return err
	}
	return d.sync()
}

// moveNew renames a file or directory of d to a name in to that is not taken.
func (d dir) moveNew(name string, to dir, newName string) error {
	err := d.betweenRoots(to, func(from, into int) error {
		return unix.Renameat2(from, name, into, newName, unix.RENAME_NOREPLACE)
	})
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system without RENAME_NOREPLACE. There is one writer, so the time
	// between look and rename is nobody's.
	if _, err := to.root.Lstat(newName); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return d.betweenRoots(to, func(from, into int) error {
		return unix.Renameat(from, name, into, newName)
	})
}

// betweenRoots lends f the descriptors of d and of another directory.
func (d dir) betweenRoots(to dir, f func(from, into int) error) error {
	return d.root.with("rename", "", func(from int) error {
		return to.root.with("rename", "", func(into int) error { return f(from, into) })
	})
}

// sync makes the names in d durable.
func (d dir) sync() error {
	return ignoreUnsupported(d.root.with("sync", "", unix.Fsync))
}

// ignoreUnsupported drops the errors of file systems that cannot fsync; there
// is nothing more to be had from them.
func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// names lists the directory, sorted.
func (d dir) names() ([]string, error) {
	names, err := d.root.names()
	slices.Sort(names)
	return names, err
}

const temporaryMark = ".tmp-"

func temporaryName(name string) string {
	return "." + strings.TrimPrefix(name, ".") + temporaryMark + randomSuffix()
}

// randomSuffix cannot be guessed by somebody who wants to be there first.
func randomSuffix() string { return strings.ToLower(rand.Text()) }

// abandonedAfter is the age at which a temporary file cannot belong to a write
// in progress any more.
const abandonedAfter = time.Minute

// sweep removes what writes that were killed left behind.
func (d dir) sweep(now time.Time) {
	names, err := d.names()
	if err != nil {
		return
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ".") || !strings.Contains(name, temporaryMark) {
			continue
		}
		if info, err := d.root.Lstat(name); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > abandonedAfter {
			_ = d.root.Remove(name)
		}
	}
}
