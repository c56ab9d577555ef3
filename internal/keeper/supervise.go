package keeper

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// An engine that ends this soon is started again with a delay that
	// doubles from backoffFirst to backoffMost.
	quickDeath   = time.Second
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
	// triesBeforePinned starts in a row that did not reach hello make the next
	// one use the binary the keeper itself was started from.
	triesBeforePinned = 3
	// helloWithin is how long an engine may take to say hello.
	helloWithin = 10 * time.Second
)

// engineProcess is one engine, from its fork to its end.
type engineProcess struct {
	pid      int
	link     *link
	up       bool // it has said hello; keeper.mu guards it
	late     bool // its exec took too long: another has its place; keeper.mu
	exit     Exit // set when gone is closed
	greeted  chan struct{}
	acked    chan struct{}
	finished chan struct{}
	lost     chan struct{} // closed when its connection has ended
	gone     chan struct{} // closed when it is reaped

	greet, ack, finish func() // close the channels, once
}

func newEngineProcess(s *Socket) *engineProcess {
	e := &engineProcess{
		link: newLink(s), greeted: make(chan struct{}), acked: make(chan struct{}),
		finished: make(chan struct{}), lost: make(chan struct{}), gone: make(chan struct{}),
	}
	e.greet = sync.OnceFunc(func() { e.up = true; close(e.greeted) })
	e.ack = sync.OnceFunc(func() { close(e.acked) })
	e.finish = sync.OnceFunc(func() { close(e.finished) })
	return e
}

// reply answers request m.
func (e *engineProcess) reply(m, with *Message, fds ...int) {
	with.Op, with.Seq = OpReply, m.Seq
	e.link.post(with, fds...)
}

func (e *engineProcess) fail(m *Message, f *Failure) {
	e.reply(m, &Message{Failure: f, Version: Version})
}

// superviseEngine keeps an engine running until the shutdown begins.
func (k *keeper) superviseEngine() {
	failed, quick := 0, 0
	for !k.stopped() {
		k.startDrain(drainAfter)
		usePinned := failed >= triesBeforePinned && k.image >= 0
		if usePinned {
			k.say("cannot start the engine from %s: %d attempts failed; using the binary this keeper runs", k.o.EngineArgv[0], failed)
		}
		began := time.Now()
		up, how := k.runEngine(usePinned)
		if k.stopped() {
			break
		}
		k.say("the engine ended (%s), starting it again", how)
		if failed++; up || usePinned {
			failed = 0 // the path is tried again, it may be repaired
		}
		// One that made room for its successor, or was killed from outside, is
		// no sign that the next will die as well.
		faultless := up && (how == ended(Exit{}) || how == ended(Exit{Signal: int(unix.SIGKILL)}))
		if quick++; faultless || time.Since(began) >= quickDeath {
			quick = 0
		}
		if time.Since(began) < quickDeath {
			k.pause(min(backoffFirst<<min(max(quick-1, 0), 10), backoffMost))
		}
	}
	k.startDrain(0) // what runs must be able to write its last words
}

// stopped reports whether the shutdown has begun.
func (k *keeper) stopped() bool {
	select {
	case <-k.stop:
		return true
	default:
		return false
	}
}

// pause waits, but not into a shutdown.
func (k *keeper) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.stop:
	}
}

// runEngine starts one engine and returns when it has been reaped: whether it
// said hello, and how it ended.
func (k *keeper) runEngine(usePinned bool) (up bool, how string) {
	sv, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Sprintf("cannot connect it: %v", err)
	}
	sock, err := NewSocket(sv[0])
	if err != nil {
		closeAll(sv[:])
		return false, err.Error()
	}
	e := newEngineProcess(sock)
	started := make(chan error, 1)
	go func() { started <- k.startEngine(e, sv[1], usePinned) }() // its exec may hang for ever
	if err := k.await(e, started); err != nil {
		sock.Close()
		return false, fmt.Sprintf("cannot exec %s: %v", k.o.EngineArgv[0], err)
	}
	var talk sync.WaitGroup
	talk.Go(e.link.run)
	talk.Go(func() {
		k.serve(e)
		close(e.lost)
	})
	if !within(helloWithin, e.greeted, e.lost) {
		k.killEngine(e)
	}
	select {
	case <-e.lost:
	case <-e.gone:
	}
	if !within(killWait, e.gone, nil) {
		k.killEngine(e) // it cannot get another connection
	}
	select {
	case <-e.gone:
	case <-k.over: // not even SIGKILL ended it in time
	}
	e.link.close()
	talk.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return e.up, ended(e.exit)
}

// await waits until e has exec'd. One that is too late is given up: it is
// killed when it lands, and reaped like any orphan.
func (k *keeper) await(e *engineProcess, started <-chan error) error {
	late := time.NewTimer(answerIn)
	defer late.Stop()
	select {
	case err := <-started:
		return err
	case <-late.C:
	case <-k.over:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.engine == e {
		return nil // just now
	}
	e.late = true
	return unix.ETIMEDOUT
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

// startEngine forks the engine; theirs is its end of the connection.
func (k *keeper) startEngine(e *engineProcess, theirs int, usePinned bool) error {
	giveBack := k.takeTurn()
	defer giveBack()
	defer unix.Close(theirs)
	path := k.o.EngineArgv[0]
	if usePinned {
		path = pinned(k.image)
	}
	attr := &syscall.ProcAttr{
		Env: k.o.EngineEnv,
		Files: []uintptr{
			uintptr(k.null), 1, 2,
			FDConn: uintptr(theirs), FDListener: uintptr(k.o.Listener), FDLease: uintptr(k.o.Lease),
		},
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	return k.launch(path, k.o.EngineArgv, attr, func(pid int, _ uint64) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.stopping || e.late {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if !e.late {
			e.pid, k.engine = pid, e
		}
	})
}

// killEngine kills e with its group unless it has ended.
func (k *keeper) killEngine(e *engineProcess) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.engine == e {
		_ = unix.Kill(-e.pid, unix.SIGKILL)
	}
}

// ended is an exit in a few words.
func ended(e Exit) string {
	if e.Signal != 0 {
		return "signal: " + unix.SignalName(unix.Signal(e.Signal))
	}
	return fmt.Sprintf("exit %d", e.Code)
}
