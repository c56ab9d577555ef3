package s6

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// ErrS6 is the base of this package's errors: errors.Is finds it in each that s6
// is the reason of.
var ErrS6 = errors.New("s6")

// ErrRegistered: a slot of that name is there already.
var ErrRegistered = errors.New("it is registered already")

// NotRegisteredError: there is no such slot.
type NotRegisteredError struct {
	Slot    string
	Profile string // without the slot's prefix; the slot itself if it is no profile's
}

func (e *NotRegisteredError) Error() string { return fault.NotRegistered(e.Profile).Msg }

// Unwrap leads to [ErrS6].
func (e *NotRegisteredError) Unwrap() error { return ErrS6 }

// CommandError: a tool of s6 was run and failed.
type CommandError struct {
	Tool       string // s6-svc
	Service    string // gateway-coder
	Action     string // start, stop, restart, …
	ReturnCode int    // 127 if it could not be run, -1 if it did not end in time
	Stderr     string
}

func (e *CommandError) Error() string {
	s := fmt.Sprintf("%s %s on '%s' failed (rc=%d)", e.Tool, e.Action, e.Service, e.ReturnCode)
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

// Unwrap leads to [ErrS6].
func (e *CommandError) Unwrap() error { return ErrS6 }

// notRegistered is the error for a slot that is not there.
func notRegistered(slot string) error {
	e := &NotRegisteredError{Slot: slot, Profile: slot}
	if name, ok := profile.FromSlot(slot); ok {
		e.Profile = string(name)
	}
	f := fault.NotRegistered(e.Profile)
	f.Err = e
	return f
}

// failed is the error for a tool that failed, with a hint that fits.
func (d Scandir) failed(e *CommandError, control string) error {
	f := &fault.Error{Code: fault.S6CommandFailed, Msg: e.Error(), Err: e}
	switch {
	case e.ReturnCode == rcNotFound:
		return f.WithHint("install s6 where %s can be found, on PATH or in /command", e.Tool)
	case unix.Access(control, unix.W_OK) == unix.EACCES:
		return f.WithHint("%s", mayCommand(control))
	case e.outcome() == notListening:
		return f.WithHint("s6-svscanctl -a %s", d.Dir)
	}
	return f
}

// mayCommand says who may write into a FIFO that this process may not.
func mayCommand(path string) string {
	for p := path; len(p) > 1; p = filepath.Dir(p) { // the FIFO itself may be out of sight
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil {
			return fmt.Sprintf("do it as uid 0, as uid %d or in group %d: this is uid %d", st.Uid, st.Gid, os.Geteuid())
		}
	}
	return "do it as uid 0"
}

// mayRegister says who may put slots into a scan directory.
func mayRegister(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return "do it as uid 0"
	}
	return fmt.Sprintf("do it as uid 0 or as uid %d: this is uid %d", st.Uid, os.Geteuid())
}

// denied turns an error about a file of a slot into one for a person, where a
// person can do something about it.
func (d Scandir) denied(slot string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		f := fault.Wrap(fault.SupervisorDenied, err, "cannot look at slot '%s'", slot)
		return f.WithHint("%s", mayCommand(filepath.Join(d.path(slot), superviseDir, controlFile)))
	}
	return fmt.Errorf("cannot look at slot '%s': %w", slot, err)
}
