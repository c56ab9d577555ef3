package supervisor

import (
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/lifecycle"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

// lastWords bounds the wait for a run's output to be on disk.
const lastWords = 500 * time.Millisecond

// onExit is an exit the runner reported, in the loop.
func (s *slot) onExit(generation uint64, exit engine.Exit) {
	switch {
	case s.run != nil && s.run.Generation == generation:
		s.exited(s.run, exit)
	case s.pending != nil && s.pending.Generation == generation:
		s.pending.early = &exit
	default:
		s.forgetLater(generation)
	}
}

// exited is the end of the slot's run. One that needs explaining is filed once
// what the run said last is on disk: commands do not wait for that, and the
// runner keeps the exit meanwhile.
func (s *slot) exited(r *run, exit engine.Exit) {
	if r.Exit != nil {
		return // told before
	}
	r.Exit = &exit
	r.cancel() // its reader finishes
	s.disarm(startTimer, true)
	s.endStrays(r)
	if !s.needsWords(r) {
		s.fileExit(r)
		return
	}
	s.wg.Go(func() {
		late := time.NewTimer(lastWords)
		defer late.Stop()
		select {
		case <-r.copied:
		case <-late.C: // a disk that hangs must not hide the exit
		}
		s.post(func() { s.fileExit(r) })
	})
}

// needsWords says whether the exit is to be explained by words that are not on
// disk yet.
func (s *slot) needsWords(r *run) bool {
	select {
	case <-r.copied:
		return false
	default:
	}
	switch event := s.judge(s.record(r)); event {
	case lifecycle.ExitedConfig, lifecycle.ExitedFailed:
		return s.state != lifecycle.Stopping
	default:
		return false
	}
}

// fileExit puts the end of the slot's run on record, once, and feeds what
// follows.
func (s *slot) fileExit(r *run) {
	if s.run != r {
		return
	}
	record := s.record(r)
	if record.Healthy {
		s.last.Failures = 0
	}
	event := s.judge(record)
	if s.state != lifecycle.Stopping {
		s.explain(event, r, &record)
	} else {
		s.reason = ""
	}
	s.last.AddExit(record)
	s.last.Ended = event == lifecycle.ExitedDone && (s.state == lifecycle.Starting || s.state == lifecycle.Running)
	s.run = nil
	s.story.exit, s.story.pid = &record, r.PID
	s.fleet.tenants.leave(r)
	s.forgetLater(r.Generation)
	s.log.Info("ended", "pid", r.PID, "exit", record.String(), "asked", record.Asked)
	s.feed(event)
	s.writeFailure()
}

// record is how the run ended, for the files.
func (s *slot) record(r *run) profile.Exit {
	e := exitOf(r.Run)
	e.Strays, e.MoreStrays = r.strays, r.moreStrays
	e.Asked = s.state == lifecycle.Stopping
	e.Healthy = !r.readyAt.IsZero() && r.Exit.At.Sub(r.readyAt) >= restart.HealthyAfter
	return e
}

// exitOf is what the runner knows of the end of a run.
func exitOf(r engine.Run) profile.Exit {
	e := profile.Exit{Run: r.Generation, Code: r.Exit.Code, Started: r.Started, At: r.Exit.At}
	if r.Exit.Signal != 0 {
		e.Code, e.Signal = -1, unix.SignalName(r.Exit.Signal)
	}
	return e
}

// judge says which event of the table an exit is. What is down for this boot
// and ran all the same, having outlived the supervisor that started it, is not
// started again.
func (s *slot) judge(e profile.Exit) lifecycle.Event {
	switch restart.Decide(s.setup.restart, s.last.Exits, e) {
	case restart.Park:
		return lifecycle.ExitedConfig
	case restart.Again:
		if !s.outside {
			return lifecycle.ExitedAgain
		}
	case restart.Backoff:
		if !s.outside {
			return lifecycle.ExitedFailed
		}
	case restart.Stay:
	}
	return lifecycle.ExitedDone
}

// explain puts into words why the gateway is not as wanted.
func (s *slot) explain(event lifecycle.Event, r *run, record *profile.Exit) {
	switch {
	case s.state == lifecycle.Aborting && event != lifecycle.ExitedConfig:
		record.Reason = s.reason // "not ready in …"
	case event == lifecycle.ExitedConfig:
		s.reason = withWords("exit 78 (configuration)", s.words(r))
		record.Reason = s.reason
	case event == lifecycle.ExitedFailed:
		s.reason = withWords(record.String(), s.words(r))
	case event == lifecycle.ExitedDone && !s.outside:
		s.reason = "ended by itself (" + record.String() + ", restart: " + string(s.setup.restart) + ")"
	case event == lifecycle.ExitedAgain:
		s.reason = ""
	}
}

func withWords(what, words string) string {
	if words == "" {
		return what
	}
	return what + ": " + words
}

// clean makes a gateway's words safe to show.
func clean(s string) string { return logfile.Clean(s) }
