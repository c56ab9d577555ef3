package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/restart"
)

// timer names the timers of a slot. Each is disarmed when its state is left.
type timer uint8

const (
	startTimer timer = iota
	graceTimer
	retryTimer
	healthyTimer
	writeTimer
	numTimers
)

// slot is the place of a gateway, or of the dashboard, with the supervisor. Its fields belong to its
// loop unless they say otherwise.
type slot struct {
	fleet    *Fleet
	log      *slog.Logger
	id       reconcile.ID // guarded by Fleet.mu
	name     profile.Name // constant; "" is no profile's
	service  service      // constant
	mail     mailbox
	ended    chan struct{} // closed when the loop and all it started have ended
	shown    atomic.Pointer[view]
	reported atomic.Pointer[reported] // in gateway_state.json; nil if never
	wg       sync.WaitGroup           // everything this slot started

	state   lifecycle.State
	intent  profile.IntentRecord
	last    profile.Supervision
	outside bool // down for this boot, whatever the intent
	gone    bool // the profile is another's or nobody's: write nothing
	over    bool // nothing is run after this
	since   time.Time
	reason  string
	refusal refusal // of the latest start
	fresh   bool    // the next run is the first since a command
	setup   setup
	run     *run
	pending *run // asked for, the runner has not answered
	ticket  *ticket
	timers  [numTimers]*time.Timer
	dirty   bool
	forget  []uint64 // exits to forget once they are on disk
	waiters []*waiter
	sweep   <-chan struct{} // closed when nothing is left of the latest run; nil if it left nothing
	journal journal
	turn    <-chan struct{} // closed when the latest reader has left the journal; nil before the first
	story   story
}

// refusal is why a start did not become a run, and what would help. The hint
// holds for as long as the reason is the slot's.
type refusal struct{ reason, hint string }

// hint is what puts an end to the slot's reason, "" if that is not known.
func (s *slot) hint() string {
	if s.reason == "" || s.reason != s.refusal.reason {
		return ""
	}
	return s.refusal.hint
}

// refuse keeps err as the slot's reason. Where the reason is shown the gateway
// is named already.
func (s *slot) refuse(err error) {
	s.reason = err.Error()
	for _, verb := range []string{"start", "run"} {
		s.reason = strings.TrimPrefix(s.reason, "cannot "+verb+" "+s.service.slotName()+": ")
	}
	s.refusal = refusal{reason: s.reason}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		s.refusal.hint = f.Hint
	}
}

// setup is what the profile's configuration says of the run in hand.
type setup struct {
	restart      profile.Restart
	ready        config.Ready
	host         string
	startTimeout time.Duration
	stopTimeout  time.Duration
	logs         config.Logs
	port         int
}

// run is one run of the gateway. Its Exit is set once it is known, and filed
// when what the run said last is on disk.
type run struct {
	engine.Run
	ctx     context.Context    // ends when the run has ended or the supervisor leaves
	cancel  context.CancelFunc // of ctx
	copied  chan struct{}      // closed when its output is on disk
	adopted bool               // it was started by an earlier supervisor
	readyAt time.Time
	health  profile.Health
	status  string
	early   *engine.Exit // an exit that overtook the answer to Spawn
	home    reconcile.ID // the directory it lives in, once it entered one

	strays     []profile.Stray
	moreStrays int
}

func (f *Fleet) newRun() *run {
	r := &run{copied: make(chan struct{}), health: profile.HealthUnready}
	r.ctx, r.cancel = context.WithCancel(f.leave)
	return r
}

func newSlot(f *Fleet, what service) *slot {
	dir, label := what.log()
	s := &slot{
		fleet: f, service: what,
		log:     f.log.With("slot", what.slotName()),
		ended:   make(chan struct{}),
		since:   time.Now(),
		fresh:   true,
		setup:   f.defaults(),
		journal: journal{fleet: f, dir: dir, label: label},
	}
	s.last.Version = profile.SupervisionVersion
	return s
}

// loop does what is posted, until there is nothing more; after end it waits for
// what the slot started.
func (s *slot) loop() {
	for posts := s.mail.take(); posts != nil; posts = s.mail.take() {
		for _, f := range posts {
			f()
			s.publish() // who is answered finds the outcome in the view
			s.answerWaiters()
		}
		if s.over {
			s.wg.Wait()
			close(s.ended)
			return
		}
	}
}

// post hands f to the loop, which will run it; false if the slot has ended.
func (s *slot) post(f func()) bool { return s.put(f, false) }

func (s *slot) put(f func(), last bool) bool {
	ok, wake := s.mail.put(f, last)
	if wake {
		s.fleet.workers.run(s.loop) // waited for by end
	}
	return ok
}

// work does what the loop is not to wait for; the slot's end waits for it.
func (s *slot) work(f func()) {
	s.wg.Add(1)
	s.fleet.workers.run(func() {
		defer s.wg.Done()
		f()
	})
}

// errEnded: the slot is no more.
var errEnded = errors.New("the slot has ended")

// ask has f answered by the slot's loop, and the view show what came of it.
// f may run after ask has given up: it must not write what its caller reads.
// Errors: errEnded, ctx's.
func ask[T any](ctx context.Context, s *slot, f func() T) (T, error) {
	answer := make(chan T, 1)
	posted := s.post(func() {
		v := f()
		s.publish()
		answer <- v
	})
	var none T
	if !posted {
		return none, errEnded
	}
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// feed gives the table an event and carries its answer out.
func (s *slot) feed(e lifecycle.Event) {
	c := lifecycle.Next(s.state, e)
	s.story.feeding = e
	if c.To != s.state {
		s.enter(c.To)
	}
	for _, a := range c.Do {
		s.act(a)
	}
}

// enter makes to the state; timers of the state that is left are disarmed.
func (s *slot) enter(to lifecycle.State) {
	was := s.state
	s.state = to
	s.noteState(to.Visible())
	if to.Visible() != was.Visible() {
		s.since = time.Now()
	}
	s.disarm(startTimer, to != lifecycle.Starting)
	s.disarm(graceTimer, to != lifecycle.Stopping && to != lifecycle.Aborting)
	s.disarm(retryTimer, to != lifecycle.Backoff)
	s.disarm(healthyTimer, to != lifecycle.Running)
	switch to {
	case lifecycle.Running:
		s.becameReady()
	case lifecycle.Stopped, lifecycle.Parked, lifecycle.Backoff:
		s.last.Restarting = false
	default: // on its way
	}
	s.touch()
}

func (s *slot) becameReady() {
	if !s.outside {
		s.reason = ""
	}
	if s.run.readyAt.IsZero() {
		s.run.readyAt = time.Now()
		s.last.ReadyAt = s.run.readyAt
	}
	left := restart.HealthyAfter - time.Since(s.run.readyAt)
	s.arm(healthyTimer, min(left, restart.HealthyAfter), func() { // the clock may have gone back
		s.last.Failures = 0
		s.touch()
	})
}

// act carries one action of the table out.
func (s *slot) act(a lifecycle.Action) {
	switch a {
	case lifecycle.Enqueue:
		s.enqueue()
	case lifecycle.Withdraw:
		if s.ticket != nil {
			s.ticket.leave()
			s.ticket = nil
		}
	case lifecycle.Spawn:
		s.spawn()
	case lifecycle.Watch:
		s.watch()
	case lifecycle.Settle:
		if s.wanted() {
			s.feed(lifecycle.Start)
		}
	case lifecycle.Signal:
		s.signal(stopSignal)
	case lifecycle.Kill:
		s.reason = "did not stop in " + s.setup.stopTimeout.String() + ": killed"
		s.signal(killSignal)
	case lifecycle.CountFailure:
		s.countFailure()
	case lifecycle.CancelRetry:
		s.disarm(retryTimer, true)
	}
}

// enqueue asks the gate for a token. One that comes after its place was given
// up admits nobody: another place may be waiting by then.
func (s *slot) enqueue() {
	var mine *ticket
	mine = s.fleet.gate.enter(func() {
		s.post(func() {
			if s.ticket == mine {
				s.feed(lifecycle.Admitted)
			}
		})
	})
	s.ticket = mine
}

// wanted says whether the slot is to have a run.
func (s *slot) wanted() bool {
	return s.intent.Intent == profile.Running && !s.outside && !s.gone && !s.fleet.closing.Load()
}

func (s *slot) countFailure() {
	s.last.Failures++
	delay := restart.Delay(s.last.Failures, rand.Float64())
	s.retryAt(time.Now().Add(delay))
}

// retryAt arms the next try. A fleet that shuts down tries no more, nor does a
// slot that is removed: the failure stays on record.
func (s *slot) retryAt(at time.Time) {
	s.last.NextRetryAt = at
	s.arm(retryTimer, time.Until(at), func() {
		if s.wanted() {
			s.feed(lifecycle.RetryDue)
		}
	})
}

// arm starts a timer that runs f in the loop, unless it is disarmed before.
func (s *slot) arm(k timer, d time.Duration, f func()) {
	s.disarm(k, true)
	var t *time.Timer
	t = time.AfterFunc(max(d, 0), func() {
		s.post(func() {
			if s.timers[k] == t {
				s.timers[k] = nil
				f()
			}
		})
	})
	s.timers[k] = t
}

func (s *slot) disarm(k timer, condition bool) {
	if condition && s.timers[k] != nil {
		s.timers[k].Stop()
		s.timers[k] = nil
	}
}

// end closes the slot, once what was posted before is done, and waits for it
// or until ctx ends. A run that lives is left to the runner.
func (s *slot) end(ctx context.Context) {
	s.put(func() {
		if s.dirty {
			s.write()
		}
		for k := range numTimers {
			s.disarm(k, true)
		}
		s.act(lifecycle.Withdraw)
		for _, r := range []*run{s.run, s.pending} {
			if r != nil {
				r.cancel()
			}
		}
		s.over = true
	}, true)
	select {
	case <-s.ended:
		s.journal.close()
	case <-ctx.Done():
	}
}
