package supervisor

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/lifecycle"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

const (
	// lastWords bounds the wait for a run's output after its end: a stray may
	// hold the pipe open for ever.
	lastWords = 500 * time.Millisecond
	// reasonLines of the log explain why a gateway was parked.
	reasonLines = 3
)

// onExit is an exit the runner reported, in the loop.
func (s *slot) onExit(generation uint64, exit engine.Exit) {
	switch {
	case s.run != nil && s.run.Generation == generation:
		s.exited(exit)
	case s.pending != nil && s.pending.Generation == generation:
		s.pending.early = &exit
	default:
		s.forgetLater(generation)
	}
}

// exited files the end of the slot's run and feeds what follows from it.
func (s *slot) exited(exit engine.Exit) {
	r := s.run
	event, record := s.judge(r, exit)
	if event == lifecycle.ExitedConfig || event == lifecycle.ExitedFailed {
		s.awaitOutput(r)
	}
	s.explain(event, &record)
	s.last.AddExit(record)
	s.run = nil
	r.cancel()
	s.forgetLater(r.Generation)
	s.log.Info("ended", "pid", r.PID, "exit", record.String(), "asked", record.Asked)
	s.last.Ended = event == lifecycle.ExitedDone && s.state != lifecycle.Stopping
	s.feed(event)
	if s.state == lifecycle.Parked || s.state == lifecycle.Backoff {
		s.write() // a failure must be known at the next boot
	}
}

// judge says which event of the table the exit is.
func (s *slot) judge(r *run, exit engine.Exit) (lifecycle.Event, profile.Exit) {
	asked := s.state == lifecycle.Stopping
	record := profile.Exit{
		Run: r.Generation, Code: exit.Code, Asked: asked,
		Started: r.Started, At: exit.At,
		Healthy: !r.readyAt.IsZero() && exit.At.Sub(r.readyAt) >= restart.HealthyAfter,
	}
	if exit.Signal != 0 {
		record.Code, record.Signal = -1, unix.SignalName(exit.Signal)
	}
	if record.Healthy {
		s.last.Failures = 0
	}
	verdict := restart.Decide(s.setup.restart, s.last.Exits, record)
	event := map[restart.Verdict]lifecycle.Event{
		restart.Again:   lifecycle.ExitedAgain,
		restart.Backoff: lifecycle.ExitedFailed,
		restart.Park:    lifecycle.ExitedConfig,
		restart.Stay:    lifecycle.ExitedDone,
	}[verdict]
	return event, record
}

// explain puts into words why the gateway is not as wanted.
func (s *slot) explain(event lifecycle.Event, record *profile.Exit) {
	switch {
	case s.state == lifecycle.Stopping:
		s.reason = ""
	case s.state == lifecycle.Aborting:
		record.Reason = s.reason // "not ready in …"
	case event == lifecycle.ExitedConfig:
		s.reason = "exit 78 (configuration)"
		if tail := s.tail(); tail != "" {
			s.reason += ": " + tail
		}
		record.Reason = s.reason
	case event == lifecycle.ExitedFailed:
		s.reason = record.String()
		if tail := s.tail(); tail != "" {
			s.reason += ": " + tail
		}
	case event == lifecycle.ExitedDone:
		s.reason = "ended by itself (" + record.String() + ", restart: " + string(s.setup.restart) + ")"
	case event == lifecycle.ExitedAgain:
		s.reason = ""
	}
}

// tail is the end of the gateway's log in one line.
func (s *slot) tail() string {
	lines, err := logfile.Tail(s.fleet.logDir(s.name), reasonLines)
	if err != nil {
		return ""
	}
	for i, l := range lines {
		if _, text, ok := strings.Cut(l, " "); ok {
			lines[i] = text
		}
	}
	return clean(strings.Join(lines, " | "))
}

// clean makes a gateway's words safe for a terminal and short enough for a
// table; they are hostile text.
func clean(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// awaitOutput waits until what the run wrote last is on disk.
func (s *slot) awaitOutput(r *run) {
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-r.copied:
	case <-t.C:
	}
}

// forgetLater tells the runner to forget an exit once it is on disk.
func (s *slot) forgetLater(generation uint64) {
	s.forget = append(s.forget, generation)
	s.touch()
}

// touch has the observation written soon.
func (s *slot) touch() {
	if !s.dirty {
		s.dirty = true
		s.arm(writeTimer, settle, s.write)
	}
}

// write puts the observation on disk and forgets the exits it holds.
func (s *slot) write() {
	s.dirty = false
	s.disarm(writeTimer, true)
	s.last.Keeper = s.fleet.options.Keeper
	s.last.IntentGeneration = s.intent.Generation
	s.last.Reason = s.reason
	s.last.State = s.state.Visible()
	if !s.gone && !s.outside {
		if err := s.fleet.writeSupervision(s.name, s.last); err != nil {
			s.log.Warn("observation not written", "error", err)
			s.fleet.notices.set("supervision_unwritten", err)
		}
	}
	s.release()
}

// release has the runner forget what is on disk.
func (s *slot) release() {
	generations := s.forget
	s.forget = nil
	if len(generations) == 0 {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
		defer cancel()
		for _, g := range generations {
			if err := s.fleet.runner.Forget(ctx, s.name.Slot(), g); err != nil && !errors.Is(err, engine.ErrGone) {
				s.log.Warn("exit not forgotten", "error", err)
			}
		}
	})
}
