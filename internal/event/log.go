package event

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"hermes/api"
)

const (
	// gather is how long events wait to be written together, and so to be told.
	gather = 20 * time.Millisecond
	// stalled is how long a write may hang before the events are told all the
	// same.
	stalled = time.Second
	// retryAfter is how long a file that failed is left alone.
	retryAfter = 5 * time.Second
	// ringSize is how many events are kept in memory, with all that hangs on them
	// about 1.3 kB each while a thousand gateways boot; the files have the others.
	ringSize = 2048
	// batch is how many events are written with one system call.
	batch = 512
)

// Options of a [Log].
type Options struct {
	// Home is the directory whose logs/events/ keeps the events; "" keeps them
	// in memory alone.
	Home string
	// Owner is given what is made there, if we are root; nil leaves it to us.
	Owner *Owner
	// MaxSize is how many bytes of events a file has, MaxFiles how many files
	// there are; 0 is DefaultMaxSize and DefaultMaxFiles.
	MaxSize  int64
	MaxFiles int
	// Ring is how many events are kept in memory; 0 is 2048.
	Ring int
}

// Owner is who gets the files and directories that are made.
type Owner struct{ UID, GID int }

// Stats says how a [Log] fares.
type Stats struct {
	Last uint64 // id of the newest event
	// Lost counts the events that are in no file and never will be.
	Lost int
	// Failing is why the file cannot be written now, "" if it can.
	Failing string
	// Skipped counts the lines of the history that made no sense at the start.
	Skipped int
}

// Log is the event log of one engine.
type Log struct {
	ready   chan struct{} // closed once the history is known; the fields below are set then
	history *files        // nil without a home
	before  Table         // as the history left it
	last    uint64        // its last id
	skipped int

	mu      sync.Mutex // guards what follows; never held across I/O
	ring    ring
	base    uint64 // id of this life's first event
	next    uint64 // id of the next one
	written uint64 // all up to it are in the file, or lost to it
	visible uint64 // all up to it may be told
	table   Table  // as of written
	lost    loss
	due     *time.Timer // of the next write; nil if none is due
	changed chan struct{}
	failing string
	closed  bool

	writing sync.Mutex // one writer at a time; taken before mu, and guards what follows
	retry   time.Time  // the file failed: not before
	batch   []api.Event
}

// loss is what the file has missed and no event says yet.
type loss struct {
	first, last uint64
	n, total    int
}

// Open returns the log of a home. It reads what is needed to go on while the
// caller does something else; nothing that it finds there is an error.
func Open(o Options) *Log {
	if o.Ring == 0 {
		o.Ring = ringSize
	}
	l := &Log{ready: make(chan struct{}), ring: newRing(o.Ring), table: Table{}, before: Table{}}
	if o.Home != "" {
		l.history = newFiles(o)
	}
	go func() { // everything waits for it
		defer close(l.ready)
		if l.history != nil {
			found := l.history.load()
			l.last, l.before, l.skipped = found.last, found.table, found.skipped
			l.history.begin = found.begin
		}
		l.base = max(l.last+1, uint64(max(time.Now().UnixMicro(), 1)))
		l.next, l.written, l.visible = l.base, l.base-1, l.base-1
		l.table = maps.Clone(l.before)
	}()
	return l
}

// Before is what the events of earlier engines say of the slots. The table is
// the caller's.
func (l *Log) Before() Table {
	<-l.ready
	return maps.Clone(l.before)
}

// Last is the id of the newest event that was emitted.
func (l *Log) Last() uint64 {
	<-l.ready
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1
}

// Stats says how the log fares.
func (l *Log) Stats() Stats {
	<-l.ready
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Last: l.next - 1, Lost: l.lost.total, Failing: l.failing, Skipped: l.skipped}
}

// Emit numbers the events and keeps them, in this order and with no other
// between them. An event without a time gets the present one. It never waits
// for a disk or a reader, but for the history that [Open] reads.
func (l *Log) Emit(events ...api.Event) {
	<-l.ready
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.emitLocked(e, now)
	}
	if l.history == nil {
		l.written = l.next - 1
		l.revealLocked(l.next - 1)
		return
	}
	if l.failing != "" { // until it is tried again nobody is to wait for it
		l.revealLocked(l.next - 1)
	}
	l.writeInLocked(gather)
}

func (l *Log) emitLocked(e api.Event, now time.Time) {
	if e.At.IsZero() {
		e.At = now
	}
	e.ID, e.At = l.next, e.At.UTC().Truncate(time.Microsecond)
	l.next++
	l.ring.push(e, l.goneLocked)
}

// goneLocked is told of an event that memory has no room for any more.
func (l *Log) goneLocked(e *api.Event) {
	if e.ID > l.written { // it never came to be written
		l.table.Apply(e)
		l.written = e.ID
		l.lost.add(e.ID)
	}
}

func (l *loss) add(id uint64) {
	if l.n == 0 {
		l.first = id
	}
	l.last = id
	l.n++
	l.total++
}

// event is what says it.
func (l *loss) event() api.Event {
	return api.Event{
		Kind: api.EventDropped, From: strconv.FormatUint(l.first, 10), To: strconv.FormatUint(l.last, 10),
		Cause: strconv.Itoa(l.n) + " events could not be written and are missing in the files",
	}
}

// revealLocked lets the events up to id be told.
func (l *Log) revealLocked(id uint64) {
	if id <= l.visible {
		return
	}
	l.visible = id
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// writeInLocked has what is pending written in d, or earlier if that was said
// before.
func (l *Log) writeInLocked(d time.Duration) {
	if l.due == nil && !l.closed {
		l.due = time.AfterFunc(d, l.write)
	}
}

// Flush writes what was emitted before, if the file takes it now: it outlives
// this process then.
func (l *Log) Flush() {
	<-l.ready
	l.write()
}

// Close writes what is pending and closes the file. Nothing emitted later is
// kept.
func (l *Log) Close() {
	<-l.ready
	l.write()
	l.mu.Lock()
	l.closed = true
	if l.due != nil {
		l.due.Stop()
		l.due = nil
	}
	l.revealLocked(l.next - 1)
	l.mu.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.history != nil {
		l.history.close()
	}
}

// hurry has what is pending told now, and waits for it, but not for a write that
// hangs.
func (l *Log) hurry() {
	l.mu.Lock()
	last := l.next - 1
	told := l.visible >= last
	if !told && l.due != nil {
		l.due.Reset(0)
	}
	l.mu.Unlock()
	if !told {
		ctx, cancel := context.WithTimeout(context.Background(), stalled)
		defer cancel()
		_ = l.wait(ctx, last-1) // then it is told as it stands
	}
}

// wait returns once something after id may be told, or ctx ends.
func (l *Log) wait(ctx context.Context, id uint64) error {
	l.mu.Lock()
	if l.visible > id {
		l.mu.Unlock()
		return nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	changed := l.changed
	l.mu.Unlock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
