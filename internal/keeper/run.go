package keeper

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
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
	plan
	spec    *wire.Spec    // what is to be started; nil once it has been
	waiting int           // spawn requests that wait for done
	done    chan struct{} // closed when the fork has landed or failed
	fail    *wire.Failure // why it failed

	pid     int // 0 until the fork has landed
	birth   uint64
	started time.Time
	exit    *wire.Exit // nil while it lives
	void    bool       // nobody waited for it any more: killed, and not reported

	watch   *process.Handle // set if it is no child of this process
	ended   chan struct{}   // of the keeper's own runs: closed when it has ended
	helps   *run            // the run this one of the keeper's own signals
	helpers int             // runs that signal this one now
	helped  bool            // one killed its group, after its leader's end

	log, notify, lock int  // -1 for none
	eof               bool // of the log, as the drain saw it
	dropped           int64
	kept              bool // there may be a backlog file
	tty               bool // it was given the terminal
}

// plan is what of a spec is needed for as long as the run is known, and no more:
// arguments and environment are kilobytes.
type plan struct {
	credential *wire.Credential
	signal     unix.Signal // by which it is stopped, then after grace by SIGKILL
	grace      time.Duration
	isMain     bool
	socket     string // the notify socket's path, "" for none
}

func planOf(s *wire.Spec) plan {
	return plan{s.Credential, unix.Signal(s.Signal), s.Grace, s.Main, strings.Clone(s.Notify)}
}

// livingLocked reports whether there is a process to signal.
func (r *run) livingLocked() bool { return r.pid != 0 && r.exit == nil }

// stopSignals are what asks r to stop: its plan's signal, for a program with a
// terminal SIGHUP as well, since an interactive shell ignores SIGTERM, and
// SIGCONT, since one that is stopped must hear the others.
func (r *run) stopSignals() []unix.Signal {
	sigs := []unix.Signal{cmp.Or(r.signal, unix.SIGTERM)}
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
func (k *keeper) deliver(r *run, sig unix.Signal, group bool) *wire.Failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case r == nil || r.fail != nil || r.exit != nil:
		return &wire.Failure{Kind: wire.FailNoRun}
	case r.pid == 0:
		return &wire.Failure{Kind: wire.FailBusy}
	}
	return k.signalLocked(r, sig, group)
}

// signalLocked signals a living run, through another process if it must.
func (k *keeper) signalLocked(r *run, sig unix.Signal, group bool) *wire.Failure {
	err := r.kill(sig, group)
	if err == nil || errors.Is(err, unix.EPERM) && k.delegateSignalLocked(r, sig, group) {
		return nil
	}
	return &wire.Failure{Kind: wire.FailSignal, Errno: errnoOf(err)}
}

func (r *run) kill(sig unix.Signal, group bool) error {
	switch {
	case r.watch != nil:
		return r.watch.Signal(sig, group)
	case group:
		return unix.Kill(-r.pid, sig)
	}
	return unix.Kill(r.pid, sig)
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
		_ = unix.Unlink(r.socket)
	}
	for _, fd := range []*int{&r.log, &r.notify, &r.lock} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}
