package supervisor

import (
	"context"
	"errors"
	"io"
	"os"

	"hermes/internal/logfile"
)

// readOutput copies what the run writes to its log until the run and all that
// share its output have ended, or the supervisor leaves.
func (s *slot) readOutput(r *run, fresh bool) {
	if s.output == nil {
		s.output = s.fleet.openLog(s.name, fresh)
	}
	log := s.output
	log.Lose(r.LogDropped, "no supervisor read it")
	in := reopen(r.Log, "log of "+r.Slot)
	if in == nil {
		close(r.copied)
		return
	}
	s.wg.Go(func() {
		defer close(r.copied)
		defer in.Close()
		s.replay(log, r.LogBacklog)
		err := log.Copy(s.fleet.leave, in)
		if err != nil && !errors.Is(err, context.Canceled) {
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
