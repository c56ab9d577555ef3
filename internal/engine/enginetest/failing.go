package enginetest

import (
	"context"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
)

var (
	_ engine.Runner     = (*Failing)(nil)
	_ engine.Shutdowner = (*Failing)(nil)
)

// Failing is a Runner whose every call fails with the same error.
type Failing struct {
	err    error
	events chan engine.Event
}

// NewFailing returns a Runner that fails with err. Its channel of events is
// closed if err is [engine.ErrGone]; otherwise it delivers nothing.
func NewFailing(err error) *Failing {
	f := &Failing{err: err, events: make(chan engine.Event)}
	if err == engine.ErrGone {
		close(f.events)
	}
	return f
}

// Spawn implements [engine.Runner].
func (f *Failing) Spawn(context.Context, engine.Spec) (engine.Run, error) {
	return noRun(), f.err
}

// noRun goes with an error: its descriptors are none.
func noRun() engine.Run { return engine.Run{Log: -1, Notify: -1} }

// Signal implements [engine.Runner].
func (f *Failing) Signal(context.Context, string, uint64, unix.Signal, bool) error { return f.err }

// Forget implements [engine.Runner].
func (f *Failing) Forget(context.Context, string, uint64) error { return f.err }

// List implements [engine.Runner].
func (f *Failing) List(context.Context) ([]engine.Run, error) { return nil, f.err }

// Events implements [engine.Runner].
func (f *Failing) Events() <-chan engine.Event { return f.events }

// AckShutdown implements [engine.Shutdowner].
func (f *Failing) AckShutdown(context.Context) error { return f.err }

// Exit implements [engine.Shutdowner].
func (f *Failing) Exit(context.Context, int) error { return f.err }
