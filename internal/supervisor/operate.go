package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
)

// order is a Request as a slot is given it.
type order struct {
	by      string
	write   func(profile.Name, profile.IntentRecord) error // of an intent, durably
	decided func()                                         // called when no intent is to be written any more
}

// alone is the order of a request about one gateway.
func (f *Fleet) alone(r profile.Request) order {
	return order{by: r.By, write: f.writeIntent, decided: func() {}}
}

// among is the order of one of the slots that intents was made for.
func among(intents *together, r profile.Request) order {
	var once sync.Once
	return order{
		by: r.By,
		write: func(name profile.Name, rec profile.IntentRecord) error {
			once.Do(func() {}) // to write is to decide
			return intents.put(name, rec)
		},
		decided: func() { once.Do(intents.pass) },
	}
}

// waiter is a command that waits for its outcome, until left is closed. done
// is asked after everything the loop does, in the loop.
type waiter struct {
	done   func() (bool, error)
	answer chan error // of capacity 1
	left   <-chan struct{}
}

// answerWaiters answers those whose outcome is known.
func (s *slot) answerWaiters() {
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		if done, err := w.done(); done {
			w.answer <- err
			return true
		}
		select {
		case <-w.left:
			return true
		default:
			return false
		}
	})
}

// await registers a waiter; it is asked once what the loop is at is done.
func (s *slot) await(ctx context.Context, done func() (bool, error)) <-chan error {
	w := &waiter{done: done, answer: make(chan error, 1), left: ctx.Done()}
	s.waiters = append(s.waiters, w)
	return w.answer
}

// outcome is what a waiter was answered.
func (s *slot) outcome(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
	}
	select {
	case err := <-answer: // the last thing the loop did
		return err
	default:
		return errEnded
	}
}

// setIntent writes what the operator wants, durably, before it is acted upon.
func (s *slot) setIntent(want profile.Intent, o order) error {
	if s.gone {
		return fault.NotRegistered(string(s.name))
	}
	rec := profile.IntentRecord{
		Version: profile.IntentVersion, Intent: want,
		Generation: s.intent.Generation + 1, ChangedAt: time.Now().UTC(), ChangedBy: o.by,
	}
	if err := o.write(s.name, rec); err != nil {
		return err
	}
	s.intent = rec
	s.story.asked = true
	s.outside = false
	return nil
}

// begin prepares for e, which an operator asked for to have a run.
func (s *slot) begin(e lifecycle.Event, o order) error {
	if s.fleet.closing.Load() {
		return errShuttingDown()
	}
	goesOn := s.state.HasRun() || s.state == lifecycle.Queued
	if s.intent.Intent != profile.Running || s.outside || !goesOn {
		if err := s.setIntent(profile.Running, o); err != nil {
			return err
		}
	}
	failed := s.last.Failures > 0
	s.last.Failures, s.last.Ended = 0, false
	s.last.NextRetryAt = time.Time{}
	s.reason = ""
	if e == lifecycle.Start && (s.state == lifecycle.Starting || s.state == lifecycle.Running) {
		s.last.Restarts = 0 // the run in hand is the first
	} else {
		s.fresh = true
	}
	s.touch()
	restarts := lifecycle.Next(s.state, e).To == lifecycle.Stopping
	if restarts {
		// The run in hand goes first. A supervisor that comes back halfway
		// must not take it for one that stays.
		s.last.Restarting = true
	}
	if restarts || failed { // nor wait for what is forgiven
		s.write()
	}
	return nil
}

func (s *slot) start(ctx context.Context, o order) (<-chan error, error) {
	if err := s.begin(lifecycle.Start, o); err != nil {
		return nil, err
	}
	s.feed(lifecycle.Start)
	return s.await(ctx, s.isUp(0)), nil
}

func (s *slot) restart(ctx context.Context, o order) (<-chan error, error) {
	var old uint64
	if s.run != nil {
		old = s.run.Generation
	}
	if err := s.begin(lifecycle.Restart, o); err != nil {
		return nil, err
	}
	s.feed(lifecycle.Restart)
	return s.await(ctx, s.isUp(old)), nil
}

func (s *slot) stop(ctx context.Context, o order) (<-chan error, error) {
	if s.intent.Intent != profile.Stopped || s.outside {
		if err := s.setIntent(profile.Stopped, o); err != nil {
			return nil, err
		}
	}
	s.last.Restarting = false
	s.reason = ""
	s.feed(lifecycle.Stop)
	s.touch()
	return s.await(ctx, func() (bool, error) {
		switch {
		case s.state == lifecycle.Stopped && s.sweep == nil:
			return true, nil
		case s.wanted():
			return true, fault.New(fault.GatewayFailed, "cannot stop %s: it was started again meanwhile", s.service.slotName())
		}
		return false, nil
	}), nil
}

// isUp is done when a run other than old is ready, or has failed to be.
func (s *slot) isUp(old uint64) func() (bool, error) {
	return func() (bool, error) {
		switch s.state {
		case lifecycle.Running:
			return s.run.Generation != old && s.run.Exit == nil, nil
		case lifecycle.Stopped, lifecycle.Parked, lifecycle.Backoff:
			return true, s.notUp()
		default: // on its way
			return false, nil
		}
	}
}

func (s *slot) notUp() error {
	switch {
	case s.fleet.closing.Load():
		return errShuttingDown()
	case s.gone:
		return fault.NotRegistered(string(s.name))
	case s.intent.Intent == profile.Stopped:
		return fault.New(fault.GatewayFailed, "cannot start %s: it was stopped meanwhile", s.service.slotName())
	}
	reason := s.reason
	if reason == "" {
		reason = "it ended at once"
	}
	err := fault.New(fault.GatewayFailed, "cannot start %s: %s", s.service.slotName(), reason)
	if hint := s.hint(); hint != "" {
		return err.WithHint("%s", hint)
	}
	_, advice := s.service.words()
	return err.WithHint("%s", advice)
}

func errShuttingDown() error {
	return fault.New(fault.Shutdown, "the supervisor is shutting down")
}

// explain makes an error about the wait one about the gateway.
func (f *Fleet) explain(err error, s *slot, timeout time.Duration) error {
	switch {
	case errors.Is(err, errEnded) && f.closing.Load():
		return errShuttingDown()
	case errors.Is(err, errEnded) && f.leave.Err() != nil:
		return fault.New(fault.Shutdown, "the supervisor is being replaced: ask again")
	case errors.Is(err, errEnded):
		return fault.NotRegistered(string(s.name))
	case errors.Is(err, context.DeadlineExceeded):
		_, advice := s.service.words()
		return fault.New(fault.GatewayTimeout, "%s is still %s after %s", s.service.slotName(), s.gateway().State, timeout).
			WithHint("%s", advice)
	}
	return err
}

// Start sets the intent running, starts the gateway and waits until it is
// ready or has failed.
func (f *Fleet) Start(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, f.alone(r), (*slot).start)
}

// Stop sets the intent stopped and waits until the gateway is down.
func (f *Fleet) Stop(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return f.stop(ctx, name, r, f.alone(r))
}

func (f *Fleet) stop(ctx context.Context, name profile.Name, r profile.Request, o order) (api.ActionResult, error) {
	result, err := f.operate(ctx, name, r, o, (*slot).stop)
	if err == nil && f.commanded(name) {
		result.Hints = append(result.Hints,
			`this container's command is "gateway run": it starts again at the next boot`)
	}
	return result, err
}

// Restart stops the gateway if it runs and waits until a new run is ready.
func (f *Fleet) Restart(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, f.alone(r), (*slot).restart)
}

// verb is what an operator does to one slot, in its loop. The channel answers
// when the outcome is known.
type verb func(s *slot, ctx context.Context, o order) (<-chan error, error)

func (f *Fleet) operate(ctx context.Context, name profile.Name, r profile.Request, o order, v verb) (api.ActionResult, error) {
	defer o.decided() // also of a slot that has ended
	s, err := f.lookup(ctx, name)
	if err != nil {
		return api.ActionResult{}, err
	}
	err = f.command(ctx, s, r, o, v)
	return api.ActionResult{Gateway: s.gateway()}, err
}

// command has the slot do v, and waits for the outcome if it is asked to.
func (f *Fleet) command(ctx context.Context, s *slot, r profile.Request, o order, v verb) error {
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	type promise struct {
		outcome <-chan error
		err     error
	}
	p, err := ask(ctx, s, func() (p promise) {
		if s.run != nil && s.run.Exit != nil {
			s.fileExit(s.run) // a command meets what is, not what is being written
		}
		p.outcome, p.err = v(s, ctx, o)
		o.decided()
		return p
	})
	if err == nil {
		err = p.err
	}
	if err == nil && !r.NoWait {
		err = s.outcome(ctx, p.outcome)
	}
	if err != nil {
		err = f.explain(err, s, r.Timeout)
	}
	return err
}

// All stops or restarts in parallel every gateway whose intent is running, or
// that runs all the same, and reports each as it ends. A restart leaves those
// alone whose intent is stopped. The intents are written with one sync.
func (f *Fleet) All(ctx context.Context, action string, r profile.Request, report func(api.ActionResult)) error {
	if action != "stop" && action != "restart" {
		return fault.New(fault.Usage, "cannot %s all gateways: only stop and restart apply to all", action)
	}
	var concerned []*slot
	for _, s := range f.slots() {
		g := &s.shown.Load().gateway
		if g.Intent == string(profile.Running) || action == "stop" && g.State != string(profile.StateStopped) {
			concerned = append(concerned, s)
		}
	}
	intents := newTogether(len(concerned), f.home.WriteIntents)
	defer intents.stop()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards report
	for _, s := range concerned {
		wg.Go(func() {
			var result api.ActionResult
			var err error
			if o := among(intents, r); action == "stop" {
				result, err = f.stop(ctx, s.name, r, o)
			} else {
				result, err = f.operate(ctx, s.name, r, o, (*slot).restart)
			}
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
			outcome, err := ask(ctx, s, func() <-chan error {
				if !s.wanted() {
					return nil
				}
				return s.await(ctx, s.isUp(0))
			})
			if err != nil || outcome == nil {
				return
			}
			err = s.outcome(ctx, outcome)
			result := api.ActionResult{Gateway: s.shown.Load().gateway}
			if err != nil {
				result.Error = wire(f.explain(err, s, 0))
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

// LongestGrace is the longest any gateway, or the dashboard, may take to stop.
func (f *Fleet) LongestGrace() time.Duration {
	longest := f.options.Settings.StopTimeout
	for _, s := range f.everySlot() {
		longest = max(longest, s.shown.Load().stopTimeout)
	}
	return longest
}
