package s6

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// Modes of what this package makes. docs/s6.md says for whom.
const (
	modeDir       = 0o755
	modeFile      = 0o644
	modeSupervise = 0o710
	modeControl   = 0o620
	modeEvent     = unix.S_ISGID | unix.S_ISVTX | 0o730
	modePrivate   = 0o700
)

// owner is whom a directory is made for.
type owner struct{ uid, gid int }

// tree is a directory that is being made, by its descriptor: names are never
// looked up again, so nobody can put a link into the way.
type tree struct {
	fd    int
	owner owner
}

// openTree opens a directory to make things in it.
func openTree(path string, o owner) (tree, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return tree{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return tree{fd, o}, nil
}

func (t tree) close() { _ = unix.Close(t.fd) }

// failure says which name an error is about.
func failure(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

// dir makes a directory and has fill fill it before it gets its owner and mode:
// until then it is this process's alone.
func (t tree) dir(name string, mode uint32, fill func(tree) error) error {
	if err := unix.Mkdirat(t.fd, name, modePrivate); err != nil {
		return failure("make", name, err)
	}
	return t.enter(name, mode, fill)
}

// enter fills a directory that is there, and gives it owner and mode.
func (t tree) enter(name string, mode uint32, fill func(tree) error) error {
	fd, err := unix.Openat(t.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return failure("open", name, err)
	}
	sub := tree{fd, t.owner}
	defer sub.close()
	if fill != nil {
		if err := fill(sub); err != nil {
			return err
		}
	}
	if err := t.chown(fd); err != nil {
		return failure("chown", name, err)
	}
	return failure("chmod", name, unix.Fchmod(fd, mode))
}

// chown gives a descriptor's file to the owner, if it is not the owner's: only
// root can give away.
func (t tree) chown(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Uid) == t.owner.uid && int(st.Gid) == t.owner.gid {
		return nil
	}
	return unix.Fchown(fd, t.owner.uid, t.owner.gid)
}

// file makes a file.
func (t tree) file(name, content string) error {
	fd, err := unix.Openat(t.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, modeFile)
	if err != nil {
		return failure("make", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(content)
	if err == nil {
		err = t.chown(fd)
	}
	if err == nil {
		err = f.Chmod(modeFile)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return failure("write", name, err)
}

// link makes a symbolic link.
func (t tree) link(name, to string) error {
	return failure("link", name, unix.Symlinkat(to, t.fd, name))
}

// fifo makes a FIFO, or gives the one that is there owner and mode.
func (t tree) fifo(name string, mode uint32) error {
	if err := unix.Mkfifoat(t.fd, name, modePrivate&^0o100); err != nil && err != unix.EEXIST {
		return failure("make", name, err)
	}
	fd, err := unix.Openat(t.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return failure("open", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return failure("open", name, cmp.Or(err, error(unix.EINVAL)))
	}
	if err := t.chown(fd); err != nil {
		return failure("chown", name, err)
	}
	return failure("chmod", name, unix.Fchmod(fd, mode))
}

// skeleton makes what s6-supervise would make for root alone, before it does:
// it takes what it finds.
func (t tree) skeleton() error {
	if err := t.dir(superviseDir, modeSupervise, func(t tree) error { return t.fifo(controlFile, modeControl) }); err != nil {
		return err
	}
	return t.dir(eventDir, modeEvent, nil)
}

// fill makes the content of a service directory.
func (t tree) fill(s Spec) error {
	files := map[string]string{
		// Since 2.13 timeout-kill is for the group; 2.11 does not know the file.
		"flag-timeout-killpg": "",
	}
	if s.Down {
		files[downFile] = ""
	}
	if s.TimeoutKill > 0 {
		files["timeout-kill"] = millis(s.TimeoutKill)
	}
	if s.TimeoutFinish > 0 {
		files["timeout-finish"] = millis(s.TimeoutFinish)
	}
	if s.NotificationFD > 0 {
		files["notification-fd"] = strconv.Itoa(s.NotificationFD) + "\n"
	}
	if err := t.files(files); err != nil {
		return err
	}
	if err := t.link("run", s.Run); err != nil {
		return err
	}
	if s.Finish != "" {
		if err := t.link("finish", s.Finish); err != nil {
			return err
		}
	}
	if err := t.dir("data", modeDir, func(t tree) error { return t.files(s.Data) }); err != nil {
		return err
	}
	if s.LogRun != "" {
		err := t.dir(logDir, modeDir, func(t tree) error {
			if err := t.link("run", s.LogRun); err != nil {
				return err
			}
			return t.skeleton()
		})
		if err != nil {
			return err
		}
	}
	return t.skeleton()
}

func (t tree) files(files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.file(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// millis is a duration as s6 reads it.
func millis(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + "\n"
}

// layAs makes the directory of a slot under another name.
func (d Scandir) layAs(name string, s Spec) error {
	for _, program := range []string{s.Run, s.Finish, s.LogRun} {
		if program != "" && !filepath.IsAbs(program) || program == "" && program == s.Run {
			return fault.New(fault.Internal, "cannot run %q in slot '%s': it is no absolute path", program, s.Slot)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(d.Dir, &st); err != nil {
		return &os.PathError{Op: "stat", Path: d.Dir, Err: err}
	}
	t, err := openTree(d.Dir, owner{int(st.Uid), int(st.Gid)})
	if err != nil {
		return err
	}
	defer t.close()
	return t.dir(name, modeDir, func(t tree) error { return t.fill(s) })
}
