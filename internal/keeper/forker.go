package keeper

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"hermes/internal/wire"
)

// forker is a thread that forks. It has a descriptor table of its own where the
// kernel allows that: the child of a fork has a copy of its thread's table
// until it has exec'd, and the keeper's own holds three descriptors of every
// run, which would cost each fork a time that grows with the fleet and let a
// child that hangs in its exec hold on to what is others'.
type forker struct {
	ours, its int // a socketpair, by which it gets the descriptors of a child
	own       bool
	work      chan job
}

// job is one fork.
type job struct {
	path string
	argv []string
	attr *syscall.ProcAttr
	done chan<- forked
}

// forked is how a fork went.
type forked struct {
	pid int
	err error
}

// startForkers starts as many forkers as forks may be in flight. They live as
// long as the process. In left are descriptors that are none of theirs.
func (k *keeper) startForkers(left []int) error {
	// The runtime wakes itself by a descriptor, from any thread: it must be
	// open, under one number in every table, before the first is made.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	_, _ = r.Close(), w.Close()
	private, ready := make(chan bool), make(chan struct{})
	defer close(ready)
	k.private = true
	for range cap(k.forkers) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := &forker{ours: pair[0], its: pair[1], work: make(chan job)}
		go k.runForker(f, left, private, ready)
		f.own = <-private
		k.private = f.own && k.private
		k.forkers <- f
	}
	return nil
}

// runForker never returns, and so keeps its thread to itself. The process's
// first thread is none for it: /proc shows that one's table as the process's.
func (k *keeper) runForker(f *forker, left []int, private chan<- bool, ready <-chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		go k.runForker(f, left, private, ready)
		<-ready
		runtime.UnlockOSThread()
		return
	}
	own := ownTable() == nil
	if own {
		wire.CloseFDs(left...)
	}
	private <- own
	for j := range f.work {
		fds, err := f.receive(own, j.attr)
		pid := 0
		if err == nil {
			k.gate.RLock()
			pid, err = syscall.ForkExec(j.path, j.argv, j.attr)
			k.gate.RUnlock()
		}
		wire.CloseFDs(fds...)
		j.done <- forked{pid, err}
	}
}

// closeRangeUnshare is CLOSE_RANGE_UNSHARE of Linux 5.9; unbound is a
// descriptor there cannot be.
const (
	closeRangeUnshare = 1 << 1
	unbound           = 1 << 30
)

// ownTable gives the calling thread a descriptor table of its own, by the call
// that is meant for it or, where a container forbids that, by one that does it
// as well.
func ownTable() error {
	if unix.Unshare(unix.CLONE_FILES) == nil {
		return nil
	}
	return unix.CloseRange(unbound, unbound, closeRangeUnshare)
}

// forkExec is [syscall.ForkExec] by a forker. The child's descriptors from 3 on
// and its output are the caller's.
func (k *keeper) forkExec(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	f := <-k.forkers
	defer func() { k.forkers <- f }()
	if f.own { // else it has the caller's
		var fds []int
		for _, fd := range attr.Files {
			if fd > 2 {
				fds = append(fds, int(fd))
			}
		}
		if err := unix.Sendmsg(f.ours, []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
			return 0, err
		}
	}
	done := make(chan forked)
	f.work <- job{path, argv, attr, done}
	got := <-done
	return got.pid, got.err
}

// receive replaces the descriptors in attr by the forker's own copies.
func (f *forker) receive(own bool, attr *syscall.ProcAttr) ([]int, error) {
	if !own {
		return nil, nil
	}
	oob := make([]byte, unix.CmsgSpace(4*len(attr.Files)))
	_, n, _, _, err := unix.Recvmsg(f.its, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	fds := wire.Rights(oob[:n])
	next := 0
	for i, fd := range attr.Files {
		if fd <= 2 {
			continue
		}
		if next == len(fds) { // the table is full
			return fds, unix.EMFILE
		}
		attr.Files[i] = uintptr(fds[next])
		next++
	}
	return fds, nil
}
