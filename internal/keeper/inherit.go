package keeper

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
)

// estateLocked is what a successor in this process needs.
func (k *keeper) estateLocked() *wire.Estate {
	e := &wire.Estate{
		Stamp: k.stamp, Runtime: []byte(k.o.Runtime), MainZeroOnStop: k.o.MainZeroOnStop,
		Listener: k.o.Listener, Lease: k.o.Lease,
	}
	for _, arg := range k.o.EngineArgv {
		e.EngineArgv = append(e.EngineArgv, []byte(arg))
	}
	for pid := range k.spare {
		e.Spare = append(e.Spare, pid)
	}
	for _, r := range k.runs {
		if r.pid == 0 || r.ended != nil || r.void {
			continue // what is left of these is reaped as an orphan
		}
		e.Runs = append(e.Runs, wire.Inherited{
			RunInfo: k.infoLocked(r), Child: r.watch == nil, TTY: r.tty,
			LogFD: r.log, NotifyFD: r.notify, LockFD: r.lock, NotifyPath: []byte(r.socket),
		})
	}
	return e
}

// inherit takes on what a predecessor left. Children that ended meanwhile are
// reaped like any others.
func (k *keeper) inherit(e *wire.Estate) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range e.Runs {
		k.inheritLocked(w)
	}
	if e.Stopping {
		k.asked++
		k.beginLocked()
	}
	nudge(k.wake)
}

func (k *keeper) inheritLocked(w wire.Inherited) {
	r := &run{
		runKey: runKey{w.Slot, w.Generation},
		plan:   plan{w.Credential, unix.Signal(w.Signal), w.Grace, w.Main, string(w.NotifyPath)},
		done:   make(chan struct{}), pid: w.PID, birth: w.StartTime, started: time.Unix(0, w.Started), exit: w.Exit,
		log: w.LogFD, notify: w.NotifyFD, lock: w.LockFD,
		dropped: w.Dropped, kept: w.Backlog != "", tty: w.TTY,
	}
	close(r.done)
	k.runs[r.runKey] = r
	if r.isMain {
		k.main = r
	}
	if r.exit != nil {
		if r.isMain {
			k.mainEndedLocked(r.exit)
		}
		return
	}
	k.live[r.slot] = r
	if w.Child {
		k.pids[r.pid] = r
		return
	}
	k.watchLocked(r)
}

// watchLocked follows r from now on. One that cannot be followed is ended: to
// the engine it would live for ever.
func (k *keeper) watchLocked(r *run) {
	w, err := process.Open(r.pid, r.birth)
	if err != nil {
		if !errors.Is(err, unix.ESRCH) {
			k.say("cannot follow %s, ending it: %v", r.slot, err)
			if st, gone := process.ReadStat(r.pid); gone == nil && st.Start == r.birth {
				_ = unix.Kill(-r.pid, unix.SIGKILL)
			}
		}
		k.endedLocked(r, &wire.Exit{Code: -1, At: time.Now().UnixNano(), Unknown: true})
		return
	}
	r.watch = w
	k.work.Go(func() {
		if w.Wait() != nil {
			return // the keeper ends
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		_ = w.Signal(unix.SIGKILL, true)
		k.endedLocked(r, &wire.Exit{Code: -1, At: time.Now().UnixNano(), Unknown: true})
		r.watch = nil
		w.Close()
	})
}

// unwatch ends every wait for a run that is not a child.
func (k *keeper) unwatch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.runs {
		if r.watch != nil {
			r.watch.Close()
		}
	}
}
