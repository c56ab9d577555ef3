package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/logfile"
	"hermes/internal/profile"
)

// journal is a slot's log. A log holds one stream, so the readers of a slot's
// runs take turns: each has the journal until it has closed its copied.
type journal struct {
	fleet *Fleet
	name  profile.Name
	logs  config.Logs                 // of log; belongs to whose turn it is
	log   atomic.Pointer[logfile.Log] // nil before the first run
	lost  atomic.Int64                // by logs before log
}

// use is the log, opened anew if it is to have other bounds. fresh says that
// no run from before goes on.
func (j *journal) use(bounds config.Logs, fresh bool) *logfile.Log {
	old := j.log.Load()
	if old != nil && j.logs == bounds {
		return old
	}
	if old != nil {
		j.lost.Add(old.Stats().Lost)
		_ = old.Close() // what it could not write it has counted
	}
	log := j.fleet.openLog(j.name, bounds, fresh && old == nil)
	j.log.Store(log)
	j.logs = bounds
	return log
}

// stats is what became of all output; the bytes are those of the latest log.
func (j *journal) stats() logfile.Stats {
	var stats logfile.Stats
	if log := j.log.Load(); log != nil {
		stats = log.Stats()
	}
	stats.Lost += j.lost.Load()
	return stats
}

// close closes the log. Nobody may be reading any more.
func (j *journal) close() {
	if log := j.log.Load(); log != nil {
		_ = log.Close()
	}
}

// openLog opens the log of a gateway; it counts what it cannot write.
func (f *Fleet) openLog(name profile.Name, bounds config.Logs, fresh bool) *logfile.Log {
	o := logfile.Options{
		Dir: f.logDir(name), Home: f.home.Path(), Profile: string(name),
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
	in := reopen(r.Log, "log of "+r.Slot)
	if in == nil {
		close(r.copied)
		return
	}
	turn, bounds := s.turn, s.setup.logs
	s.turn = r.copied
	s.wg.Go(func() {
		defer close(r.copied)
		defer in.Close()
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
			err = finish(log, in)
		}
		if err != nil {
			s.log.Warn("log reader ended", "error", err)
		}
	})
}

// finish copies what a run that has ended left in its pipe. It does not wait
// for the pipe's end: a stray may hold that open for ever, and its lines must
// not be mixed with those of the next run.
func finish(log *logfile.Log, in *os.File) error {
	conn, err := in.SyscallConn()
	if err != nil {
		return err
	}
	return log.Copy(context.Background(), &remains{conn: conn, left: pipeSize})
}

// pipeSize is the most a pipe holds (fs.pipe-max-size), and so the most a run
// can have written that was not read before its end was known.
const pipeSize = 1 << 20

// remains reads what a pipe has now, and at most left bytes of it: one who
// keeps writing gets no more than its turn.
type remains struct {
	conn syscall.RawConn
	left int
}

func (r *remains) Read(p []byte) (int, error) {
	p = p[:min(len(p), r.left)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	var n int
	var result error
	err := r.conn.Read(func(fd uintptr) bool {
		for {
			if n, result = unix.Read(int(fd), p); result != unix.EINTR {
				return true // also if there is nothing: do not wait
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case n <= 0 && (result == nil || result == unix.EAGAIN):
		return 0, io.EOF
	case result != nil:
		return 0, result
	}
	r.left -= n
	return n, nil
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

// reasonLines of the log explain why a gateway is down.
const reasonLines = 3

// words are what the run said last, in one line; "" if it said nothing.
func (s *slot) words(r *run) string {
	lines, err := logfile.Tail(s.fleet.logDir(s.name), reasonLines)
	if err != nil {
		return ""
	}
	var said []string
	for _, l := range lines {
		if at, text, ok := cutStamp(l); ok && !at.Before(r.Started) {
			said = append(said, text)
		}
	}
	return clean(strings.Join(said, " | "))
}
