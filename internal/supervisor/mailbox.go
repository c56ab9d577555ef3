package supervisor

import "sync"

// mailbox holds what a slot's loop is to do, in order. It has no bound: who
// posts must not wait for a loop that waits for a disk, least of all the one
// goroutine that hands out every slot's exits. Nobody waits at an empty one:
// the loop ends, and who posts next has it run again, so that a thousand idle
// slots have no goroutine.
type mailbox struct {
	mu     sync.Mutex // guards what follows
	posts  []func()
	closed bool
	idle   bool // no loop takes posts
}

// put adds f, as the last one if closing is set. It is false if the mailbox is
// closed; else what was posted will be run, by a loop that the caller has to
// start if wake is set.
func (m *mailbox) put(f func(), closing bool) (ok, wake bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false, false
	}
	m.closed = closing
	m.posts = append(m.posts, f)
	wake, m.idle = m.idle, false
	return true, wake
}

// take returns what there is to do; nil ends the loop.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	posts := m.posts
	m.posts = nil
	m.idle = posts == nil
	return posts
}
