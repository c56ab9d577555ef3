package logfile

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults and limits of [Options]. A file may not be smaller than s6-log's
// smallest.
const (
	DefaultMaxSize  = 1_000_000
	DefaultMaxFiles = 10
	minMaxSize      = 4096
	minMaxFiles     = 2 // current and one archive
)

// patience is how long a failed file is left alone, and how often current is
// looked at to see whether somebody removed or renamed it.
const patience = time.Second

// Owner is who gets the files and directories that are made.
type Owner struct{ UID, GID int }

// Options of a [Log]. Only Dir is required.
type Options struct {
	// Dir is the directory of the log, absolute; it is made when it is missing.
	Dir string
	// Home is a directory above Dir that the caller trusts: links are followed
	// up to it and none below it. "" stands for "/": no link at all.
	Home string
	// MaxSize is the most bytes a file may have, stamps included;
	// DefaultMaxSize if 0, at least 4096.
	MaxSize int64
	// MaxFiles is the most files there may be, current included;
	// DefaultMaxFiles if 0, at least 2.
	MaxFiles int
	// Owner is given what is made here if we are root; nil leaves it to root.
	Owner *Owner
	// Fresh says that no run from before goes on. If current ends within a
	// line, that line will never be finished: the file is set aside as
	// unfinished. Otherwise such a line is continued, without a new stamp, so
	// that replacing a supervisor tears no line of a living gateway.
	Fresh bool
	// Tee gets every line too; nil for none.
	Tee *Tee
	// Profile is the name that lines have in the tee.
	Profile string
	// Pool is shared by all logs of the process; nil for one of its own.
	Pool *Pool
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Log is the log of one slot. See the package's documentation for what happens
// when it cannot be written.
type Log struct {
	place    place
	maxSize  int64
	maxFiles int
	now      func() time.Time
	pool     *Pool

	mu      sync.Mutex // orders writers; it is the file's lock, so held while writing
	file    *file      // nil while there is none
	fresh   bool       // as in Options, until current was opened once
	cut     bool       // the line that current ends in, if it does, will not be continued
	gap     int64      // bytes lost that the log does not mention yet
	gapWhy  string     // why
	retry   time.Time  // when there is no file: not before
	checked time.Time  // when current was last seen to be the file
	tee     *stream    // nil for none
	closed  bool

	bytes, lost atomic.Int64 // not under mu: Stats never waits for a disk
	lastError   atomic.Pointer[string]
}

// Stats is what became of a log's output since [Open]. Stamps do not count.
type Stats struct {
	Bytes     int64  // written to the file
	Lost      int64  // bytes not written to the file
	LastError string // why, the last time; "" if never
}

// Open opens the log in o.Dir. Failing to open the file is no error, but a
// loss when output comes. The error is about options that can never work.
func Open(o Options) (*Log, error) {
	p, err := newPlace(o)
	if err != nil {
		return nil, err
	}
	l := &Log{
		place:    p,
		maxSize:  o.MaxSize,
		maxFiles: o.MaxFiles,
		now:      o.Now,
		fresh:    o.Fresh,
		pool:     o.Pool,
	}
	if l.pool == nil {
		l.pool = NewPool()
	}
	l.tee = newStream(o.Tee, l.pool, o.Profile)
	if l.maxSize == 0 {
		l.maxSize = DefaultMaxSize
	}
	if l.maxFiles == 0 {
		l.maxFiles = DefaultMaxFiles
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.maxSize, l.maxFiles = max(l.maxSize, minMaxSize), max(l.maxFiles, minMaxFiles)
	now := l.now()
	if err := l.openLocked(now); err != nil {
		l.failLocked(now, err)
	}
	return l, nil
}

// Write appends p, which may begin and end anywhere in a line. It never fails
// but after [Log.Close]; what could not be written is in [Log.Stats]. A Log
// holds one stream of output: to write while a [Log.Copy] is under way mixes
// the two within a line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.lost.Add(int64(len(p)))
		return 0, os.ErrClosed
	}
	now := l.now()
	var buf [2 * stampLen]byte // formatting needs more than the result has
	stamp := appendStamp(buf[:0], now)
	if l.tee != nil {
		l.tee.write(p, stamp)
	}
	l.storeLocked(now, p, stamp)
	return len(p), nil
}

// Lose counts n bytes of output that were lost before they came here, such as
// those a keeper dropped, and marks the place in the log.
func (l *Log) Lose(n int64, why string) {
	if n <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gapWhy = why
	l.loseLocked(n)
}

// Stats returns the counters. It never waits.
func (l *Log) Stats() Stats {
	s := Stats{Bytes: l.bytes.Load(), Lost: l.lost.Load()}
	if e := l.lastError.Load(); e != nil {
		s.LastError = *e
	}
	return s
}

// Close closes the file. A line that is not finished stays so in the file, for
// a successor to continue; the tee gets what there is of it. Closing twice is
// the same as once.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.flushTeeLocked()
	l.dropFileLocked()
	return nil
}

// endLine ends the line at the end of a run's output.
func (l *Log) endLine() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushTeeLocked()
	l.cut = true
	if l.file == nil {
		return // done when it opens again
	}
	if err := l.cutLocked(); err != nil {
		l.failLocked(l.now(), err)
	}
}

func (l *Log) flushTeeLocked() {
	if l.tee != nil {
		l.tee.flush(appendStamp(nil, l.now()))
	}
}
