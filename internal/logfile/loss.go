package logfile

import (
	"bytes"
	"fmt"
	"time"
)

// Stats is what became of a log's output since [Open]. Stamps do not count.
type Stats struct {
	Bytes     int64     // written to the file
	Lost      int64     // bytes that are not in the file
	LostLines int64     // ends of lines among them, as far as they were seen
	Dropped   int64     // bytes among them that were lost before they came here
	LostAt    time.Time // when the last of them was lost
	LastError string    // why the file could not be written, the last time
	Failing   bool      // and it has not been written since
	TeeLost   int64     // lines the tee did not show
}

// After is s of a log that goes on where another one ended.
func (s Stats) After(past Stats) Stats {
	s.Bytes += past.Bytes
	s.Lost += past.Lost
	s.LostLines += past.LostLines
	s.Dropped += past.Dropped
	s.TeeLost += past.TeeLost
	if s.LostAt.IsZero() {
		s.LostAt = past.LostAt
	}
	if s.LastError == "" {
		s.LastError = past.LastError
	}
	return s
}

// Stats returns the counters. It never waits.
func (l *Log) Stats() Stats {
	l.counting.Lock()
	s := l.stats
	l.counting.Unlock()
	if l.tee != nil {
		s.TeeLost = l.tee.lost.Load()
	}
	return s
}

// Lose counts n bytes of output that were lost before they came here, such as
// those a keeper dropped, and marks the place in the log.
func (l *Log) Lose(n int64, why string) {
	if n <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.counting.Lock()
	l.stats.Lost += n
	l.stats.Dropped += n
	l.stats.LostAt = now
	l.counting.Unlock()
	l.dropped.bytes += n
	l.dropped.why = why
	l.cut = true
}

// gap is output that is missing in the log.
type gap struct {
	bytes, lines int64
	since        time.Time // zero if nobody knows
	why          string
}

// line is what the log says of it.
func (g gap) line(stamp []byte) []byte {
	b := fmt.Appendf(stamp, "hermes: %d bytes of output lost here", g.bytes)
	if !g.since.IsZero() {
		b = fmt.Appendf(b, " (%d lines, since %s)", g.lines, g.since.UTC().Format(time.RFC3339))
	}
	return fmt.Appendf(b, ": %s\n", g.why)
}

// markGapLocked tells the reader of the log that something is missing.
func (l *Log) markGapLocked(now time.Time) error {
	for _, g := range []*gap{&l.dropped, &l.gap} {
		if g.bytes == 0 {
			continue
		}
		if _, err := l.file.write(g.line(appendStamp(nil, now))); err != nil {
			l.cut = true
			return err
		}
		*g = gap{}
	}
	return nil
}

// failLocked notes why the file cannot be written and lets it rest.
func (l *Log) failLocked(now time.Time, err error) {
	l.gap.why = err.Error()
	l.counting.Lock()
	l.stats.LastError, l.stats.Failing = err.Error(), true
	l.counting.Unlock()
	l.dropFileLocked()
	l.retry = now.Add(patience)
}

// loseLocked counts output that is not written and will be missing in the log.
func (l *Log) loseLocked(now time.Time, p []byte) {
	lines := l.countLoss(now, p)
	if l.gap.bytes == 0 {
		l.gap.since = now
	}
	l.gap.bytes += int64(len(p))
	l.gap.lines += lines
	l.cut = true
}

func (l *Log) countLoss(now time.Time, p []byte) (lines int64) {
	lines = int64(bytes.Count(p, newline()))
	l.counting.Lock()
	defer l.counting.Unlock()
	l.stats.Lost += int64(len(p))
	l.stats.LostLines += lines
	l.stats.LostAt = now
	return lines
}

// countWritten counts output that is in the file.
func (l *Log) countWritten(n int, failed bool) {
	l.counting.Lock()
	defer l.counting.Unlock()
	l.stats.Bytes += int64(n)
	l.stats.Failing = failed
}
