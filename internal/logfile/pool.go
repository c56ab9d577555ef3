package logfile

import (
	"slices"
	"sync"
	"time"
)

// batchSize is how much is read at once: what a pipe holds. chunkSize is how
// much is written at once: a batch with its stamps, unless lines are very short.
const (
	batchSize = 64 << 10
	chunkSize = 128 << 10
)

type (
	batchBuffer [batchSize]byte
	chunkBuffer [chunkSize]byte
)

// Pool is what all logs of a process share: buffers, which are taken only while
// there is data, so that a thousand idle logs have none.
type Pool struct {
	batches, chunks sync.Pool
	wide            chan struct{} // one for each pipe that is widened
	began           time.Time     // ticks are counted from here

	mu    sync.Mutex // guards what follows
	files []*Log     // those that have current open, the latest last
}

// maxOpenFiles is how many logs have their file open at once: a fleet of any
// size writes its logs with so many descriptors. To open one again costs what
// some ten lines do.
const maxOpenFiles = 512

// opened has the log that opened its file first close it, if there are too
// many, or another one if that is being written. Its caller holds l.mu.
func (p *Pool) opened(l *Log) {
	for range 8 {
		if l = p.enlist(l); l == nil || l.rest() {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = append(p.files, l) // one too many for now
}

// enlist adds a log and returns the one that has to go for it, if any.
func (p *Pool) enlist(l *Log) (first *Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = append(slices.DeleteFunc(p.files, func(x *Log) bool { return x == l }), l)
	if len(p.files) > maxOpenFiles {
		first = p.files[0]
		p.files = slices.Delete(p.files, 0, 1)
	}
	return first
}

// closed forgets a log.
func (p *Pool) closed(l *Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = slices.DeleteFunc(p.files, func(x *Log) bool { return x == l })
}

// NewPool returns a pool for any number of logs.
func NewPool() *Pool {
	return &Pool{
		batches: sync.Pool{New: func() any { return new(batchBuffer) }},
		chunks:  sync.Pool{New: func() any { return new(chunkBuffer) }},
		wide:    make(chan struct{}, maxWide),
		began:   time.Now(),
	}
}

// untilTick is the time to the next tick. They are the same for all busy logs,
// so that many of them wake the process no more often than one does.
func (p *Pool) untilTick() time.Duration {
	return tick - time.Since(p.began)%tick
}
