// Package runtimedir finds the directory of a supervisor's sockets and locks,
// and binds the control socket in it.
//
// Only a supervisor chooses. Clients read the socket's path from the lease:
// they may be other uids, with other environments, and would choose otherwise.
// The directory is never in the home, which may be too long a path, or on a
// file system without sockets, or shared by two containers.
package runtimedir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket is the name of the control socket in the directory.
const Socket = "control.sock"

// maxPath is what sockaddr_un holds beside its final NUL.
const maxPath = 107

// backlog is what clients queue in while an engine restarts; the kernel cuts
// it to net.core.somaxconn (4096 since Linux 5.4).
const backlog = 4096

// Attempt is one directory that does not do, and why.
type Attempt struct {
	Dir string
	Err error
}

// Error says that no candidate does.
type Error struct {
	Attempts []Attempt
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cannot find a directory for the control socket")
	for i, a := range e.Attempts {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, a.Dir, a.Err)
	}
	return b.String()
}

// Unwrap lets callers match a cause.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		errs[i] = a.Err
	}
	return errs
}

// System is the directory for a supervisor that is root.
const System = "/run/hermes"

// Candidates are the directories a supervisor of that uid tries, in order. The
// first two are the values of $HERMES_RUNTIME_DIR and $XDG_RUNTIME_DIR, "" if
// unset.
func Candidates(hermesRuntimeDir, xdgRuntimeDir string, uid int) []string {
	var c []string
	if hermesRuntimeDir != "" {
		c = append(c, hermesRuntimeDir)
	}
	c = append(c, System)
	if xdgRuntimeDir != "" {
		c = append(c, filepath.Join(xdgRuntimeDir, "hermes"))
	}
	own := "hermes-" + strconv.Itoa(uid)
	return append(c, filepath.Join("/dev/shm", own), filepath.Join("/tmp", own))
}

// Choose makes and returns the directory of home in the first candidate where
// that, and binding a socket there, can be done: <candidate>/<hash of home>,
// owned by the caller, mode 0711 for root (others reach the socket, which
// checks its peers), else 0700. The caller holds home's lease. What does not do
// and comes before it is refused. The error is an [*Error] naming every
// candidate.
func Choose(home string, candidates ...string) (dir string, refused []Attempt, err error) {
	name := hashOf(home)
	for _, base := range candidates {
		dir := filepath.Join(base, name)
		err := prepare(base, dir)
		if err == nil {
			return dir, refused, nil
		}
		refused = append(refused, Attempt{base, err})
	}
	return "", refused, &Error{Attempts: refused}
}

// Probe says what Choose would return, and leaves nothing behind. The directory
// a supervisor uses must not be among the candidates.
func Probe(home string, candidates ...string) (dir string, refused []Attempt) {
	var made []string
	for _, base := range candidates {
		for _, path := range []string{filepath.Join(base, hashOf(home)), base} {
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				made = append(made, path)
			}
		}
	}
	dir, refused, _ = Choose(home, candidates...)
	for _, path := range made {
		_ = unix.Rmdir(path) // not if somebody uses it by now
	}
	return dir, refused
}

// hashOf is the name of home's directory in any candidate.
func hashOf(home string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(home)))
	return hex.EncodeToString(sum[:4])
}

// Earlier is the directory in which an earlier supervisor of home had its
// control socket, as the lease's record says; ok is false if there is none.
// The record is in the home and may lie: a directory counts only if its name is
// this home's and it is the caller's own. One that is another uid's is an error
// that wraps [fs.ErrPermission]: what ran there cannot be known.
func Earlier(home, socket string) (dir string, ok bool, err error) {
	dir = filepath.Dir(socket)
	if socket == "" || filepath.Base(socket) != Socket || filepath.Base(dir) != hashOf(home) {
		return "", false, nil
	}
	st, err := statDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, err
	case int(st.Uid) != os.Geteuid():
		return "", false, fmt.Errorf("%s belongs to uid %d: %w", dir, st.Uid, fs.ErrPermission)
	}
	return dir, true, nil
}

// Lock makes the caller the only supervisor in dir for as long as it keeps the
// descriptor. Two homes have the same directory when one was moved away and
// another made at its path.
func Lock(dir string) (fd int, err error) {
	fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot use %s: a supervisor of a home that was at this path uses it: %w", dir, err)
	}
	return fd, nil
}

// prepare makes dir in base and proves that a socket can be bound in it.
func prepare(base, dir string) error {
	if !filepath.IsAbs(base) {
		return errors.New("it is not an absolute path")
	}
	if n := len(filepath.Join(dir, Socket)); n > maxPath {
		return fmt.Errorf("the path of a socket in it has %d bytes, the limit is %d", n, maxPath)
	}
	uid := os.Geteuid()
	mode := uint32(0o700)
	if uid == 0 {
		mode = 0o711
	}
	if err := makeOwn(base, mode); err != nil {
		return err
	}
	if err := checkBase(base, uid); err != nil {
		return err
	}
	if err := makeOwn(dir, mode); err != nil {
		return err
	}
	if err := claim(dir, uid, mode); err != nil {
		return err
	}
	// Not under the real name: binding that is the supervisor's next step.
	probe := filepath.Join(dir, ".probe")
	fd, err := bind(probe)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(fd), unix.Unlink(probe))
}

// makeOwn makes dir, whatever the umask, unless something of that name exists.
func makeOwn(dir string, mode uint32) error {
	err := unix.Mkdir(dir, mode)
	if errors.Is(err, unix.EEXIST) {
		return nil // whose it is, and what, is checked next
	}
	if err == nil {
		err = unix.Fchmodat(unix.AT_FDCWD, dir, mode, 0)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

// checkBase refuses a directory in which another uid could put its own in the
// place of ours.
func checkBase(base string, uid int) error {
	st, err := statDir(base)
	if err != nil {
		return err
	}
	owner := int(st.Uid)
	switch {
	case owner != uid && owner != 0:
		return fmt.Errorf("it is owned by uid %d", owner)
	case owner != uid && st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return fmt.Errorf("it is writable by others (mode %04o)", st.Mode&0o7777)
	}
	return nil
}

// claim checks that dir is ours and gives it its mode, which a umask or an
// older run may have set otherwise.
func claim(dir string, uid int, mode uint32) error {
	st, err := statDir(dir)
	if err != nil {
		return err
	}
	if int(st.Uid) != uid {
		return fmt.Errorf("%s is owned by uid %d", dir, st.Uid)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, mode); err != nil {
		return &os.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
}

// statDir is lstat of a directory: a symbolic link is none.
func statDir(dir string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return st, nil
	case unix.S_IFLNK:
		return st, fmt.Errorf("%s is a symbolic link", dir)
	default:
		return st, fmt.Errorf("%s is not a directory", dir)
	}
}

// Listen binds the control socket in a directory that [Choose] returned and
// listens on it. What is there from an earlier supervisor is removed: the
// caller holds the lease, so nobody serves it. Every uid may connect, since
// the server checks its peers. The descriptor is raw, close-on-exec and
// non-blocking, and the caller's; it is to be held for as long as the
// supervisor lives, so that clients of a restarting engine wait in the backlog.
func Listen(dir string) (fd int, path string, err error) {
	path = filepath.Join(dir, Socket)
	if fd, err = bind(path); err != nil {
		return -1, "", err
	}
	err = unix.Chmod(path, 0o666)
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", &os.PathError{Op: "listen on", Path: path, Err: err}
	}
	return fd, path, nil
}

// bind makes a stream socket under path, replacing what is there.
func bind(path string) (int, error) {
	if len(path) > maxPath {
		return -1, fmt.Errorf("cannot bind %s: it has %d bytes, the limit is %d", path, len(path), maxPath)
	}
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return -1, &os.PathError{Op: "remove", Path: path, Err: err}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "bind", Path: path, Err: err}
	}
	return fd, nil
}
