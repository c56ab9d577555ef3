package logfile

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
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
	lingering       chan struct{} // bounds the threads that linger
}

// NewPool returns a pool for any number of logs.
func NewPool() *Pool {
	return &Pool{
		batches:   sync.Pool{New: func() any { return new(batchBuffer) }},
		chunks:    sync.Pool{New: func() any { return new(chunkBuffer) }},
		lingering: make(chan struct{}, 4),
	}
}

// A writer of single lines is in a hurry when small batches follow each other
// at once. To wake up for each of its lines costs it more than its write does
// (the wake-up is done in its write, by an interrupt to another processor) and
// us a write to the file per line.
const (
	smallBatch = 16 << 10
	hurry      = 50 * time.Microsecond
	lingerTime = 50 * time.Microsecond // the kernel's timer slack adds as much
)

// linger lets a writer in a hurry put more into its pipe, which it fills in not
// less than 200 µs: it makes line-wise output 1.3 to 1.6 times as fast. It is a
// system call because a Go timer is waited for in the netpoller, which each
// write to the pipe wakes. Only so many logs do it at a time: if more are busy,
// waiting for a processor has the same effect.
func (p *Pool) linger() {
	select {
	case p.lingering <- struct{}{}:
		pause := unix.NsecToTimespec(int64(lingerTime))
		_ = unix.Nanosleep(&pause, nil)
		<-p.lingering
	default:
	}
}
