package server

import "sync"

// inflight counts what Run waits for: requests, and actions that outlive them.
// (A WaitGroup may not be added to while it is waited for at zero.)
type inflight struct {
	mu     sync.Mutex // guards all below
	n      int
	closed bool
	idle   chan struct{} // closed when closed and n is 0
}

func newInflight() *inflight { return &inflight{idle: make(chan struct{})} }

// enter counts one more, unless the end has come.
func (f *inflight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.n++
	return true
}

// fork counts one more on behalf of one that has entered.
func (f *inflight) fork() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *inflight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.closed && f.n == 0 {
		close(f.idle)
	}
}

// close refuses newcomers; the channel closes when the last one left.
func (f *inflight) close() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		if f.n == 0 {
			close(f.idle)
		}
	}
	return f.idle
}
