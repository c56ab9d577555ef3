package gateway

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// Who asks whether a gateway lives holds its lock for microseconds, so one
// refusal means nothing; this many in a row do.
const (
	lockAttempts = 10
	lockPause    = 10 * time.Millisecond
)

// lock is gateway.lock, held. The kernel lets go of it when the process ends,
// however it ends.
type lock struct{ file *os.File }

// errLocked: somebody holds the lock now.
var errLocked = errors.New("it is locked")

// takeLock makes this process the profile's gateway, or fails with
// gateway_held. The lock's content is id, as advice.
func takeLock(ctx context.Context, p *store.Profile, dir *os.Root, id identity) (*lock, error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	var err error
	for range lockAttempts {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Shutdown, context.Cause(ctx), "cannot start %s", p.Name().Slot())
		}
		var l *lock
		if l, err = tryLock(dir); err == nil {
			l.describe(id)
			return l, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, lockFault(p, err)
		}
		pause.Reset(lockPause)
	}
	return nil, lockFault(p, err)
}

func lockFault(p *store.Profile, err error) error {
	slot := p.Name().Slot()
	if !errors.Is(err, errLocked) {
		path := filepath.Join(p.Path(), lockFile)
		return fault.Wrap(fault.HomeUnusable, err, "cannot lock %s", path).
			WithHint("make %s a regular file that uid %d can write", path, os.Geteuid())
	}
	who := "in another container or on another host"
	if _, pid, err := p.GatewayLockHeld(); err == nil && pid != 0 {
		who = "pid " + strconv.Itoa(pid)
	}
	return fault.New(fault.GatewayHeld, "%s runs already, %s", slot, who).
		WithHint("%s gateway run --replace", hermes(p.Name()))
}

// hermes is how a hint addresses hermes for a profile.
func hermes(name profile.Name) string {
	if name == profile.Default {
		return "hermes"
	}
	return "hermes -p " + string(name)
}

// tryLock takes the lock without waiting. A lock file that was removed while
// it was being locked protects nothing: that is errLocked, too.
func tryLock(dir *os.Root) (*lock, error) {
	if info, err := dir.Lstat(lockFile); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := dir.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockAndCheck(dir, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &lock{file: f}, nil
}

func lockAndCheck(dir *os.Root, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var flockErr error
	if err := raw.Control(func(fd uintptr) { flockErr = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(flockErr, unix.EWOULDBLOCK) {
		return errLocked
	}
	if flockErr != nil {
		return flockErr
	}
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := dir.Lstat(lockFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, named) {
		return errLocked
	}
	return err
}

// describe writes who holds the lock into it. A full disk costs that, not the
// lock.
func (l *lock) describe(id identity) {
	if l.file.Truncate(0) == nil {
		_, _ = l.file.WriteAt(id.encode(), 0)
	}
}

func (l *lock) release() { _ = l.file.Close() }
