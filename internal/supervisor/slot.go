package supervisor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/lifecycle"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/restart"
)

// settle is how long observations are gathered before they are written: a
// burst of events costs one write. Losing them costs history, not intent.
const settle = 250 * time.Millisecond

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

// slot is a gateway's place with the supervisor. Its fields belong to its
// loop unless they say otherwise.
type slot struct {
	fleet *Fleet
	log   *slog.Logger
	id    reconcile.ID // guarded by Fleet.mu
	name  profile.Name // constant
	posts chan func()
	quit  chan struct{} // closed by end
	ended chan struct{} // closed when the loop has returned
	shown atomic.Pointer[view]
	wg    sync.WaitGroup // everything this slot started

	state   lifecycle.State
	intent  profile.IntentRecord
	last    profile.Supervision
	outside bool // down for this boot, whatever the intent
	gone    bool // the profile no longer exists: write nothing
	since   time.Time
	reason  string
	fresh   bool // the next run is the first since a command
	setup   setup
	run     *run
	pending *run // asked for, the runner has not answered
	ticket  *ticket
	timers  [numTimers]*time.Timer
	dirty   bool
	forget  []uint64 // exits to forget once they are on disk
	waiters []*waiter
	output  *logfile.Log
}

// setup is what the profile's configuration says of the run in hand.
type setup struct {
	restart      restart.Policy
	ready        config.Ready
	host         string
	startTimeout time.Duration
	stopTimeout  time.Duration
	port         int
}

// run is one run of the gateway.
type run struct {
	engine.Run
	ctx     context.Context    // ends when the run has ended
	cancel  context.CancelFunc // of ctx
	copied  chan struct{}      // closed when its output is on disk
	readyAt time.Time
	health  profile.Health
	status  string
	early   *engine.Exit // an exit that overtook the answer to Spawn
}

func newSlot(f *Fleet, name profile.Name, id reconcile.ID) *slot {
	s := &slot{
		fleet: f, name: name, id: id,
		log:   f.log.With("profile", string(name)),
		posts: make(chan func(), 16),
		quit:  make(chan struct{}),
		ended: make(chan struct{}),
		since: time.Now(),
		fresh: true,
		setup: f.defaults(),
	}
	s.last.Version = profile.SupervisionVersion
	return s
}

// loop runs what is posted until end, then waits for what it started.
func (s *slot) loop() {
	defer close(s.ended)
	for {
		select {
		case f := <-s.posts:
			f()
			s.publish()
		case <-s.quit:
			s.wg.Wait()
			return
		}
	}
}

// post hands f to the loop; false if the slot has ended.
func (s *slot) post(f func()) bool {
	select {
	case s.posts <- f:
		return true
	case <-s.quit:
		return false
	}
}

// call posts f and waits until it has run; false if the slot has ended.
func (s *slot) call(f func()) bool {
	done := make(chan struct{})
	if !s.post(func() { f(); close(done) }) {
		return false
	}
	select {
	case <-done:
		return true
	case <-s.ended:
		return false
	}
}

// feed gives the table an event and carries its answer out.
func (s *slot) feed(e lifecycle.Event) {
	c := lifecycle.Next(s.state, e)
	if c.To != s.state {
		s.enter(c.To)
	}
	for _, a := range c.Do {
		s.act(a)
	}
	s.answerWaiters()
}

// enter makes to the state; timers of the state that is left are disarmed.
func (s *slot) enter(to lifecycle.State) {
	was := s.state
	s.state = to
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
	}
	s.touch()
}

func (s *slot) becameReady() {
	s.reason = ""
	if s.run.readyAt.IsZero() {
		s.run.readyAt = time.Now()
		s.last.ReadyAt = s.run.readyAt
	}
	left := restart.HealthyAfter - time.Since(s.run.readyAt)
	s.arm(healthyTimer, left, func() {
		s.last.Failures = 0
		s.touch()
	})
}

// act carries one action of the table out.
func (s *slot) act(a lifecycle.Action) {
	switch a {
	case lifecycle.Enqueue:
		s.ticket = s.fleet.gate.enter(&s.wg, func() {
			s.post(func() { s.feed(lifecycle.Admitted) })
		})
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
		s.signal(s.fleet.stopSignal(), true)
	case lifecycle.Kill:
		s.reason = "did not stop in " + s.setup.stopTimeout.String() + ": killed"
		s.signal(killSignal, true)
	case lifecycle.CountFailure:
		s.countFailure()
	case lifecycle.CancelRetry:
		s.disarm(retryTimer, true)
	}
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

func (s *slot) retryAt(at time.Time) {
	s.last.NextRetryAt = at
	s.arm(retryTimer, time.Until(at), func() { s.feed(lifecycle.RetryDue) })
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

// end stops the loop once the slot has no run, and waits for it. With a run it
// leaves the run to the runner.
func (s *slot) end() {
	s.call(func() {
		for k := range numTimers {
			s.disarm(k, true)
		}
		s.act(lifecycle.Withdraw)
		if s.run != nil {
			s.run.cancel()
		}
		s.write()
		close(s.quit)
	})
	<-s.ended
	if s.output != nil {
		if err := s.output.Close(); err != nil {
			s.log.Warn("log not closed", "error", err)
		}
	}
}
