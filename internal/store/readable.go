package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// CheckReadable reports, as an unreadable fault with path, owner and fix, what
// a gateway that runs as uid:gid could not use of what it needs: the profile's
// directory, to enter and to write, and SOUL.md, config.yaml and .env, as far
// as they are there, to read.
//
// The kernel is asked, not the mode bits: ACLs count, and file systems that
// show every visitor its own ownership (bind mounts of Docker Desktop). Where
// hermes cannot ask for that uid it reports nothing; the gateway will.
func (p *Profile) CheckReadable(uid, gid uint32) error {
	if uint32(os.Geteuid()) == uid {
		return p.checkReadable(uid, gid)
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		groups, err := unix.Getgroups()
		if err == nil && setFileIdentity(uid, gid, nil) {
			err = p.checkReadable(uid, gid)
		}
		if setFileIdentity(uint32(os.Geteuid()), uint32(os.Getegid()), groups) {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine: nothing else may run on it
		result <- err
	}()
	return <-result
}

// setFileIdentity makes the calling thread, and no other, access files as
// uid:gid with these further groups, and reports whether it worked. The calls
// are raw because those of the syscall package change all threads. The kernel
// makes the process undumpable on the way, which hides its /proc from the
// keeper: that is undone.
func setFileIdentity(uid, gid uint32, groups []int) bool {
	const unchanged = ^uintptr(0) // no id: changes nothing, returns the current one
	dumpable, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0)
	list := make([]uint32, len(groups), len(groups)+1)
	for i, g := range groups {
		list[i] = uint32(g)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(list)), uintptr(unsafe.Pointer(&list[:1][0])), 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
	nowUID, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, unchanged, 0, 0)
	nowGID, _, _ := unix.RawSyscall(unix.SYS_SETFSGID, unchanged, 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, dumpable, 0)
	return uint32(nowUID) == uid && uint32(nowGID) == gid
}

func (p *Profile) checkReadable(uid, gid uint32) error {
	if err := unix.Faccessat(unix.AT_FDCWD, p.dir.path, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); errors.Is(err, fs.ErrPermission) {
		return p.unreadable("use", p.dir.path, uid, gid)
	}
	for _, name := range []string{soulFile, configFile, dotenvFile} {
		fd, err := p.dir.openToRead(name)
		if err == nil {
			unix.Close(fd)
		}
		if errors.Is(err, fs.ErrPermission) {
			return p.unreadable("read", p.at(name), uid, gid)
		}
	}
	return nil
}

func (p *Profile) unreadable(verb, path string, uid, gid uint32) error {
	at := obstacle(path)
	return fault.New(fault.Unreadable, "%s cannot %s %s (%s; it runs as %d:%d)", p.name.Slot(), verb, path, describe(at), uid, gid).
		WithHint("as root: %s", remedy(at, path, uid, gid))
}

// obstacle is the outermost directory on the way to path that the calling
// thread may not enter, or path itself.
func obstacle(path string) string {
	for i, r := range path {
		if r != '/' || i == 0 {
			continue
		}
		if err := unix.Faccessat(unix.AT_FDCWD, path[:i], unix.X_OK, unix.AT_EACCESS); errors.Is(err, fs.ErrPermission) {
			return path[:i]
		}
	}
	return path
}

// remedy is the command that helps. A directory above the home is not given
// away but opened for passing through.
func remedy(at, path string, uid, gid uint32) string {
	if at != path && strings.HasPrefix(path, at+"/") {
		return "chmod o+x " + quote(at)
	}
	return fmt.Sprintf("chown %d:%d %s", uid, gid, quote(at))
}
