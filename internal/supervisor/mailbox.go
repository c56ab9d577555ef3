package supervisor

import "sync"

// mailbox holds what a slot's loop is to do, in order. It has no bound: who
// posts must not wait for a loop that waits for a disk, least of all the one
// goroutine that hands out every slot's exits.
type mailbox struct {
	mail chan struct{} // of capacity 1: there is something in posts

	mu     sync.Mutex // guards what follows
	posts  []func()
	closed bool
}

func newMailbox() *mailbox { return &mailbox{mail: make(chan struct{}, 1)} }

// post adds f; false if the mailbox is closed. What was posted will be run.
func (m *mailbox) post(f func()) bool { return m.put(f, false) }

// last adds f and closes the mailbox; false if it was closed before.
func (m *mailbox) last(f func()) bool { return m.put(f, true) }

func (m *mailbox) put(f func(), closing bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.closed = closing
	m.posts = append(m.posts, f)
	select {
	case m.mail <- struct{}{}:
	default:
	}
	return true
}

// take waits until there is something to do and returns all of it.
func (m *mailbox) take() []func() {
	<-m.mail
	m.mu.Lock()
	defer m.mu.Unlock()
	posts := m.posts
	m.posts = nil
	return posts
}
