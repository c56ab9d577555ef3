package native

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hermes/internal/wire"
)

// heirlooms are the runs this process knows, for the case that the keeper is
// killed and it has to take its place. Their descriptors are whoever's they
// were given to, and are found again by what they are open on: copies would be
// two more of each gateway. Runner.mu guards them.
type heirlooms map[runKey]*heirloom

type runKey struct {
	slot       string
	generation uint64
}

type heirloom struct {
	wire.RunInfo
	log, notify inode
}

// inode is what a pipe or a socket is known by; the zero value is none.
type inode struct{ dev, ino uint64 }

func inodeOf(fd int) inode {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return inode{}
	}
	return inode{st.Dev, st.Ino}
}

// noteLocked takes note of the runs of a reply, whose descriptors are fds. They
// stay the caller's.
func (h heirlooms) noteLocked(runs []wire.RunInfo, fds []int) {
	next := func(has bool) inode {
		if !has || len(fds) == 0 {
			return inode{}
		}
		i := inodeOf(fds[0])
		fds = fds[1:]
		return i
	}
	for _, w := range runs {
		h[runKey{w.Slot, w.Generation}] = &heirloom{w, next(w.Log), next(w.Notify)}
	}
}

// endedLocked takes note of an exit.
func (h heirlooms) endedLocked(slot string, generation uint64, exit *wire.Exit) {
	if known := h[runKey{slot, generation}]; known != nil {
		known.Exit = exit
	}
}

// forgetLocked drops a run.
func (h heirlooms) forgetLocked(slot string, generation uint64) {
	delete(h, runKey{slot, generation})
}

// Bequeath is what a keeper needs to go on with the runs of the one that is
// gone: call it after [engine.ErrGone], while the descriptors of the runs are
// still open. Those in it are duplicates, and the caller's.
func (r *Runner) Bequeath() *wire.Estate {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &wire.Estate{Stamp: r.info.Stamp, Runtime: []byte(r.info.Runtime), Listener: -1, Lease: -1}
	open := openDescriptors()
	dup := func(i inode) int {
		fd, ok := open[i]
		if !ok || i == (inode{}) {
			return -1
		}
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return -1
		}
		return d
	}
	for _, h := range r.held {
		e.Runs = append(e.Runs, wire.Inherited{
			RunInfo: h.RunInfo, LogFD: dup(h.log), NotifyFD: dup(h.notify), LockFD: -1,
		})
	}
	return e
}

// openDescriptors are this process's, by what they are open on.
func openDescriptors() map[inode]int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	open := make(map[inode]int, len(names))
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil {
			open[inodeOf(fd)] = fd
		}
	}
	return open
}
