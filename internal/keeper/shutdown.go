package keeper

import (
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
)

const (
	// ackWithin is how long the engine has to take over a shutdown.
	ackWithin = 500 * time.Millisecond
	// stopSlack is added to the longest grace: the whole shutdown's bound.
	stopSlack = 2 * time.Second
	// killWait bounds the wait for what was killed; what the kernel cannot
	// kill is left to it.
	killWait  = time.Second
	pollEvery = 5 * time.Millisecond
)

// askStop is a stop asked for from outside. The second one kills.
func (k *keeper) askStop(sig os.Signal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	k.beginLocked()
	if k.asked == 2 {
		k.say("%v again: killing what still runs", sig)
		k.hurryUp()
	}
}

// finish is the engine's word that all is down.
func (k *keeper) finish(e *engineProcess, code int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.decideLocked(code)
	e.finish()
	k.beginLocked()
}

// mainEndedLocked: the main program's end is the end of everything.
func (k *keeper) mainEndedLocked(exit *wire.Exit) {
	code := exit.Code
	switch {
	case k.o.MainZeroOnStop && k.asked > 0:
		code = 0
	case exit.Signal != 0:
		code = 128 + exit.Signal
	case exit.Unknown:
		code = 1
	}
	k.code, k.decided = code, true // it overrides the engine's
	k.beginLocked()
}

// decideLocked sets the exit code if nothing has set it yet.
func (k *keeper) decideLocked(code int) {
	if !k.decided {
		k.code, k.decided = code, true
	}
}

// beginLocked begins the shutdown, once. A stop asked for from outside is no
// failure, whatever the engine says later.
func (k *keeper) beginLocked() {
	if k.stopping {
		return
	}
	k.stopping = true
	if k.asked > 0 {
		k.decideLocked(0)
	}
	close(k.stop)
	k.work.Go(k.shutDown)
}

// shutDown stops everything: through the engine if it answers, else by the
// plans it left with each run.
func (k *keeper) shutDown() {
	late := time.AfterFunc(k.longestGrace()+stopSlack, k.hurryUp)
	defer late.Stop()
	k.mu.Lock()
	e := k.engine
	k.mu.Unlock()
	up := e != nil && closed(e.greeted)
	if e != nil && !up {
		k.killEngine(e) // it has started nothing and can stop nothing
	}
	delegated := up && k.delegate(e)
	k.carryOut()
	if e != nil {
		k.dismiss(e, delegated)
	}
	k.killStrays()
	k.mu.Lock()
	code := k.code
	k.mu.Unlock()
	close(k.over)
	k.done <- code
}

// longestGrace is the longest of all plans.
func (k *keeper) longestGrace() time.Duration {
	var longest time.Duration
	for _, r := range k.liveRuns() {
		longest = max(longest, r.grace)
	}
	return longest
}

// delegate asks the engine to stop everything and waits until it has. It is
// false if the engine does not take it on.
func (k *keeper) delegate(e *engineProcess) bool {
	e.link.Post(&wire.Message{Op: wire.OpShutdown})
	late := time.NewTimer(ackWithin)
	defer late.Stop()
	select {
	case <-e.acked:
	case <-e.finished:
	case <-late.C:
		k.say("the engine does not answer, stopping everything without it")
		return false
	case <-e.lost:
		return false
	case <-k.hurry:
		return false
	}
	select {
	case <-e.finished:
	case <-e.lost:
	case <-k.hurry:
	}
	return true
}

// carryOut stops what runs by its plan, all at once, and kills what is left
// when there is no more time.
func (k *keeper) carryOut() {
	for _, r := range k.liveRuns() {
		for _, sig := range r.stopSignals() {
			_ = k.deliver(r, sig, true)
		}
		kill := time.AfterFunc(r.grace, func() { _ = k.deliver(r, unix.SIGKILL, true) })
		defer kill.Stop()
	}
	for len(k.liveRuns()) > 0 && !closed(k.hurry) {
		select {
		case <-k.changed:
		case <-k.hurry:
		}
	}
	for _, r := range k.liveRuns() {
		_ = k.deliver(r, unix.SIGKILL, true)
	}
	_ = poll(killWait, nil, func() bool { return len(k.liveRuns()) == 0 })
}

// liveRuns lists the runs that live or are being forked; the latter are killed
// when they land.
func (k *keeper) liveRuns() []*run {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.live))
}

// dismiss ends the engine. One that carried out the shutdown may finish its
// writing.
func (k *keeper) dismiss(e *engineProcess, delegated bool) {
	if delegated {
		_ = within(killWait, e.gone, k.hurry)
	}
	k.killEngine(e)
	_ = within(killWait, e.gone, nil)
}

// killStrays kills the children nobody knows: orphans of what ran, and of
// them, and the child of a hung exec. What this process had for children
// before it became the keeper is not its business.
func (k *keeper) killStrays() {
	_ = poll(killWait, nil, func() bool {
		left := 0
		for _, pid := range process.Children() {
			k.mu.Lock() // nothing is reaped meanwhile
			if !k.spare[pid] {
				left++
				if st, err := process.ReadStat(pid); err == nil && st.Parent == os.Getpid() {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
			k.mu.Unlock()
		}
		return left == 0
	})
}
