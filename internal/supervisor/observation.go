package supervisor

import (
	"context"
	"errors"
	"time"

	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
)

const (
	// settle is how long observations are gathered before they are written: a
	// burst of events costs one write. Losing them costs history, not intent.
	settle = 250 * time.Millisecond
	// unsettled is how long at most it is put off while starts wait for others:
	// what a boot starts is not to wait for what is written of it.
	unsettled = 10 * time.Second
	// rewriteAfter is when an observation that could not be written is tried
	// again.
	rewriteAfter = 10 * time.Second
	// unwrittenExits is how many exits the runner keeps for a slot whose
	// observation cannot be written: each costs it descriptors.
	unwrittenExits = 4
)

// forgetLater tells the runner to forget an exit once it is on disk.
func (s *slot) forgetLater(generation uint64) {
	s.forget = append(s.forget, generation)
	s.touch()
}

// touch has the observation written soon.
func (s *slot) touch() {
	if !s.dirty {
		s.dirty = true
		s.writeAfter(settle, unsettled)
	}
}

// writeAfter has the observation written after a while, or later if starts wait
// then, but within what is left. Each look at the starts comes after twice the
// time of the one before: all slots of a fleet that boots look.
func (s *slot) writeAfter(wait, left time.Duration) {
	s.arm(writeTimer, min(wait, left), func() {
		if left > wait && s.fleet.gate.crowded() {
			s.writeAfter(2*wait, left-wait)
			return
		}
		s.write()
	})
}

// writeFailure writes at once what must be known at the next boot.
func (s *slot) writeFailure() {
	if s.state == lifecycle.Parked || s.state == lifecycle.Backoff {
		s.write()
	}
}

// write puts the observation on disk and has the runner forget the exits it
// holds. It is false if the disk does not take it; it is tried again then.
func (s *slot) write() bool {
	s.dirty = false
	s.disarm(writeTimer, true)
	if s.gone || s.outside {
		s.release(len(s.forget))
		return true
	}
	s.last.Keeper = s.fleet.options.Keeper
	s.last.IntentGeneration = s.intent.Generation
	s.last.Reason, s.last.Hint = s.reason, s.hint()
	s.last.State = s.state.Visible()
	s.last.Health = ""
	if s.run != nil {
		s.last.Health = s.run.health
	}
	err := s.service.file(s)
	if err != nil && fault.CodeOf(err) != fault.GatewayNotRegistered { // a profile that is gone takes its slot along
		if !errors.Is(err, errReplaced) && s.fleet.notices.set(observationUnwritten, s.name, err) {
			s.log.Warn("observation not written", "error", err)
		}
		s.dirty = true
		s.arm(writeTimer, rewriteAfter, func() { s.write() })
		s.release(len(s.forget) - unwrittenExits)
		return false
	}
	s.fleet.notices.clear(observationUnwritten, s.name)
	s.release(len(s.forget))
	return true
}

// release has the runner forget the oldest n exits. One that is about to end
// itself forgets all of them.
func (s *slot) release(n int) {
	if n <= 0 || s.fleet.closing.Load() {
		return
	}
	generations := s.forget[:n:n]
	s.forget = append([]uint64(nil), s.forget[n:]...)
	s.wg.Go(func() { s.fleet.forget(s.service.slotName(), generations...) })
}

// forget tells the runner that exits of a slot need not be kept. If it does
// not hear, the next supervisor finds them and tells it again.
func (f *Fleet) forget(slot string, generations ...uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), runnerTimeout)
	defer cancel()
	for _, g := range generations {
		if err := f.runner.Forget(ctx, slot, g); err != nil && !errors.Is(err, engine.ErrGone) {
			f.log.Warn("exit not forgotten", "slot", slot, "error", err)
		}
	}
}
