package wire

import (
	"sync"
)

// Link sends to one engine without ever making the sender wait: an engine that
// is stopped or slow must not hold up the keeper. What queues is bounded by
// what the engine asked and by the exits there are.
type Link struct {
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

// NewLink is a link over s, which becomes its own. Nothing is sent before [Link.Run].
func NewLink(s *Socket) *Link { return &Link{sock: s, more: make(chan struct{}, 1)} }

// Post queues m with fds, which become the link's own.
func (l *Link) Post(m *Message, fds ...int) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.queue = append(l.queue, outgoing{m, fds})
	}
	l.mu.Unlock()
	if closed {
		CloseFDs(fds...)
		return
	}
	l.wake()
}

// Run sends what is posted until the link is closed or the other end is gone.
func (l *Link) Run() {
	for range l.more {
		for {
			out, ok := l.next()
			if !ok {
				break
			}
			err := l.sock.Send(out.m, out.fds)
			CloseFDs(out.fds...)
			if err != nil {
				l.Close()
			}
		}
		if l.isClosed() {
			return
		}
	}
}

func (l *Link) next() (outgoing, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return outgoing{}, false
	}
	out := l.queue[0]
	l.queue = l.queue[1:]
	return out, true
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close ends the connection and drops what was not sent.
func (l *Link) Close() {
	l.mu.Lock()
	queue := l.queue
	l.closed, l.queue = true, nil
	l.mu.Unlock()
	for _, out := range queue {
		CloseFDs(out.fds...)
	}
	l.sock.Close()
	l.wake()
}

func (l *Link) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}
