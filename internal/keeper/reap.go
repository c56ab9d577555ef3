package keeper

import (
	"maps"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
)

// birthSlack is how long after a fork began its child may have been born, in
// clock ticks: far more than it takes to get from one to the other.
const birthSlack = 100

// childInfo is the siginfo waitid fills in, as laid out on 64-bit Linux.
type childInfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [100]byte
}

// peek asks for a state change of a child without consuming it unless flags
// lack WNOWAIT. pid 0 means any child; a childInfo with pid 0 means nothing.
func peek(pid, flags int) (childInfo, error) {
	kind := unix.P_PID
	if pid == 0 {
		kind = unix.P_ALL
	}
	for {
		var info childInfo
		err := unix.Waitid(kind, pid, (*unix.Siginfo)(unsafe.Pointer(&info)), flags|unix.WNOHANG, nil)
		if err != unix.EINTR {
			return info, err
		}
	}
}

// reap collects every child that has ended. It peeks first: while the leader
// is a zombie its group's number belongs to nobody else, so the group can be
// killed; then the leader is reaped.
func (k *keeper) reap() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.continueMainLocked()
	for {
		info, err := peek(0, unix.WEXITED|unix.WNOWAIT)
		pid := int(info.pid)
		if err != nil || pid == 0 {
			return
		}
		if k.mayBeForkLocked(pid) || !k.buryLocked(pid) {
			// It stays at the head of the kernel's list until its fork has landed,
			// or its helpers are done, and wakes us; the others are looked at one
			// by one.
			k.reapKnownLocked()
			return
		}
	}
}

// mayBeForkLocked reports whether pid may be the child of a fork in flight,
// which is about to be registered, or waited for by the syscall package.
func (k *keeper) mayBeForkLocked(pid int) bool {
	if len(k.flights) == 0 || k.pids[pid] != nil || k.engine != nil && k.engine.pid == pid {
		return false
	}
	birth, err := process.StartTime(pid)
	if err != nil {
		return true
	}
	for _, began := range k.flights {
		if birth+1 >= began && birth <= began+birthSlack {
			return true
		}
	}
	return false
}

func (k *keeper) reapKnownLocked() {
	pids := slices.Collect(maps.Keys(k.pids))
	if k.engine != nil {
		pids = append(pids, k.engine.pid)
	}
	for _, pid := range pids {
		if info, err := peek(pid, unix.WEXITED|unix.WNOWAIT); err == nil && info.pid != 0 {
			_ = k.buryLocked(pid)
		}
	}
}

// buryLocked kills what is left of pid's group if pid is ours, reaps it, and
// tells whoever must know. An orphan is just reaped. It is false if the kernel
// would not let go of pid.
func (k *keeper) buryLocked(pid int) bool {
	r := k.pids[pid]
	isEngine := k.engine != nil && k.engine.pid == pid
	if r != nil || isEngine {
		err := unix.Kill(-pid, unix.SIGKILL)
		if err == unix.EPERM && r != nil && !r.helped && k.delegateSignalLocked(r, unix.SIGKILL, true) {
			r.helped = true
		}
		if r != nil && r.helpers > 0 {
			return false // its number must stay its own until they are done
		}
	}
	var status unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if got == pid {
			break
		}
		if err != unix.EINTR {
			return false
		}
	}
	delete(k.spare, pid) // its number may be anybody's now
	exit := &wire.Exit{Code: status.ExitStatus(), At: time.Now().UnixNano()}
	if status.Signaled() {
		exit.Code, exit.Signal = -1, int(status.Signal())
	}
	switch {
	case r != nil:
		k.endedLocked(r, exit)
	case isEngine:
		k.engine.exit = *exit
		close(k.engine.gone)
		k.engine = nil
	}
	return true
}

// endedLocked records how r ended and sends the event.
func (k *keeper) endedLocked(r *run, exit *wire.Exit) {
	delete(k.pids, r.pid)
	delete(k.live, r.slot)
	r.exit = exit
	wire.CloseFDs(r.lock)
	r.lock = -1
	if r == k.main {
		k.mainEndedLocked(exit)
	}
	nudge(k.changed)
	k.errandDoneLocked(r)
	if r.void || r.ended != nil {
		k.dropLocked(r)
		return
	}
	if e := k.engine; e != nil && closed(e.greeted) {
		e.link.Post(&wire.Message{Op: wire.OpExited, Slot: r.slot, Generation: r.generation, Exit: exit})
	}
}

// continueMainLocked wakes a main program that stopped itself with Ctrl-Z:
// nobody else is there to do it.
func (k *keeper) continueMainLocked() {
	if k.main == nil || !k.main.livingLocked() || k.main.watch != nil {
		return
	}
	info, err := peek(k.main.pid, unix.WSTOPPED)
	if err == nil && info.pid != 0 && unix.Signal(info.status) == unix.SIGTSTP {
		_ = k.signalLocked(k.main, unix.SIGCONT, true)
	}
}
