package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
)

// Request is what an operator's action is asked with.
type Request struct {
	NoWait  bool          // return as soon as the intent is on disk
	Timeout time.Duration // of the wait; 0 waits for the outcome
	By      string        // who asks, for changed_by
}

// waiter is a command that waits for its outcome. done is asked after every
// event, in the loop.
type waiter struct {
	done   func() (bool, error)
	answer chan error // of capacity 1
}

// answerWaiters answers those whose outcome is known.
func (s *slot) answerWaiters() {
	rest := s.waiters[:0]
	for _, w := range s.waiters {
		if done, err := w.done(); done {
			w.answer <- err
		} else {
			rest = append(rest, w)
		}
	}
	clear(s.waiters[len(rest):])
	s.waiters = rest
}

// await registers a waiter; the state as it is now may answer it.
func (s *slot) await(done func() (bool, error)) <-chan error {
	w := &waiter{done: done, answer: make(chan error, 1)}
	s.waiters = append(s.waiters, w)
	s.answerWaiters()
	return w.answer
}

// setIntent writes what the operator wants, durably, before it is acted upon.
func (s *slot) setIntent(want profile.Intent, by string) error {
	if s.gone {
		return fault.NotRegistered(string(s.name))
	}
	rec := profile.IntentRecord{
		Version: profile.IntentVersion, Intent: want,
		Generation: s.intent.Generation + 1, ChangedAt: time.Now().UTC(), ChangedBy: by,
	}
	if err := s.fleet.writeIntent(s.name, rec); err != nil {
		return err
	}
	s.intent = rec
	s.outside = false
	return nil
}

// begin prepares for a run that an operator asked for.
func (s *slot) begin(by string) error {
	if s.intent.Intent != profile.Running || !s.state.HasRun() && s.state != lifecycle.Queued {
		if err := s.setIntent(profile.Running, by); err != nil {
			return err
		}
	}
	s.last.Failures, s.last.Ended = 0, false
	s.last.NextRetryAt = time.Time{}
	s.fresh = true
	if s.state != lifecycle.Running {
		s.reason = ""
	}
	return nil
}

func (s *slot) start(by string) (<-chan error, error) {
	if s.fleet.closing.Load() {
		return nil, errShuttingDown()
	}
	if err := s.begin(by); err != nil {
		return nil, err
	}
	s.feed(lifecycle.Start)
	return s.await(s.isUp(0)), nil
}

func (s *slot) restart(by string) (<-chan error, error) {
	if s.fleet.closing.Load() {
		return nil, errShuttingDown()
	}
	var old uint64
	if s.run != nil {
		old = s.run.Generation
	}
	if err := s.begin(by); err != nil {
		return nil, err
	}
	if s.state.HasRun() {
		s.last.Restarting = true
		s.write() // a supervisor that comes back halfway finishes the restart
	}
	s.feed(lifecycle.Restart)
	return s.await(s.isUp(old)), nil
}

func (s *slot) stop(by string) (<-chan error, error) {
	if s.intent.Intent != profile.Stopped {
		if err := s.setIntent(profile.Stopped, by); err != nil {
			return nil, err
		}
	}
	s.last.Restarting = false
	s.reason = ""
	s.feed(lifecycle.Stop)
	s.touch()
	return s.await(func() (bool, error) {
		switch {
		case s.state == lifecycle.Stopped:
			return true, nil
		case s.wanted() && !s.fleet.closing.Load():
			return true, fault.New(fault.GatewayFailed, "cannot stop %s: it was started again meanwhile", s.name.Slot())
		}
		return false, nil
	}), nil
}

// isUp is done when a run other than old is ready, or has failed to be.
func (s *slot) isUp(old uint64) func() (bool, error) {
	return func() (bool, error) {
		switch s.state {
		case lifecycle.Running:
			return s.run.Generation != old, nil
		case lifecycle.Stopped, lifecycle.Parked, lifecycle.Backoff:
			return true, s.notUp()
		}
		return false, nil
	}
}

func (s *slot) notUp() error {
	if s.fleet.closing.Load() {
		return errShuttingDown()
	}
	if s.intent.Intent == profile.Stopped {
		return fault.New(fault.GatewayFailed, "cannot start %s: it was stopped meanwhile", s.name.Slot())
	}
	reason := s.reason
	if reason == "" {
		reason = "it ended at once"
	}
	err := fault.New(fault.GatewayFailed, "cannot start %s: %s", s.name.Slot(), reason)
	return err.WithHint("hermes why %s", s.name)
}

func errShuttingDown() error {
	return fault.New(fault.Shutdown, "the supervisor is shutting down")
}

// Start sets the intent running, starts the gateway and waits until it is
// ready or has failed.
func (f *Fleet) Start(ctx context.Context, name profile.Name, r Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, (*slot).start)
}

// Stop sets the intent stopped and waits until the gateway is down.
func (f *Fleet) Stop(ctx context.Context, name profile.Name, r Request) (api.ActionResult, error) {
	result, err := f.operate(ctx, name, r, (*slot).stop)
	if err == nil && f.commanded(name) {
		result.Hints = append(result.Hints,
			`this container's command is "gateway run": it starts again at the next boot`)
	}
	return result, err
}

// Restart stops the gateway if it runs and waits until a new run is ready.
func (f *Fleet) Restart(ctx context.Context, name profile.Name, r Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, (*slot).restart)
}

// verb is what an operator does to one slot, in its loop. The channel answers
// when the outcome is known.
type verb func(s *slot, by string) (<-chan error, error)

func (f *Fleet) operate(ctx context.Context, name profile.Name, r Request, v verb) (api.ActionResult, error) {
	s, err := f.lookup(ctx, name)
	if err != nil {
		return api.ActionResult{}, err
	}
	var outcome <-chan error
	if !s.call(func() { outcome, err = v(s, r.By) }) {
		return api.ActionResult{}, fault.NotRegistered(string(name))
	}
	if err == nil && !r.NoWait {
		err = s.outcome(ctx, outcome, r.Timeout)
	}
	s.call(func() {}) // the view is published after what was posted before
	return api.ActionResult{Gateway: s.gateway()}, err
}

func (s *slot) outcome(ctx context.Context, outcome <-chan error, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	select {
	case err := <-outcome:
		return err
	case <-s.ended:
		return fault.NotRegistered(string(s.name))
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		g := s.gateway()
		return fault.New(fault.GatewayTimeout, "%s is still %s after %s", s.name.Slot(), g.State, timeout).
			WithHint("hermes why %s", s.name)
	}
	return ctx.Err()
}

// All stops or restarts in parallel every gateway whose intent is running, or
// that runs all the same, and reports each as it ends. A restart leaves those
// alone whose intent is stopped.
func (f *Fleet) All(ctx context.Context, action string, r Request, report func(api.ActionResult)) error {
	act := map[string]func(context.Context, profile.Name, Request) (api.ActionResult, error){
		"stop": f.Stop, "restart": f.Restart,
	}[action]
	if act == nil {
		return fault.New(fault.Usage, "cannot %s all gateways: only stop and restart apply to all", action)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards report
	for _, s := range f.slots() {
		g := s.shown.Load().gateway
		if g.Intent != string(profile.Running) && (action == "restart" || g.State == string(profile.StateStopped)) {
			continue
		}
		wg.Go(func() {
			result, err := act(ctx, s.name, r)
			if err != nil {
				result.Gateway.Profile, result.Gateway.Slot = string(s.name), s.name.Slot()
				result.Error = wire(err)
			}
			mu.Lock()
			defer mu.Unlock()
			report(result)
		})
	}
	wg.Wait()
	return nil
}

// wire is an error as one line of a stream carries it.
func wire(err error) *api.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return &api.Error{Code: string(f.Code), Message: f.Msg, Hint: f.Hint}
	}
	return &api.Error{Code: string(fault.Internal), Message: fmt.Sprintf("internal error: %v", err)}
}

// Outcomes reports, as each becomes known, what became of the gateways that
// are wanted up now, and returns their number when all are known or ctx ends.
func (f *Fleet) Outcomes(ctx context.Context, report func(api.ActionResult)) int {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards report and wanted
	wanted := 0
	for _, s := range f.slots() {
		wg.Go(func() {
			var outcome <-chan error
			s.call(func() {
				if s.wanted() {
					outcome = s.await(s.isUp(0))
				}
			})
			if outcome == nil {
				return
			}
			err := s.outcome(ctx, outcome, 0)
			s.call(func() {})
			result := api.ActionResult{Gateway: s.gateway()}
			if err != nil {
				result.Error = wire(err)
			}
			mu.Lock()
			defer mu.Unlock()
			wanted++
			if ctx.Err() == nil {
				report(result)
			}
		})
	}
	wg.Wait()
	return wanted
}

// LongestGrace is the longest any gateway may take to stop.
func (f *Fleet) LongestGrace() time.Duration {
	longest := f.options.Settings.StopTimeout
	for _, s := range f.slots() {
		s.call(func() { longest = max(longest, s.setup.stopTimeout) })
	}
	return longest
}
