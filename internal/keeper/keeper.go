// Package keeper is the small process that forks, waits and holds descriptors,
// so that what decides, the engine, may crash or be replaced at any time.
//
// # Usage
//
// [Sweep] clears away what an earlier keeper left behind, then [Run] starts the
// engine and serves it over a socketpair until everything is down. The
// messages are those of package wire; docs/keeper-protocol.md is their page. The
// keeper holds no policy: it starts a run when told to, tells how it ended, and
// on its own does only what must happen without an engine: reap, start the
// engine again, keep log pipes from filling up, and stop what runs.
//
// # Concurrency
//
// One mutex, keeper.mu, guards the table of runs and, with it, reaping: a
// process is signalled only under it, so never by a recycled pid. The loop in
// Run is the only caller of wait4. Each fork has its own goroutine because an
// exec may hang; nothing else ever waits for a fork. A goroutine inside a fork
// holds its P and cannot be stopped, so the garbage collector runs only while
// no fork is in flight.
//
// # Failure
//
// The keeper must not die. All signals are caught before the first fork, its
// threads exist before the first fork (at the pids limit the Go runtime would
// throw when it needs one), and errors of the engine are its own.
//
// # Testing
//
// Tests run real processes: the test binary again, as keeper and as engine.
package keeper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/slotlock"
	"hermes/internal/wire"
)

// The descriptors an engine finds open besides 0 (/dev/null), 1 and 2.
const (
	FDConn     = 3 // its connection to the keeper, SOCK_SEQPACKET
	FDListener = 4 // Options.Listener
	FDLease    = 5 // Options.Lease
)

// Options is what a keeper is started with.
type Options struct {
	// Runtime is a private directory that exists; the keeper uses slots, n,
	// backlog and stamp in it.
	Runtime string
	// EngineArgv is the engine's command. EngineArgv[0] is the path to exec,
	// looked at anew for each start, so that a replaced binary is used.
	EngineArgv []string
	EngineEnv  []string // complete
	// Listener is the bound and listening control socket, Lease the descriptor
	// that holds the home's lease; -1 for none. The keeper holds both until it
	// ends and hands them to each engine.
	Listener, Lease int
	// MainZeroOnStop reports the main program's exit as 0 if a stop had been
	// asked for from outside before it.
	MainZeroOnStop bool
	// UpWithin is how long an engine may take to exec, and then to say hello; 0
	// is 5 s and 10 s.
	UpWithin time.Duration
	// Stop is closed if a stop was asked for before Run caught signals.
	Stop <-chan struct{}
	// Estate is what a predecessor left, nil for none.
	Estate *wire.Estate
	// Renew is the command that takes this process's place on SIGHUP, with
	// "--estate" and a descriptor for [wire.ReceiveEstate] after it, or with
	// "--check" and an estate's version to find out whether it would. Nil: it is never replaced.
	Renew  []string
	Stderr io.Writer // for the keeper's few messages; nil discards them
}

// keeper is the state of one Run.
type keeper struct {
	o     Options
	stamp string
	here  slotlock.Place
	oom   int
	null  int          // /dev/null, stdin of whatever has no other
	image int          // this process's own binary, -1 if it cannot be opened
	spare map[int]bool // children this process had before it became the keeper

	sigs     signals
	gate     sync.RWMutex  // read by forks, written by the collector
	forkers  chan *forker  // those that have nothing to do
	private  bool          // each has a descriptor table of its own
	forks    chan struct{} // a place for each run's fork in flight
	wake     chan struct{} // something was forked: look for exits again
	renewal  chan struct{} // holds a token when this process is to be replaced
	handOver chan func()   // what the loop does for a renewal
	changed  chan struct{} // a run ended or came to be
	stop     chan struct{} // closed when shutdown begins
	hurry    chan struct{} // closed when what still runs is to be killed
	hurryUp  func()        // closes it
	over     chan struct{} // closed when all is down: nothing is waited for any more
	done     chan int      // the exit code, when all is down
	work     sync.WaitGroup
	words    chan string   // what is to be said, "" for nothing more
	said     chan struct{} // closed when all is said
	heap     uint64        // bytes of heap after the last collection; the loop's own

	execing atomic.Int32 // engines that are being forked; one may hang

	mu       sync.Mutex // guards what follows, and reaping
	runs     map[runKey]*run
	live     map[string]*run // by slot: being forked, or living
	pids     map[int]*run
	flights  map[int]uint64 // forks in flight: clock ticks at their start
	flight   int            // last key of flights
	engine   *engineProcess // nil while there is none
	drain    *drain         // nil while an engine reads the pipes
	main     *run           // the main program, nil if there was none
	errands  uint64         // runs of the keeper's own so far
	stopping bool
	asked    int // stops asked for from outside
	code     int // the exit code, as far as it is known
	decided  bool
}

// Run is the keeper: it starts the engine and serves it until everything is
// down, and returns the process's exit code. It takes over the process: its
// signals, its children, its garbage collector.
func Run(o Options) int {
	prepareRuntime()
	sigs := newSignals()
	sigs.catch()
	defer sigs.release()
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	k, err := newKeeper(o, sigs)
	if err != nil {
		fmt.Fprintf(o.Stderr, "hermes keeper: %v\n", err)
		return 1
	}
	if closed(o.Stop) && len(sigs.stop) == 0 {
		sigs.stop <- unix.SIGTERM
	}
	if err := k.startForkers(o.Estate.RunFDs()); err != nil {
		fmt.Fprintf(o.Stderr, "hermes keeper: %v\n", err)
		return 1
	}
	go k.speak()
	if !k.private {
		k.say("this kernel keeps forks from having descriptor tables of their own: a start costs more the more gateways there are")
	}
	if o.Estate != nil {
		k.inherit(o.Estate)
	}
	k.work.Go(k.superviseEngine)
	calm := time.NewTimer(calmAfter)
	defer calm.Stop()
	for {
		select {
		case <-sigs.child:
			k.reap()
		case <-k.wake:
			k.reap()
			k.collect()
			calm.Reset(calmAfter)
		case <-calm.C:
			k.giveBack()
		case s := <-sigs.stop:
			k.askStop(s)
		case <-sigs.renew:
			k.askRenew()
		case replace := <-k.handOver:
			replace()
		case code := <-k.done:
			k.close()
			return code
		}
	}
}

// newKeeper prepares everything that can fail, before there is a child.
func newKeeper(o Options, sigs signals) (*keeper, error) {
	k := &keeper{
		o: o, sigs: sigs, here: slotlock.Here(), oom: process.OOMScore(), spare: make(map[int]bool),
		forkers: make(chan *forker, maxForks+triesBeforePinned+1), forks: make(chan struct{}, maxForks),
		wake: make(chan struct{}, 1), renewal: make(chan struct{}, 1), handOver: make(chan func()), changed: make(chan struct{}, 1),
		words: make(chan string, 64), said: make(chan struct{}),
		stop: make(chan struct{}), hurry: make(chan struct{}), over: make(chan struct{}), done: make(chan int, 1),
		runs: make(map[runKey]*run), live: make(map[string]*run), pids: make(map[int]*run),
		flights: make(map[int]uint64),
	}
	k.hurryUp = sync.OnceFunc(func() { close(k.hurry) })
	if len(o.EngineArgv) == 0 {
		return nil, fmt.Errorf("cannot start the engine: it has no command")
	}
	closeOnExec()
	spare := process.Children()
	if o.Estate != nil {
		spare = o.Estate.Spare // the others are runs, and strays of runs
	}
	for _, pid := range spare {
		k.spare[pid] = true
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("cannot become the reaper of orphans: %w", err)
		}
	}
	start, err := process.StartTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	k.stamp = k.here.Boot + "." + strconv.FormatUint(start, 10)
	if o.Estate != nil {
		k.stamp = o.Estate.Stamp
	}
	if err := buildRuntime(o.Runtime, k.stamp); err != nil {
		return nil, err
	}
	if k.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("cannot open /dev/null: %w", err)
	}
	// O_PATH: a binary that may be executed need not be readable.
	if k.image, err = unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		k.image = -1
	}
	return k, nil
}

// closeOnExec keeps what this process was started with to itself: Listener,
// Lease, and whatever a shell had open.
func closeOnExec() {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// close ends the goroutines that are left and gives back what newKeeper opened.
func (k *keeper) close() {
	k.stopDrain()
	k.unwatch()
	k.work.Wait()
	select {
	case k.words <- "":
		_ = within(killWait, k.said, nil)
	case <-time.After(killWait):
	}
	_ = unix.Close(k.null)
	if k.image >= 0 {
		_ = unix.Close(k.image)
	}
}

// say writes to stderr, or rather has it written: whoever reads there may have
// stopped reading. What does not fit is lost.
func (k *keeper) say(format string, args ...any) {
	select {
	case k.words <- fmt.Sprintf("hermes keeper: "+format+"\n", args...):
	default:
	}
}

// speak writes what say was told. Run does not wait for a write that hangs.
func (k *keeper) speak() {
	defer close(k.said)
	for s := <-k.words; s != ""; s = <-k.words {
		_, _ = io.WriteString(k.o.Stderr, s)
	}
}

// What the keeper makes in its runtime directory.
const (
	slotsDir   = "slots" // lock files
	notifyDir  = "n"     // notify sockets
	backlogDir = "backlog"
	stampFile  = "stamp" // names the keeper that built the directory
)

// buildRuntime makes the keeper's directories. Others must pass through n to
// reach a notify socket; the rest is the keeper's and the engine's alone.
func buildRuntime(dir, stamp string) error {
	for name, mode := range map[string]os.FileMode{slotsDir: 0o700, notifyDir: 0o711, backlogDir: 0o700} {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(path, mode)
		if err == nil {
			err = os.Chmod(path, mode) // whatever the umask
		}
		if err != nil {
			return fmt.Errorf("cannot make %s: %w", path, err)
		}
	}
	path := filepath.Join(dir, stampFile)
	if err := os.WriteFile(path, []byte(stamp+"\n"), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// closed reports whether c is.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// within waits until a or b is closed and is false if neither is in time.
func within(d time.Duration, a, b <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-a:
	case <-b:
	case <-t.C:
		return false
	}
	return true
}

// poll asks until it is met, and is false if that is not in time, or once stop
// is closed.
func poll(d time.Duration, stop <-chan struct{}, met func() bool) bool {
	for end := time.Now().Add(d); !met(); {
		if within(pollEvery, stop, nil) || time.Now().After(end) {
			return false
		}
	}
	return true
}

// nudge puts a token into a channel that needs at most one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// errnoOf is the errno in err's chain, EIO if there is none.
func errnoOf(err error) int {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return int(e)
	}
	return int(unix.EIO)
}
