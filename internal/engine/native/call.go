package native

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/wire"
)

// call sends a request and waits for its answer. Sending waits only while the
// keeper's socket is full, which it empties at all times.
func (r *Runner) call(ctx context.Context, m *wire.Message) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	reply := make(chan answer, 1)
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return answer{}, engine.ErrGone
	}
	r.seq++
	m.Seq = r.seq
	r.pending[m.Seq] = reply
	r.mu.Unlock()
	if err := r.sock.Send(m, nil); err != nil {
		r.abandon(m.Seq, reply)
		return answer{}, sendError(err)
	}
	select {
	case a := <-reply:
		return a, failure(a.m.Failure)
	case <-ctx.Done():
		r.abandon(m.Seq, reply)
		return answer{}, ctx.Err()
	case <-r.gone:
		r.abandon(m.Seq, reply)
		return answer{}, engine.ErrGone
	}
}

// sendError is ErrGone for a connection that has ended. What cannot be encoded
// is the caller's mistake.
func sendError(err error) error {
	if _, broken := errors.AsType[unix.Errno](err); broken || errors.Is(err, os.ErrClosed) {
		return engine.ErrGone
	}
	return err
}

// abandon stops waiting for an answer; one that has come is dropped.
func (r *Runner) abandon(seq uint64, reply chan answer) {
	r.mu.Lock()
	delete(r.pending, seq)
	r.mu.Unlock()
	select {
	case a := <-reply:
		wire.CloseFDs(a.fds...)
	default:
	}
}

// failure is the error a [wire.Failure] stands for.
func failure(f *wire.Failure) error {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case wire.FailBusy:
		return engine.ErrBusy
	case wire.FailNoRun:
		return engine.ErrNoRun
	case wire.FailSpawn:
		return &engine.SpawnError{Path: f.Path, Errno: unix.Errno(f.Errno), Stage: f.Stage}
	case wire.FailSignal:
		return fmt.Errorf("cannot signal the run: %w", unix.Errno(f.Errno))
	case wire.FailVersion:
		return fmt.Errorf("cannot talk to the keeper: it does not speak version %d of the protocol", wire.Version)
	default:
		return fmt.Errorf("cannot carry out the request: the keeper refuses it (%s)", f.Kind)
	}
}

// receive takes the keeper's messages until the connection ends.
func (r *Runner) receive() {
	for {
		m, fds, err := r.sock.Recv()
		if err != nil {
			break
		}
		switch m.Op {
		case wire.OpReply:
			r.resolve(m, fds)
		case wire.OpExited, wire.OpShutdown:
			wire.CloseFDs(fds...)
			r.enqueue(m)
		default:
			wire.CloseFDs(fds...) // of a later version
		}
	}
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	close(r.gone)
	r.token()
}

// resolve hands a reply to the call that waits for it, if one still does.
func (r *Runner) resolve(m *wire.Message, fds []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.noteLocked(m.Runs, fds)
	reply, ok := r.pending[m.Seq]
	if !ok {
		wire.CloseFDs(fds...)
		return
	}
	delete(r.pending, m.Seq)
	reply <- answer{m, fds} // has room: a request has one reply
}

// enqueue queues an event; the queue is bounded by the runs there are.
func (r *Runner) enqueue(m *wire.Message) {
	e := engine.Event{Kind: engine.Shutdown}
	if m.Op == wire.OpExited {
		if m.Exit == nil {
			return
		}
		e = engine.Event{Kind: engine.Exited, Slot: m.Slot, Generation: m.Generation, Exit: *exit(m.Exit)}
	}
	r.mu.Lock()
	if m.Op == wire.OpExited {
		r.held.endedLocked(m.Slot, m.Generation, m.Exit)
	}
	r.queue = append(r.queue, e)
	r.mu.Unlock()
	r.token()
}

func (r *Runner) token() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// deliver hands out the queued events, and ends with the connection.
func (r *Runner) deliver() {
	defer close(r.events)
	for {
		r.mu.Lock()
		queue, over := r.queue, r.over
		r.queue = nil
		r.mu.Unlock()
		for _, e := range queue {
			select {
			case r.events <- e:
			case <-r.closed:
				return
			}
		}
		if over && len(queue) == 0 {
			return
		}
		if len(queue) == 0 {
			<-r.more
		}
	}
}
