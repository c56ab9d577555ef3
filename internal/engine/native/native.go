// Package native is the [engine.Runner] of the native engine: the client's side
// of the keeper's protocol.
//
// # Usage
//
// A process that a keeper started calls [Dial] with [keeper.FDConn], once.
//
// # Concurrency
//
// Requests are numbered and answered in any order; one goroutine receives, a
// second one hands out events, so that a slow receiver of events holds up no
// answer.
//
// # Failure
//
// When the keeper is gone every call fails with [engine.ErrGone] and the
// channel of events is closed. A context that ends while a request is under
// way does not undo the request: repeat it.
//
// # Testing
//
// The conformance suite runs over it with a real keeper.
package native

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/wire"
)

var (
	_ engine.Runner     = (*Runner)(nil)
	_ engine.Shutdowner = (*Runner)(nil)
)

// helloWithin is how long a keeper may take to answer the first message.
const helloWithin = 5 * time.Second

// KeeperInfo is what a keeper says of itself.
type KeeperInfo struct {
	PID     int
	Stamp   string // boot id and start of the keeper: no two keepers share one
	Version int    // of the protocol
	Runtime string // the runtime directory
}

// Runner is a connection to a keeper.
type Runner struct {
	sock   *wire.Socket
	info   KeeperInfo
	events chan engine.Event
	gone   chan struct{} // closed when the connection has ended
	closed chan struct{} // closed by Close
	shut   func()
	work   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	seq     uint64
	pending map[uint64]chan answer // each holds one
	held    heirlooms
	over    bool
	queue   []engine.Event
	more    chan struct{} // a token when queue or over has changed
}

// answer is a reply with the descriptors that came with it.
type answer struct {
	m   *wire.Message
	fds []int
}

// Dial takes over the connection fd and greets the keeper.
func Dial(fd int) (*Runner, error) {
	sock, err := wire.NewSocket(fd)
	if err != nil {
		return nil, err
	}
	r := &Runner{
		sock: sock, events: make(chan engine.Event),
		gone: make(chan struct{}), closed: make(chan struct{}),
		pending: make(map[uint64]chan answer), held: make(heirlooms), more: make(chan struct{}, 1),
	}
	r.shut = sync.OnceFunc(func() { close(r.closed) })
	r.work.Go(r.receive)
	r.work.Go(r.deliver)
	ctx, cancel := context.WithTimeout(context.Background(), helloWithin)
	defer cancel()
	a, err := r.call(ctx, &wire.Message{Op: wire.OpHello, Version: wire.Version})
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("cannot greet the keeper: %w", err)
	}
	r.info = KeeperInfo{PID: a.m.PID, Stamp: a.m.Stamp, Version: a.m.Version, Runtime: a.m.Runtime}
	return r, nil
}

// Keeper tells which keeper this is.
func (r *Runner) Keeper() KeeperInfo { return r.info }

// Gone is closed when the connection has ended: the keeper is gone, or Close was
// called.
func (r *Runner) Gone() <-chan struct{} { return r.gone }

// Close ends the connection, and with it the engine: the keeper kills a process
// that stays on without one for a second. It may be called again.
func (r *Runner) Close() {
	r.shut()
	r.sock.Close()
	r.work.Wait()
}

// Spawn implements [engine.Runner].
func (r *Runner) Spawn(ctx context.Context, s engine.Spec) (engine.Run, error) {
	spec := &wire.Spec{
		Path: s.Path, Dir: s.Dir, Notify: s.Notify, Lock: s.Lock, Argv: s.Argv, Env: s.Env,
		Signal: int(s.Plan.Signal), Grace: s.Plan.Grace, Main: s.Main,
	}
	if c := s.Credential; c != nil {
		spec.Credential = &wire.Credential{UID: c.UID, GID: c.GID, Groups: c.Groups}
	}
	a, err := r.call(ctx, &wire.Message{Op: wire.OpSpawn, Slot: s.Slot, Generation: s.Generation, Spec: spec})
	if errors.Is(err, wire.ErrTooLarge) {
		return noRun(), &engine.SpawnError{Path: s.Path, Errno: unix.E2BIG, Stage: "exec"}
	}
	if err != nil {
		return noRun(), err
	}
	runs := r.runs(a)
	if len(runs) != 1 {
		closeRuns(runs)
		return noRun(), errors.New("cannot use the keeper's answer: it describes no run")
	}
	return runs[0], nil
}

// noRun goes with an error. Its descriptors are none, where those of a zero Run
// would be stdin.
func noRun() engine.Run { return engine.Run{Log: -1, Notify: -1} }

// Signal implements [engine.Runner]. An error of the kernel is a [unix.Errno]
// in its chain: EPERM where root may not signal a process of another uid.
func (r *Runner) Signal(ctx context.Context, slot string, generation uint64, sig unix.Signal, group bool) error {
	_, err := r.call(ctx, &wire.Message{
		Op: wire.OpSignal, Slot: slot, Generation: generation, Signal: int(sig), Group: group,
	})
	return err
}

// Forget implements [engine.Runner].
func (r *Runner) Forget(ctx context.Context, slot string, generation uint64) error {
	_, err := r.call(ctx, &wire.Message{Op: wire.OpForget, Slot: slot, Generation: generation})
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held.forgetLocked(slot, generation)
	}
	return err
}

// List implements [engine.Runner]. It asks for page after page: a run that is
// there from beginning to end is in the result once.
func (r *Runner) List(ctx context.Context) ([]engine.Run, error) {
	var all []engine.Run
	ask := wire.Message{Op: wire.OpList}
	for {
		m := ask
		a, err := r.call(ctx, &m)
		if err != nil {
			closeRuns(all)
			return nil, err
		}
		page := r.runs(a)
		all = append(all, page...)
		if !a.m.More || len(page) == 0 {
			return all, nil
		}
		last := page[len(page)-1]
		ask.Slot, ask.Generation = last.Slot, last.Generation
	}
}

// Events implements [engine.Runner].
func (r *Runner) Events() <-chan engine.Event { return r.events }

// AckShutdown implements [engine.Shutdowner].
func (r *Runner) AckShutdown(ctx context.Context) error {
	_, err := r.call(ctx, &wire.Message{Op: wire.OpAck})
	return err
}

// Exit implements [engine.Shutdowner].
func (r *Runner) Exit(ctx context.Context, code int) error {
	_, err := r.call(ctx, &wire.Message{Op: wire.OpExit, Code: code})
	return err
}

// runs turns a reply into runs, which own its descriptors.
func (r *Runner) runs(a answer) []engine.Run {
	fds := a.fds
	next := func(has bool) int {
		if !has || len(fds) == 0 {
			return -1
		}
		fd := fds[0]
		fds = fds[1:]
		return fd
	}
	var runs []engine.Run
	for _, w := range a.m.Runs {
		run := engine.Run{
			Slot: w.Slot, Generation: w.Generation, PID: w.PID, StartTime: w.StartTime,
			Started: time.Unix(0, w.Started), LogDropped: w.Dropped, Exit: exit(w.Exit),
			Log: next(w.Log), Notify: next(w.Notify),
		}
		if w.Backlog != "" {
			run.LogBacklog = filepath.Join(r.info.Runtime, "backlog", filepath.Base(w.Backlog))
		}
		runs = append(runs, run)
	}
	wire.CloseFDs(fds...)
	return runs
}

func exit(w *wire.Exit) *engine.Exit {
	if w == nil {
		return nil
	}
	return &engine.Exit{Code: w.Code, Signal: unix.Signal(w.Signal), At: time.Unix(0, w.At), Unknown: w.Unknown}
}

func closeRuns(runs []engine.Run) {
	for _, run := range runs {
		wire.CloseFDs(run.Log, run.Notify)
	}
}
