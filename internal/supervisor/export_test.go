package supervisor

import (
	"sync"

	"hermes/internal/profile"
)

// MakeBlind makes f one that inotify does not serve.
func (f *Fleet) MakeBlind() { f.blind.Store(true) }

// BeginLeave does what Leave does first.
func (f *Fleet) BeginLeave() { f.leaving() }

// Hold keeps the slot's loop busy until release is called, as a disk that
// hangs would: what is posted meanwhile is done at once and in order.
func (f *Fleet) Hold(name profile.Name) (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	f.get(name).post(func() { close(held); <-free })
	<-held
	return sync.OnceFunc(func() { close(free) })
}

// Posted counts what waits for the slot's loop.
func (f *Fleet) Posted(name profile.Name) int {
	m := &f.get(name).mail
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.posts)
}

// Remembers says whether what the gateway says of itself need not be read again.
func (f *Fleet) Remembers(name profile.Name) bool { return f.get(name).reported.Load() != nil }
