package logfile

import (
	"errors"
	"os"
	"sync"
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
	torn    bool       // while there is none: current may end in a line that goes on
	cut     bool       // the line that current ends in, if it does, will not be continued
	gap     gap        // what was lost and the log does not mention yet
	dropped gap        // the same, of what was lost before it came here
	retry   time.Time  // when there is no file: not before
	checked time.Time  // when current was last seen to be the file
	tee     *stream    // nil for none
	closed  bool

	counting sync.Mutex // of stats, not mu: Stats never waits for a disk
	stats    Stats
}

// Open returns the log in o.Dir and makes that directory. The file in it is
// opened when there is something to write: one who says nothing costs no
// descriptor. Failing at either is no error, but a loss when output comes. The
// error is about options that can never work.
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
		torn:     !o.Fresh,
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
	d, err := p.open()
	if err != nil {
		l.failLocked(l.now(), err)
		return l, nil
	}
	d.close()
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
		l.countLoss(l.now(), p)
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

// Close closes the file, after a last attempt to say in it what was lost. A
// line that is not finished stays so in the file, for a successor to continue;
// the tee gets what there is of it. Closing twice is the same as once.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && l.gap.bytes+l.dropped.bytes > 0 {
		l.retry = time.Time{}
		_ = l.readyLocked(l.now()) // the loss is in Stats all the same
	}
	l.closed = true
	l.flushTeeLocked()
	l.dropFileLocked()
	l.pool.closed(l)
	return nil
}

// endLine ends the line at the end of a run's output.
func (l *Log) endLine() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushTeeLocked()
	l.cut = true
	var err error
	switch {
	case l.file != nil:
		err = l.cutLocked()
	case l.torn:
		err = l.readyLocked(l.now())
	} // else it is done when it opens again
	if err != nil && !errors.Is(err, errWaiting) {
		l.failLocked(l.now(), err)
	}
}

func (l *Log) flushTeeLocked() {
	if l.tee != nil {
		l.tee.flush(appendStamp(nil, l.now()))
	}
}
