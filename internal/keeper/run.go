package keeper

import (
	"cmp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// runKey identifies a run.
type runKey struct {
	slot       string
	generation uint64
}

// run is one run of a slot, from the request to start it until its exit is
// forgotten. keeper.mu guards it.
type run struct {
	runKey
	spec    *Spec
	waiting int           // spawn requests that wait for done
	done    chan struct{} // closed when the fork has landed or failed
	fail    *Failure      // why it failed

	pid     int // 0 until the fork has landed
	birth   uint64
	started time.Time
	exit    *Exit // nil while it lives
	void    bool  // nobody waited for it any more: killed, and not reported

	log, notify, lock int  // -1 for none
	eof               bool // of the log, as the drain saw it
	dropped           int64
	kept              bool // there may be a backlog file
	tty               bool // it was given the terminal
}

func (r *run) landed() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// livingLocked reports whether there is a process to signal.
func (r *run) livingLocked() bool { return r.pid != 0 && r.exit == nil }

// stopSignals are what asks r to stop: its plan's signal, for a program with a
// terminal SIGHUP as well, since an interactive shell ignores SIGTERM, and
// SIGCONT, since one that is stopped must hear the others.
func (r *run) stopSignals() []unix.Signal {
	sigs := []unix.Signal{cmp.Or(unix.Signal(r.spec.Signal), unix.SIGTERM)}
	if r.tty {
		sigs = append(sigs, unix.SIGHUP)
	}
	return append(sigs, unix.SIGCONT)
}

func (r *run) backlogName() string {
	return r.slot + "." + strconv.FormatUint(r.generation, 10)
}

// deliver signals r's group, or only its leader. While keeper.mu is held
// nothing is reaped, so neither number can belong to somebody else.
func (k *keeper) deliver(r *run, sig unix.Signal, group bool) *Failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case r == nil || r.fail != nil || r.exit != nil:
		return &Failure{Kind: FailNoRun}
	case r.pid == 0:
		return &Failure{Kind: FailBusy}
	}
	return r.killLocked(sig, group)
}

func (r *run) killLocked(sig unix.Signal, group bool) *Failure {
	target := r.pid
	if group {
		target = -r.pid
	}
	if err := unix.Kill(target, sig); err != nil {
		return &Failure{Kind: FailSignal, Errno: errnoOf(err)}
	}
	return nil
}

// forget drops a run that has ended; any other stays.
func (k *keeper) forget(key runKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.runs[key]; r != nil && r.exit != nil {
		k.dropLocked(r)
	}
}

// dropLocked removes r from the tables and closes what is kept for it.
func (k *keeper) dropLocked(r *run) {
	delete(k.runs, r.runKey)
	if k.live[r.slot] == r {
		delete(k.live, r.slot)
	}
	if r.notify >= 0 && k.live[r.slot] == nil {
		_ = unix.Unlink(r.spec.Notify)
	}
	for _, fd := range []*int{&r.log, &r.notify, &r.lock} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}
