package keeper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
)

// launch forks and execs. adopt is called if the exec succeeded, before the
// child can be reaped; it registers the child's pid.
func (k *keeper) launch(path string, argv []string, attr *syscall.ProcAttr, adopt func(pid int, birth uint64)) error {
	k.mu.Lock()
	k.flight++
	id := k.flight
	k.flights[id] = process.Ticks()
	k.mu.Unlock()

	pid, err := k.forkExec(path, argv, attr)

	if err == nil {
		birth, _ := process.StartTime(pid) // it is unreaped, so it has one if there is /proc
		adopt(pid, birth)
	}
	k.mu.Lock()
	delete(k.flights, id)
	k.mu.Unlock()
	nudge(k.wake)
	return err
}

// fork carries out one spawn and ends with r.done closed.
func (k *keeper) fork(r *run) {
	k.forks <- struct{}{}
	defer func() { <-k.forks }()
	k.mu.Lock()
	wanted, spec := r.waiting > 0 && (!k.stopping || r.ended != nil), r.spec
	k.mu.Unlock()
	fail := &wire.Failure{Kind: wire.FailSpawn, Stage: "exec", Path: spec.Path, Errno: int(unix.ETIMEDOUT)}
	if wanted {
		fail = k.start(r, spec)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if fail != nil {
		r.fail = fail
		k.dropLocked(r)
		k.errandDoneLocked(r)
	}
	close(r.done)
	nudge(k.changed)
}

// start prepares r's descriptors and forks it.
func (k *keeper) start(r *run, s *wire.Spec) *wire.Failure {
	failed := func(stage, path string, err error) *wire.Failure {
		return &wire.Failure{Kind: wire.FailSpawn, Stage: stage, Path: path, Errno: errnoOf(err)}
	}
	notify, err := bindNotify(s.Notify)
	if err != nil {
		return failed("notify", s.Notify, err)
	}
	lock, err := k.lockSlot(s.Lock)
	if err != nil {
		wire.CloseFDs(notify)
		return failed("lock", s.Lock, err)
	}
	read, write := -1, -1
	files := []uintptr{0, 1, 2}
	switch {
	case r.ended != nil:
		files = []uintptr{uintptr(k.null), uintptr(k.null), 2} // its last words are ours
	case !s.Main:
		if read, write, err = logPipe(); err != nil {
			wire.CloseFDs(notify)
			wire.CloseFDs(lock)
			return failed("pipe", s.Path, err)
		}
		files = []uintptr{uintptr(k.null), uintptr(write), uintptr(write)}
	}
	if lock >= 0 {
		files = append(files, uintptr(lock)) // 3 in the child
	}
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: files, Sys: sysAttr(s)}
	err = k.launch(s.Path, s.Argv, attr, func(pid int, birth uint64) {
		k.record(r, lock, pid, birth)
		process.Expose(pid, k.oom)
		k.mu.Lock()
		defer k.mu.Unlock()
		r.log, r.notify, r.lock, r.tty = read, notify, lock, attr.Sys.Foreground
		k.adoptLocked(r, pid, birth)
	})
	wire.CloseFDs(write)
	if err != nil {
		wire.CloseFDs(read, notify)
		wire.CloseFDs(lock)
		if st := unix.Stat(s.Dir, new(unix.Stat_t)); s.Dir != "" && st != nil {
			return failed("chdir", s.Dir, st) // chdir and exec fail alike
		}
		return failed("exec", s.Path, err)
	}
	return nil
}

// adoptLocked makes pid the process of r. A run nobody waits for was reported
// as failed, and during a shutdown nothing may start: both end at once.
func (k *keeper) adoptLocked(r *run, pid int, birth uint64) {
	r.pid, r.birth, r.started = pid, birth, time.Now()
	k.pids[pid] = r
	r.spec = nil
	if r.isMain {
		k.main = r
	}
	if k.drain != nil {
		k.drain.nudge()
	}
	if _, err := peek(pid, unix.WEXITED|unix.WNOWAIT); err == unix.ECHILD {
		// It was taken for an orphan and is gone. See mayBeForkLocked.
		k.endedLocked(r, &wire.Exit{Code: -1, At: r.started.UnixNano(), Unknown: true})
		return
	}
	if r.waiting == 0 || k.stopping && r.ended == nil {
		r.void = r.waiting == 0
		_ = k.signalLocked(r, unix.SIGKILL, true)
	}
}

// sysAttr is how the child of s is set up: a session of its own, or for the
// main program a group of its own, in the foreground of the terminal if the
// keeper is: a session would lose it the terminal, and job control with it.
func sysAttr(s *wire.Spec) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: !s.Main, Setpgid: s.Main}
	if s.Main {
		// Only the foreground group may give the foreground away; anyone else
		// would be stopped by SIGTTOU, between fork and exec.
		if pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && pgrp == unix.Getpgrp() {
			attr.Foreground, attr.Ctty = true, 0
		}
	}
	if c := s.Credential; c != nil {
		attr.Credential = &syscall.Credential{
			Uid: c.UID, Gid: c.GID, Groups: c.Groups,
			NoSetGroups: os.Geteuid() != 0, // it would be refused
		}
	}
	return attr
}

// logPipe makes a run's output pipe. Only the keeper's end is non-blocking:
// the other end is the program's stdout.
func logPipe() (read, write int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		wire.CloseFDs(p[:]...)
		return -1, -1, err
	}
	return p[0], p[1], nil
}

// notifyBuffer is the receive buffer of a notify socket in bytes: what a
// gateway may say while no engine listens.
const notifyBuffer = 256 << 10

// bindNotify binds the datagram socket a run reports to; "" gives -1. Any uid
// may send: whoever receives checks the credentials that come with each.
func bindNotify(path string) (int, error) {
	if path == "" {
		return -1, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Unlink(path); err == nil || errors.Is(err, unix.ENOENT) {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, notifyBuffer),
		)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Chmod(path, 0o666)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// pinned is a path that execs the binary fd was opened on, whatever has become
// of its name; close-on-exec takes effect only after the path is resolved.
func pinned(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
