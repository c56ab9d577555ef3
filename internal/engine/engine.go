// Package engine is the port between policy and whatever runs processes.
//
// # Usage
//
// The supervisor decides; a [Runner] carries out: it forks a run of a slot,
// delivers signals to it, tells how it ended, and survives the supervisor.
// A supervisor that comes back calls [Runner.List] and finds every run that
// lives and every exit that nobody has acknowledged.
//
// # Concurrency
//
// All methods may be called from any goroutine. A call about one slot never
// waits for a call about another.
//
// # Failure
//
// A Runner whose other side is gone fails every call with [ErrGone] and closes
// its event channel. A run is identified by (slot, generation): every call is
// idempotent under that key, so a caller that does not know whether its last
// call arrived repeats it.
//
// # Testing
//
// enginetest holds the conformance suite every Runner passes, and a fake.
package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone: the other side of the Runner no longer exists.
var ErrGone = errors.New("engine: the runner is gone")

// ErrBusy: the slot has a living run of another generation.
var ErrBusy = errors.New("engine: the slot has a living run")

// ErrNoRun: the runner knows no such run: it never was, or was forgotten.
var ErrNoRun = errors.New("engine: no such run")

// Plan is how a run is stopped when nobody else says how: signal, then after
// Grace SIGKILL, both to its process group.
type Plan struct {
	Signal unix.Signal
	Grace  time.Duration
}

// Credential is the identity a run is given. Only root can give one away.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Spec describes one run of a slot.
type Spec struct {
	Slot       string
	Generation uint64 // unique per slot; a repeat of a known one is the same run
	Path       string // absolute; no search is made
	Argv       []string
	Env        []string // complete
	Dir        string
	Credential *Credential // nil: the runner's own
	Plan       Plan
	// Notify is the path a datagram socket is bound to for this slot before
	// the run starts, "" for none. It accepts datagrams from any uid; receivers
	// check credentials.
	Notify string
	// Lock is the path of the slot's lock file: the run carries an OFD-locked
	// descriptor of it, and (pid, start time, boot id) is recorded in it.
	Lock string
	// Main marks the container's main program: stdin, stdout and stderr are
	// the runner's, it gets a process group instead of a session and the
	// terminal if there is one, and its end is the end of the container.
	Main bool
}

// Run is what a Runner knows of one run.
type Run struct {
	Slot       string
	Generation uint64
	PID        int
	StartTime  uint64 // field 22 of /proc/<pid>/stat, clock ticks since boot
	Started    time.Time
	// Log is the read end of the run's output, Notify its notify socket: raw
	// descriptors with O_NONBLOCK set that the caller owns, -1 for none. They
	// share their description with the runner's own: wrap them with os.NewFile
	// and never call (*os.File).Fd.
	Log, Notify int
	Exit        *Exit // nil while it lives
	// LogDropped counts output bytes discarded while there was no supervisor,
	// LogBacklog names a file with the output kept meanwhile, "" for none. The
	// reader of the log reads and removes it first.
	LogDropped int64
	LogBacklog string
}

// Exit is how a run ended.
type Exit struct {
	Code    int         // -1 when a signal ended it or Unknown is set
	Signal  unix.Signal // 0 when it exited
	At      time.Time
	Unknown bool // nobody could wait for it
}

// Event is one unsolicited message of a Runner.
type Event struct {
	Kind       EventKind
	Slot       string // Exited
	Generation uint64 // Exited
	Exit       Exit   // Exited
}

// EventKind tells events apart.
type EventKind uint8

// The kinds of Event.
const (
	Exited   EventKind = iota + 1 // a run ended; repeated by List until Forget
	Shutdown                      // everything is to stop: acknowledge within 500 ms
)

// SpawnError is a fork or exec that failed; Errno is what the kernel said.
type SpawnError struct {
	Path  string
	Errno unix.Errno
	Stage string // "pipe", "lock", "notify", "exec", …
}

func (e *SpawnError) Error() string {
	return "cannot " + e.Stage + " " + e.Path + ": " + e.Errno.Error()
}

// Unwrap lets callers match the errno.
func (e *SpawnError) Unwrap() error { return e.Errno }

// Runner runs processes for slots and outlives its caller.
type Runner interface {
	// Spawn starts the run, or returns the run of that generation if it was
	// started before, living or not. It returns once exec succeeded or failed.
	// Errors: *SpawnError, ErrBusy, ErrGone, ctx's.
	Spawn(ctx context.Context, s Spec) (Run, error)
	// Signal signals the run's process group, or with group false only its
	// leader. A run that has ended is ErrNoRun.
	Signal(ctx context.Context, slot string, generation uint64, sig unix.Signal, group bool) error
	// Forget acknowledges an exit; List no longer shows it. Unknown: nil.
	Forget(ctx context.Context, slot string, generation uint64) error
	// List returns every living run and every exit not forgotten. Descriptors
	// are new duplicates on every call.
	List(ctx context.Context) ([]Run, error)
	// Events delivers until the Runner is gone, then is closed. There is one
	// receiver.
	Events() <-chan Event
}

// Shutdowner is a Runner that ends with its fleet: it asks for the shutdown with
// a [Shutdown] event and ends when told that all is down.
type Shutdowner interface {
	// AckShutdown takes the shutdown on: the caller stops every run and then
	// calls Exit. Unacknowledged for 500 ms, the Runner stops everything itself
	// by the plans of the runs. It may be repeated. Errors: ErrGone, ctx's.
	AckShutdown(ctx context.Context) error
	// Exit says that everything is down, asked for or not, and ends the Runner
	// with code, unless it knows better: the main program's exit code, or 0
	// after a stop asked for from outside. Errors: ErrGone, ctx's.
	Exit(ctx context.Context, code int) error
}
