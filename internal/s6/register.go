package s6

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/process"
)

// Spec is a slot to be registered.
type Spec struct {
	Slot string
	// Run, Finish and LogRun are programs, absolute: the slot has links to
	// them. Links work where a script does not, on a file system without exec.
	// Finish and LogRun may be "".
	Run, Finish, LogRun string
	// Data are files below data/ for Run to read: s6 never touches them.
	Data map[string]string
	// Down: it is not started until somebody says so.
	Down bool
	// TimeoutKill is the time between SIGTERM and SIGKILL, 0 for ever.
	TimeoutKill time.Duration
	// TimeoutFinish is how long Finish may take, 0 for s6's 5 s.
	TimeoutFinish time.Duration
	// NotificationFD is where Run says that it is ready, 0 if it does not.
	NotificationFD int
}

// Lay makes the directory of a slot, in one rename. Nothing is told: it is for
// the time before s6-svscan is started, Register is for later.
func (d Scandir) Lay(s Spec) error {
	if err := checkSlot(s.Slot); err != nil {
		return err
	}
	staging := "." + s.Slot + stagingMark + rand.Text()
	if err := d.layAs(staging, s); err != nil {
		_ = d.remove(staging)
		return d.cannot("register", s.Slot, err)
	}
	if err := renameNew(d.path(staging), d.path(s.Slot)); err != nil {
		_ = d.remove(staging)
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) {
			return &fault.Error{Code: fault.ProfileExists, Msg: fmt.Sprintf("cannot register '%s': %v", s.Slot, ErrRegistered), Err: ErrRegistered}
		}
		return d.cannot("register", s.Slot, err)
	}
	return nil
}

// Marks in the names of directories that are no slots yet, or no more. What is
// left of them after a crash is for [Scandir.Sweep].
const (
	stagingMark = ".new."
	removedMark = ".old."
)

// Register makes a slot and waits until it is supervised, it and its logger. If
// that fails it is taken back, and nothing is left. Of a name that is taken it
// says [ErrRegistered].
func (d Scandir) Register(ctx context.Context, s Spec) error {
	ctx, cancel := deadline(ctx, registerTime)
	defer cancel()
	if err := d.finishRemovals(ctx, s.Slot); err != nil {
		return d.cannot("register", s.Slot, err)
	}
	if err := d.Lay(s); err != nil {
		return err
	}
	err := d.rescan(ctx, s.Slot, "register", "-a")
	if err == nil {
		err = d.awaitSupervised(ctx, s)
	}
	if err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), registerTime)
		defer cancel()
		return errors.Join(err, d.takeBack(back, s.Slot))
	}
	return nil
}

const registerTime = 10 * time.Second

// takeBack removes a slot that did not come to life. That s6-svscan does not
// listen is known by then.
func (d Scandir) takeBack(ctx context.Context, slot string) error {
	old, err := d.putAside(slot)
	if err != nil {
		return d.cannot("take back", slot, err)
	}
	_ = d.rescan(ctx, slot, "unregister", "-an")
	return d.bury(ctx, slot, old)
}

// rescan tells s6-svscan to look at its directory.
func (d Scandir) rescan(ctx context.Context, slot, action, option string) error {
	e := d.Tools.run(ctx, "s6-svscanctl", option, "--", d.Dir)
	if e == nil {
		return nil
	}
	e.Service, e.Action = slot, action
	return d.failed(e, filepath.Join(d.Dir, svscanDir, controlFile))
}

// awaitSupervised waits until s6-supervise has written a status: by then it
// listens.
func (d Scandir) awaitSupervised(ctx context.Context, s Spec) error {
	pace := newPace()
	defer pace.stop()
	dirs := []string{d.path(s.Slot)}
	if s.LogRun != "" {
		dirs = append(dirs, filepath.Join(d.path(s.Slot), logDir))
	}
	for {
		alive := true
		for _, dir := range dirs {
			pid, err := supervisor(dir)
			if err != nil {
				return d.denied(s.Slot, err)
			}
			_, err = readStatus(dir)
			alive = alive && pid != 0 && err == nil
		}
		if alive {
			return nil
		}
		if !pace.wait(ctx) {
			f := fault.New(fault.GatewayTimeout, "cannot register '%s': s6-svscan does not supervise it in time", s.Slot)
			f.Err = errors.Join(ErrS6, ctx.Err())
			return f.WithHint("look at the output of s6-svscan: it has a limit of services (-c; -C since 2.12, which counts loggers too)")
		}
	}
}

// Unregister stops a slot and removes it: stop and confirm, rename to a name
// that s6-svscan leaves out, have it end what has no name any more, wait until
// its s6-supervise and the logger's are gone, remove. In any other order
// something is left that runs and cannot be told anything.
func (d Scandir) Unregister(ctx context.Context, slot string) error {
	if err := d.lookFor(slot); err != nil {
		return err
	}
	if err := unix.Access(d.Dir, unix.W_OK); err != nil { // before anything is stopped
		return d.cannot("unregister", slot, err)
	}
	ctx, cancel := deadline(ctx, d.stopAllowance(slot)+registerTime)
	defer cancel()
	if pid, err := supervisor(d.path(slot)); err != nil {
		return d.denied(slot, err)
	} else if pid != 0 {
		if _, err := d.Stop(ctx, slot); err != nil {
			return err
		}
	}
	old, err := d.putAside(slot)
	if err != nil {
		return d.cannot("unregister", slot, err)
	}
	if err := d.rescan(ctx, slot, "unregister", "-an"); err != nil {
		if e, ok := errors.AsType[*CommandError](err); !ok || e.outcome() != notListening {
			return errors.Join(err, renameNew(d.path(old), d.path(slot)))
		}
		// No s6-svscan: whatever s6-supervise lives is waited for below.
	}
	return d.bury(ctx, slot, old)
}

// putAside takes a slot's name away, in one rename.
func (d Scandir) putAside(slot string) (old string, err error) {
	old = "." + slot + removedMark + rand.Text()
	return old, renameNew(d.path(slot), d.path(old))
}

// bury waits until nobody supervises a directory that was put aside, and until
// s6-svscan has waited for them, and removes it.
func (d Scandir) bury(ctx context.Context, slot, old string) error {
	pace := newPace()
	defer pace.stop()
	seen := map[int]bool{}
	for {
		alive := false
		for _, dir := range []string{d.path(old), filepath.Join(d.path(old), logDir)} {
			pid, err := supervisor(dir)
			if err != nil {
				return d.denied(slot, err)
			}
			alive = alive || pid != 0
			if pid > 0 {
				seen[pid] = true
			}
		}
		for pid := range seen {
			st, err := process.ReadStat(pid)
			alive = alive || err == nil && strings.HasPrefix(st.Name, "s6-supervise")
		}
		if !alive {
			break
		}
		if !pace.wait(ctx) {
			f := fault.New(fault.GatewayTimeout, "cannot unregister '%s' in time: its s6-supervise (%s) lives in %s", slot, pids(seen), d.path(old))
			f.Err = errors.Join(ErrS6, ctx.Err())
			return f.WithHint("s6-svc -dx %s", d.path(old))
		}
	}
	if err := d.remove(old); err != nil {
		return d.cannot("remove", slot, err)
	}
	return nil
}

func pids(set map[int]bool) string {
	var words []string
	for pid := range set {
		words = append(words, "pid "+strconv.Itoa(pid))
	}
	return strings.Join(words, ", ")
}

// remove removes a directory that is no slot.
func (d Scandir) remove(name string) error {
	root, err := os.OpenRoot(d.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(name)
}

// renameNew renames a directory to a name that is free.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system without it
		if err = unix.Mkdir(to, 0o700); err == nil { // takes the name; rename replaces an empty directory
			err = unix.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// cannot is an error about a slot's directory.
func (d Scandir) cannot(do, slot string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if errors.Is(err, os.ErrPermission) {
		return fault.Wrap(fault.SupervisorDenied, err, "cannot %s '%s'", do, slot).WithHint("%s", mayRegister(d.Dir))
	}
	return fmt.Errorf("cannot %s '%s': %w", do, slot, err)
}
