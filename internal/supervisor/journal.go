package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/logfile"
)

// journal is a slot's log. A log holds one stream, so the readers of a slot's
// runs take turns: each has the journal until it has closed its copied.
type journal struct {
	fleet *Fleet
	dir   string                 // of the log
	label string                 // of its lines among those of others
	logs  config.Logs            // of the log; belongs to whose turn it is
	open  atomic.Pointer[opened] // nil before the first run
}

// opened is a log, and what became of the logs before it.
type opened struct {
	log  *logfile.Log
	past logfile.Stats
}

// use is the log, opened anew if it is to have other bounds. fresh says that
// no run from before goes on.
func (j *journal) use(bounds config.Logs, fresh bool) *logfile.Log {
	old := j.open.Load()
	if old != nil && j.logs == bounds {
		return old.log
	}
	var next opened
	if old != nil {
		_ = old.log.Close() // what it could not write it has counted
		next.past = j.stats()
	}
	next.log = j.openLog(bounds, fresh && old == nil)
	j.open.Store(&next)
	j.logs = bounds
	return next.log
}

// stats is what became of all output.
func (j *journal) stats() logfile.Stats {
	o := j.open.Load()
	if o == nil {
		return logfile.Stats{}
	}
	return o.log.Stats().After(o.past)
}

// showLoss completes what is shown of a gateway by what its log has lost.
func (j *journal) showLoss(g *api.Gateway) {
	stats := j.stats()
	g.LogLost, g.LogLostLines, g.LogDropped = stats.Lost, stats.LostLines, stats.Dropped
	if stats.Lost > 0 {
		g.LogLostAt = new(stats.LostAt.UTC())
	}
	if stats.Lost > stats.Dropped {
		g.LogError, g.LogFailing = clean(stats.LastError), stats.Failing
	}
	g.StdoutLost = stats.TeeLost
}

// noteLoss shows which logs cannot be written, and why.
func (f *Fleet) noteLoss(slots []*slot) {
	for _, s := range slots {
		stats := s.journal.stats()
		if stats.Lost == stats.Dropped || !stats.Failing {
			f.notices.clear(logUnwritten, s.name)
			continue
		}
		f.notices.set(logUnwritten, s.name, fmt.Errorf("%d bytes of the log of %s are lost: %s", stats.Lost, s.service.slotName(), stats.LastError))
	}
	if f.options.Tee == nil {
		return
	}
	stats := f.options.Tee.Stats()
	if !stats.Failing {
		f.notices.clear(stdoutUnwritten, "")
		return
	}
	f.notices.set(stdoutUnwritten, "", fmt.Errorf("%d lines of the gateways are not on standard output: %s", stats.Lost, stats.Why))
}

// close closes the log. Nobody may be reading any more.
func (j *journal) close() {
	if o := j.open.Load(); o != nil {
		_ = o.log.Close()
	}
}

// openLog opens the log; it counts what it cannot write.
func (j *journal) openLog(bounds config.Logs, fresh bool) *logfile.Log {
	f := j.fleet
	o := logfile.Options{
		Dir: j.dir, Home: f.home.Path(), Profile: j.label,
		MaxSize: bounds.MaxSize, MaxFiles: bounds.MaxFiles,
		Fresh: fresh, Tee: f.options.Tee, Pool: f.pool,
	}
	if c := f.options.Credential; c != nil {
		o.Owner = &logfile.Owner{UID: int(c.UID), GID: int(c.GID)}
	}
	log, err := logfile.Open(o)
	if err != nil {
		panic("internal error: " + err.Error()) // the directory is always below the home
	}
	return log
}

// readOutput copies what the run writes to the journal, until the run has
// ended or the supervisor leaves.
func (s *slot) readOutput(r *run) {
	if r.Log < 0 {
		close(r.copied)
		return
	}
	in := logfile.NewPipe(r.Log)
	turn, bounds := s.turn, s.setup.logs
	s.turn = r.copied
	s.wg.Go(func() {
		defer close(r.copied)
		defer func() { _ = in.Close() }()
		if turn != nil {
			<-turn
		}
		log := s.journal.use(bounds, !r.adopted)
		s.replay(log, r.LogBacklog)
		log.Lose(r.LogDropped, "no supervisor read it")
		err := log.Copy(r.ctx, in)
		if s.fleet.leave.Err() != nil {
			return // the next supervisor goes on where this one stopped
		}
		if errors.Is(err, context.Canceled) {
			// Not to the pipe's end: a stray may hold that open for ever, and
			// its lines must not be mixed with those of the next run.
			err = log.CopyRest(in)
		}
		if err != nil {
			s.log.Warn("log reader ended", "error", err)
		}
	})
}

// replay writes what the runner kept while nobody listened.
func (s *slot) replay(log *logfile.Log, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		s.log.Warn("kept output not read", "path", path, "error", err)
		return
	}
	defer f.Close()
	if _, err := io.Copy(log, f); err != nil {
		s.log.Warn("kept output not written", "path", path, "error", err)
	}
	if err := os.Remove(path); err != nil {
		s.log.Warn("kept output not removed", "path", path, "error", err)
	}
}

// words are what the run said last, in one line; "" if it said nothing.
func (s *slot) words(r *run) string { return logfile.LastWords(s.journal.dir, r.Started) }
