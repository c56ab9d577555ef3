package keeper

import (
	"cmp"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/wire"
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
	sock     *wire.Socket
	link     *wire.Link
	late     bool          // its exec took too long: another has its place; keeper.mu
	exit     wire.Exit     // set when gone is closed
	greeted  chan struct{} // closed when it has said hello; under keeper.mu
	acked    chan struct{}
	finished chan struct{}
	lost     chan struct{} // closed when its connection has ended
	gone     chan struct{} // closed when it is reaped

	greet, ack, finish func() // close the channels, once
}

func newEngineProcess(s *wire.Socket) *engineProcess {
	e := &engineProcess{
		sock: s, link: wire.NewLink(s), greeted: make(chan struct{}), acked: make(chan struct{}),
		finished: make(chan struct{}), lost: make(chan struct{}), gone: make(chan struct{}),
	}
	e.greet = sync.OnceFunc(func() { close(e.greeted) })
	e.ack = sync.OnceFunc(func() { close(e.acked) })
	e.finish = sync.OnceFunc(func() { close(e.finished) })
	return e
}

// reply answers request m.
func (e *engineProcess) reply(m, with *wire.Message, fds ...int) {
	with.Op, with.Seq = wire.OpReply, m.Seq
	e.link.Post(with, fds...)
}

func (e *engineProcess) fail(m *wire.Message, f *wire.Failure) {
	e.reply(m, &wire.Message{Failure: f, Version: wire.Version})
}

// superviseEngine keeps an engine running until the shutdown begins.
func (k *keeper) superviseEngine() {
	failed, quick := 0, 0
	for !closed(k.stop) {
		k.startDrain(drainAfter)
		k.renewIfAsked()
		hung := int(k.execing.Load())
		if hung > triesBeforePinned {
			_ = within(backoffMost, k.stop, nil) // each of them holds a P
			continue
		}
		usePinned := max(failed, hung) >= triesBeforePinned && k.image >= 0
		if usePinned {
			k.say("cannot start the engine from %s: %d attempts failed; using the binary this keeper runs", k.o.EngineArgv[0], max(failed, hung))
		}
		began := time.Now()
		up, how := k.runEngine(usePinned)
		if closed(k.stop) {
			break
		}
		k.say("the engine ended (%s), starting it again", how)
		if failed++; up || usePinned {
			failed = 0 // the path is tried again, it may be repaired
		}
		// One that made room for its successor, or was killed from outside, is
		// no sign that the next will die as well.
		faultless := up && (how == ended(wire.Exit{}) || how == ended(wire.Exit{Signal: int(unix.SIGKILL)}))
		if quick++; faultless || time.Since(began) >= quickDeath {
			quick = 0
		}
		if time.Since(began) < quickDeath {
			_ = within(min(backoffFirst<<min(max(quick-1, 0), 10), backoffMost), k.stop, nil)
		}
	}
	k.startDrain(0) // what runs must be able to write its last words
}

// runEngine starts one engine and returns when it has been reaped: whether it
// said hello, and how it ended.
func (k *keeper) runEngine(usePinned bool) (up bool, how string) {
	sv, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Sprintf("cannot connect it: %v", err)
	}
	sock, err := wire.NewSocket(sv[0])
	if err != nil {
		wire.CloseFDs(sv[:]...)
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
	talk.Go(e.link.Run)
	talk.Go(func() {
		k.serve(e)
		close(e.lost)
	})
	late := time.AfterFunc(cmp.Or(k.o.UpWithin, helloWithin), func() {
		if !closed(e.greeted) {
			k.killEngine(e)
		}
	})
	defer late.Stop()
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
	e.link.Close()
	talk.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return closed(e.greeted), ended(e.exit)
}

// await waits until e has exec'd. One that is too late is given up: it is
// killed when it lands, and reaped like any orphan.
func (k *keeper) await(e *engineProcess, started <-chan error) error {
	late := time.NewTimer(cmp.Or(k.o.UpWithin, answerIn))
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

// startEngine forks the engine; theirs is its end of the connection.
func (k *keeper) startEngine(e *engineProcess, theirs int, usePinned bool) error {
	defer unix.Close(theirs)
	k.execing.Add(1)
	defer k.execing.Add(-1)
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
		if len(k.renewal) > 0 {
			k.makeRoomLocked()
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
func ended(e wire.Exit) string {
	if e.Signal != 0 {
		return "signal: " + unix.SignalName(unix.Signal(e.Signal))
	}
	return fmt.Sprintf("exit %d", e.Code)
}
