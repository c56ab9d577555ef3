package keeper

import "sync"

// link sends to one engine without ever making the sender wait: an engine that
// is stopped or slow must not hold up the keeper. What queues is bounded by
// what the engine asked and by the exits there are.
type link struct {
	sock *Socket
	more chan struct{}

	mu     sync.Mutex // guards queue and closed
	queue  []outgoing
	closed bool
}

type outgoing struct {
	m   *Message
	fds []int // the link's own
}

func newLink(s *Socket) *link { return &link{sock: s, more: make(chan struct{}, 1)} }

// post queues m with fds, which become the link's own.
func (l *link) post(m *Message, fds ...int) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.queue = append(l.queue, outgoing{m, fds})
	}
	l.mu.Unlock()
	if closed {
		closeAll(fds)
		return
	}
	nudge(l.more)
}

// run sends what is posted until the link is closed or the other end is gone.
func (l *link) run() {
	for range l.more {
		for {
			out, ok := l.next()
			if !ok {
				break
			}
			err := l.sock.Send(out.m, out.fds)
			closeAll(out.fds)
			if err != nil {
				l.close()
			}
		}
		if l.isClosed() {
			return
		}
	}
}

func (l *link) next() (outgoing, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return outgoing{}, false
	}
	out := l.queue[0]
	l.queue = l.queue[1:]
	return out, true
}

func (l *link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// close ends the connection and drops what was not sent.
func (l *link) close() {
	l.mu.Lock()
	queue := l.queue
	l.closed, l.queue = true, nil
	l.mu.Unlock()
	for _, out := range queue {
		closeAll(out.fds)
	}
	l.sock.Close()
	nudge(l.more)
}
