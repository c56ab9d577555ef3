package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hermes/internal/fault"
)

// badFile says what is wrong with something that is there and can be looked
// at, but is not what a file of a home may be. Reason completes "… is".
type badFile struct {
	reason string
}

func (e *badFile) Error() string { return "it is " + e.reason }

func isBad(err error) bool {
	_, ok := errors.AsType[*badFile](err)
	return ok
}

// cause strips the paths of the os package off an error: the messages here
// name the whole path themselves.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// homeFault describes why the home, or something in it, cannot be used: who
// owns it, who we are, and what would help.
func homeFault(verb, path string, err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	err = cause(err)
	e := fault.Wrap(fault.HomeUnusable, err, "cannot %s %s", verb, path)
	uid := os.Geteuid()
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return e.WithHint("free some space: df -h %s", quote(existing(path)))
	case errors.Is(err, syscall.EROFS):
		return e.WithHint("mount the volume of %s writable", quote(existing(path)))
	case errors.Is(err, syscall.ENOTDIR):
		return e.WithHint("name a directory: %s is none", quote(path))
	case errors.Is(err, fs.ErrPermission):
		at := existing(path)
		e.Msg += fmt.Sprintf(" (%s, this is uid %d)", describe(at), uid)
		if uid == 0 {
			return e.WithHint("root may not write there: is the volume mounted with root_squash, or was a capability dropped?")
		}
		return e.WithHint("as root: chown %d:%d %s", uid, os.Getegid(), quote(at))
	}
	return e
}

// readFault describes why a file that is needed cannot be read.
func readFault(path string, err error) error {
	err = cause(err)
	e := fault.Wrap(fault.Unreadable, err, "cannot read %s", path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Msg += fmt.Sprintf(" (%s, this is uid %d)", describe(path), os.Geteuid())
		return e.WithHint("as root: chown %d:%d %s", os.Geteuid(), os.Getegid(), quote(path))
	case isBad(err):
		return e.WithHint("replace %s by a regular file", quote(path))
	}
	return e
}

// describe is the owner and mode of what is at path.
func describe(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return path
	}
	st := statOf(info)
	return fmt.Sprintf("%s belongs to %d:%d, mode %04o", path, st.Uid, st.Gid, st.Mode&0o7777)
}

// existing is path or its nearest parent that can be looked at.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// quote makes path one word of a shell's command line.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@", r)
	}
	if path != "" && strings.TrimFunc(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// kindOf names what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSymlink != 0:
		return "a link"
	}
	return "no regular file"
}
