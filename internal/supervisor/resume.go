package supervisor

import (
	"cmp"
	"slices"
	"time"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
)

// resume brings the slot to where the plan says, in its loop.
func (s *slot) resume(a reconcile.Action, runs []engine.Run) {
	r := s.pick(runs)
	if r == nil {
		s.last.Restarting = false                 // that run is history
		if s.fleet.returning && s.last.Run != 0 { // but the supervisor before may not have got to what it left
			s.endStrays(&run{Run: engine.Run{Slot: s.service.slotName(), Generation: s.last.Run}})
		}
	}
	s.touch()
	switch {
	case r != nil && r.Exit == nil:
		s.adopt(*r, a.Resume)
		if err := s.fleet.tenants.enter(a.ID, s.run); err != nil && a.ID != (reconcile.ID{}) {
			s.log.Warn("adopted where another lives", "error", err)
		}
	case r != nil:
		s.adoptEnded(*r, a.Resume)
	case a.Resume == reconcile.Up:
		if s.wanted() { // not in a fleet that shuts down
			s.feed(lifecycle.Start)
		}
	case a.Resume == reconcile.Wait:
		s.fresh = false
		s.enterAs(lifecycle.Backoff, "it goes on waiting after its failures")
		s.retryAt(reconcile.RetryAt(s.last.NextRetryAt, time.Now()))
	case a.Resume == reconcile.Park:
		s.enterAs(lifecycle.Parked, cmp.Or(s.reason, "it stays parked"))
	}
}

// pick chooses the run that matters: the living one, else the newest exit that
// is not on record. The exits before it are put on record.
func (s *slot) pick(runs []engine.Run) *engine.Run {
	slices.SortFunc(runs, func(a, b engine.Run) int {
		if aLives, bLives := a.Exit == nil, b.Exit == nil; aLives != bLives {
			return compareBool(aLives, bLives)
		}
		return cmp.Compare(a.Generation, b.Generation)
	})
	for i := range runs {
		r := &runs[i]
		recorded := slices.ContainsFunc(s.last.Exits, func(e profile.Exit) bool { return e.Run == r.Generation })
		if i == len(runs)-1 && (r.Exit == nil || !recorded && !s.outdated(*r.Exit)) {
			return r
		}
		if r.Exit != nil {
			s.last.AddExit(exitOf(*r))
			s.forgetLater(r.Generation)
		}
		closeRun(*r)
	}
	return nil
}

// outdated says whether an exit came before the intent that holds now, and so
// is not what became of it: a gateway was stopped and started, and the
// supervisor killed before it had written the first.
func (s *slot) outdated(exit engine.Exit) bool {
	return s.last.IntentGeneration < s.intent.Generation && exit.At.Before(s.intent.ChangedAt)
}

// found makes a run that outlived the last supervisor the slot's own. True if
// it was being replaced.
func (s *slot) found(r engine.Run) (restarting bool) {
	own := s.fleet.newRun()
	own.Run, own.adopted, own.health = r, true, profile.HealthUnknown
	own.Exit = nil // it is filed like any other
	if s.last.Run == r.Generation {
		restarting = s.last.Restarting
		own.readyAt = s.last.ReadyAt
		own.health = cmp.Or(s.last.Health, own.health)
		own.LogDropped = max(0, r.LogDropped-s.last.LogDropped) // the keeper counts from the run's start
	}
	s.last.LogDropped = r.LogDropped
	s.last.Restarting = restarting
	s.fresh = restarting
	s.hold(own)
	return restarting
}

// Why a run is in a state that this supervisor did not lead it to.
const (
	livedOn     = "its run outlived the engine before"
	endedUnseen = "its run ended while there was no engine"
)

// adopt goes on with a living run.
func (s *slot) adopt(r engine.Run, how reconcile.Resume) {
	restarting := s.found(r)
	s.log.Info("adopted", "pid", r.PID)
	if !s.outside {
		s.reason = ""
	}
	if s.run.readyAt.IsZero() {
		s.enterAs(lifecycle.Starting, livedOn)
		s.since = r.Started
		s.watch()
	} else {
		if s.setup.ready.Kind != config.ReadyExec && s.run.health == profile.HealthUnknown {
			s.run.health = profile.HealthOK
		}
		s.enterAs(lifecycle.Running, livedOn)
		s.since = s.run.readyAt
	}
	switch {
	case how == reconcile.Down:
		s.feed(lifecycle.Stop)
	case restarting:
		s.feed(lifecycle.Restart)
	}
}

// adoptEnded files the end of a run that no supervisor saw, from the state the
// run was in.
func (s *slot) adoptEnded(r engine.Run, how reconcile.Resume) {
	restarting := s.found(r)
	switch {
	case how == reconcile.Down, restarting:
		s.enterAs(lifecycle.Stopping, endedUnseen)
	case s.run.readyAt.IsZero():
		s.enterAs(lifecycle.Starting, endedUnseen)
	default:
		s.state = lifecycle.Running // without what becoming ready brings about
	}
	s.exited(s.run, *r.Exit)
}
