// Package enginetest holds what tests of and over an [engine.Runner] share: the
// conformance suite ([Run]), a Runner without processes ([Fake]), one that
// always fails ([Failing]), and a real keeper to test against ([StartKeeper]).
package enginetest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
)

var (
	_ engine.Runner     = (*Fake)(nil)
	_ engine.Shutdowner = (*Fake)(nil)
)

// Program is how the runs of a slot behave on a [Fake]. The zero Program runs
// until a signal ends it.
type Program struct {
	Fail   error         // Spawn fails with it
	Hang   bool          // Spawn waits until its context ends
	Exit   bool          // the run ends at once, with Code
	Code   int           //
	Deaf   bool          // only SIGKILL ends it
	Linger time.Duration // how long it takes to end after a signal
}

// Fake is a Runner whose runs are entries in a table. Its methods never block
// but for a Program that says so, and without descriptors it works in a
// synctest bubble: Log and Notify of its runs are -1.
type Fake struct {
	w      *world
	events chan engine.Event

	// over is guarded by w.mu.
	over bool
}

// world is what outlives a Fake's caller.
type world struct {
	mu          sync.Mutex // guards everything below
	descriptors bool
	programs    map[string]Program
	runs        []*fakeRun
	spawned     map[string]int
	pids        int
	current     *Fake
	acked       bool
	exited      bool
	code        int
}

// fakeRun is one run; its run has the Fake's own descriptors.
type fakeRun struct {
	engine.Run
	spec  engine.Spec
	prog  Program
	write int // of the log pipe
}

// eventRoom is far more events than a test leaves unread.
const eventRoom = 1 << 16

// NewFake returns a Fake without descriptors.
func NewFake() *Fake { return newFake(false) }

// NewFakeWithPipes returns a Fake whose runs have real log pipes and notify
// sockets; close it with [Fake.Close].
func NewFakeWithPipes() *Fake { return newFake(true) }

func newFake(descriptors bool) *Fake {
	w := &world{descriptors: descriptors, programs: make(map[string]Program), spawned: make(map[string]int)}
	return w.connect()
}

func (w *world) connect() *Fake {
	f := &Fake{w: w, events: make(chan engine.Event, eventRoom)}
	w.current = f
	return f
}

// Successor is what a supervisor finds that is started anew: f is gone, the
// runs are as they were.
func (f *Fake) Successor() *Fake {
	f.Gone()
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.connect()
}

// Gone makes f a Runner whose other side no longer exists.
func (f *Fake) Gone() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if !f.over {
		f.over = true
		close(f.events)
	}
}

// Close ends f and closes all descriptors of its runs.
func (f *Fake) Close() {
	f.Gone()
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	for _, r := range f.w.runs {
		r.close()
	}
	f.w.runs = nil
}

// Script sets the program of the slot's later runs.
func (f *Fake) Script(slot string, p Program) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.programs[slot] = p
}

// End ends the slot's living run with an exit code; false if none lives.
func (f *Fake) End(slot string, code int) bool {
	return f.end(slot, engine.Exit{Code: code, At: time.Now()})
}

// Kill ends the slot's living run by a signal; false if none lives.
func (f *Fake) Kill(slot string, sig unix.Signal) bool {
	return f.end(slot, engine.Exit{Code: -1, Signal: sig, At: time.Now()})
}

// Lose ends the slot's living run as one nobody could wait for.
func (f *Fake) Lose(slot string) bool {
	return f.end(slot, engine.Exit{Code: -1, Unknown: true, At: time.Now()})
}

func (f *Fake) end(slot string, e engine.Exit) bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	r := f.w.living(slot)
	if r == nil {
		return false
	}
	f.w.end(r, e)
	return true
}

// Living is the slot's living run, without descriptors.
func (f *Fake) Living(slot string) (engine.Run, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	r := f.w.living(slot)
	if r == nil {
		return noRun(), false
	}
	run := r.Run
	run.Log, run.Notify = -1, -1
	return run, true
}

// Spec is what the slot's living run was started with.
func (f *Fake) Spec(slot string) (engine.Spec, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	r := f.w.living(slot)
	if r == nil {
		return engine.Spec{}, false
	}
	return r.spec, true
}

// Spawned counts the runs the slot ever had.
func (f *Fake) Spawned(slot string) int {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.spawned[slot]
}

// AskShutdown sends the event that everything is to stop.
func (f *Fake) AskShutdown() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.send(engine.Event{Kind: engine.Shutdown})
}

// Acked reports whether the shutdown was acknowledged.
func (f *Fake) Acked() bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.acked
}

// ExitCode is the code Exit was called with; false if it was not.
func (f *Fake) ExitCode() (int, bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.code, f.w.exited
}

// Write writes to the slot's log as its program would. It needs descriptors.
func (f *Fake) Write(slot, text string) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	r := f.w.living(slot)
	if r == nil || r.write < 0 {
		return engine.ErrNoRun
	}
	_, err := unix.Write(r.write, []byte(text))
	return err
}

// Spawn implements [engine.Runner].
func (f *Fake) Spawn(ctx context.Context, s engine.Spec) (engine.Run, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return noRun(), err
	}
	if r := f.w.find(s.Slot, s.Generation); r != nil {
		return r.handOut(), nil
	}
	if f.w.living(s.Slot) != nil {
		return noRun(), engine.ErrBusy
	}
	p, ok := f.w.programs[s.Slot]
	if !ok {
		p = programOf(s)
	}
	if p.Hang {
		f.w.mu.Unlock()
		<-ctx.Done()
		f.w.mu.Lock()
		return noRun(), ctx.Err()
	}
	if p.Fail != nil {
		return noRun(), p.Fail
	}
	r, err := f.w.start(s, p)
	if err != nil {
		return noRun(), err
	}
	run := r.handOut()
	if p.Exit {
		f.w.end(r, engine.Exit{Code: p.Code, At: time.Now()})
	}
	return run, nil
}

// Signal implements [engine.Runner].
func (f *Fake) Signal(ctx context.Context, slot string, generation uint64, sig unix.Signal, _ bool) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	r := f.w.find(slot, generation)
	if r == nil || r.Run.Exit != nil {
		return engine.ErrNoRun
	}
	if harmless(sig) || r.prog.Deaf && sig != unix.SIGKILL {
		return nil
	}
	exit := engine.Exit{Code: -1, Signal: sig}
	if r.prog.Linger == 0 || sig == unix.SIGKILL {
		exit.At = time.Now()
		f.w.end(r, exit)
		return nil
	}
	time.AfterFunc(r.prog.Linger, func() {
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		exit.At = time.Now()
		f.w.end(r, exit)
	})
	return nil
}

// harmless reports whether a program that handles no signal survives sig.
func harmless(sig unix.Signal) bool {
	return slices.Contains([]unix.Signal{
		0, unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH,
		unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	}, sig)
}

// Forget implements [engine.Runner].
func (f *Fake) Forget(ctx context.Context, slot string, generation uint64) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	f.w.runs = slices.DeleteFunc(f.w.runs, func(r *fakeRun) bool {
		gone := r.Slot == slot && r.Generation == generation && r.Run.Exit != nil
		if gone {
			r.close()
		}
		return gone
	})
	return nil
}

// List implements [engine.Runner].
func (f *Fake) List(ctx context.Context) ([]engine.Run, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	var runs []engine.Run
	for _, r := range f.w.runs {
		runs = append(runs, r.handOut())
	}
	return runs, nil
}

// Events implements [engine.Runner].
func (f *Fake) Events() <-chan engine.Event { return f.events }

// AckShutdown implements [engine.Shutdowner].
func (f *Fake) AckShutdown(ctx context.Context) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	f.w.acked = true
	return nil
}

// Exit implements [engine.Shutdowner].
func (f *Fake) Exit(ctx context.Context, code int) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return err
	}
	f.w.exited, f.w.code = true, code
	return nil
}

// ready reports why a call cannot be carried out.
func (f *Fake) ready(ctx context.Context) error {
	if f.over {
		return engine.ErrGone
	}
	return ctx.Err()
}

// programOf reads the program from the environment the suite sets.
func programOf(s engine.Spec) Program {
	for _, kv := range s.Env {
		what, ok := strings.CutPrefix(kv, programEnv+"=")
		if !ok {
			continue
		}
		switch verb, arg, _ := strings.Cut(what, " "); verb {
		case "exit":
			code, _ := strconv.Atoi(arg)
			return Program{Exit: true, Code: code}
		case "deaf":
			return Program{Deaf: true}
		case "missing":
			return Program{Fail: &engine.SpawnError{Path: s.Path, Errno: unix.ENOENT, Stage: "exec"}}
		}
	}
	return Program{}
}
