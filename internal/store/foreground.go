package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// foregroundFile is the lock of a gateway that `hermes gateway run` runs in
// the foreground. It is not gateway.lock, which the gateway itself takes: a
// foreign command would find that one held by what became itself.
const foregroundFile = "foreground.lock"

// Who asks whether a gateway lives may hold its lock for microseconds, so one
// refusal means nothing; this many in a row do.
const (
	lockAttempts = 10
	lockPause    = 10 * time.Millisecond
)

// LockFiles are the paths of the locks that prove, while one is held, that a
// gateway of this profile lives: foreground.lock, whose holder was started
// first, and gateway.lock.
func (p *Profile) LockFiles() []string { return []string{p.ForegroundLock(), p.GatewayLock()} }

// ForegroundLock is the path of foreground.lock.
func (p *Profile) ForegroundLock() string { return p.at(foregroundFile) }

// GatewayLock is the path of gateway.lock.
func (p *Profile) GatewayLock() string { return p.at(lockFile) }

// errLocked: somebody holds the lock now.
var errLocked = errors.New("another process holds it")

// TakeForegroundLock takes foreground.lock and returns its descriptor, which is
// closed on exec. The lock lasts until that descriptor and all that were
// inherited from it are closed. The error is a gateway_held fault if another
// process holds it.
func (p *Profile) TakeForegroundLock(ctx context.Context) (fd int, err error) {
	if err := p.writable(); err != nil {
		return -1, err
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for range lockAttempts {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		}
		fd, err = p.dir.lock(foregroundFile)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, errLocked) {
			return -1, homeFault("lock", p.ForegroundLock(), err)
		}
		pause.Reset(lockPause)
	}
	return -1, fault.Wrap(fault.GatewayHeld, err, "cannot lock %s", p.ForegroundLock())
}

// lock makes name unless it is there, and takes its flock without waiting.
func (d dir) lock(name string) (int, error) {
	if info, err := d.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return -1, &badFile{kindOf(info.Mode())}
	}
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return -1, d.explain(name, err)
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var lockErr error
	if err := raw.Control(func(n uintptr) {
		if lockErr = unix.Flock(int(n), unix.LOCK_EX|unix.LOCK_NB); lockErr == nil {
			fd, lockErr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) // 0, 1 and 2 mean something to a command
		}
	}); err != nil {
		return -1, err
	}
	if errors.Is(lockErr, unix.EWOULDBLOCK) {
		return -1, errLocked
	}
	if lockErr != nil {
		return -1, lockErr
	}
	if err := d.checkLocked(f, name); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// checkLocked makes sure that name is still the file that was locked, and gives
// it to the owner.
func (d dir) checkLocked(f *os.File, name string) error {
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !sameFile(opened, named) {
		return errLocked
	}
	if err == nil && d.owner != nil {
		_ = f.Chown(d.owner.uid, d.owner.gid) // as for directories
	}
	return err
}
