package keeper

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/wire"
)

const (
	// leaveIn is how long an engine may take to make room for its successor.
	leaveIn = 5 * time.Second
	// quietIn is how long forks in flight may hold up a renewal; one that hangs
	// makes it fail.
	quietIn = answerIn + time.Second
	// checkIn is how long the new binary may take to say that it would do.
	checkIn = 10 * time.Second
)

// askRenew asks for this process's replacement by the binary that is now at its
// path. It happens between two engines: nothing is half done then.
func (k *keeper) askRenew() {
	if len(k.o.Renew) == 0 {
		return
	}
	nudge(k.renewal)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.makeRoomLocked()
}

// makeRoomLocked asks the engine to leave; one that is just being forked is asked
// when it has landed.
func (k *keeper) makeRoomLocked() {
	if e := k.engine; e != nil {
		_ = unix.Kill(e.pid, unix.SIGTERM)
		time.AfterFunc(leaveIn, func() { k.killEngine(e) })
	}
}

// renewIfAsked replaces this process, and returns if that was not asked for or
// cannot be done.
func (k *keeper) renewIfAsked() {
	select {
	case <-k.renewal:
	default:
		return
	}
	if err := k.renew(); err != nil && !closed(k.stop) {
		k.say("cannot take up %s, going on as before: %v", k.o.Renew[0], err)
		k.startDrain(drainAfter)
	}
}

// renew executes the next keeper in this process: it has the same pid, and so
// the same children.
func (k *keeper) renew() error {
	if err := k.awaitQuiet(); err != nil {
		return err // also if an earlier check hangs: each would take a fork's place
	}
	if err := k.checkSuccessor(); err != nil {
		return err
	}
	if err := k.awaitQuiet(); err != nil {
		return err
	}
	k.stopDrain()
	failed := make(chan error, 1)
	select {
	case k.handOver <- func() { failed <- k.replace() }: // the loop takes note of no stop meanwhile
		return <-failed
	case <-k.stop:
		return errStopped
	}
}

// replace executes the successor, and returns only if that fails.
func (k *keeper) replace() error {
	k.mu.Lock() // from here to its successor nothing is reaped or signalled
	defer k.mu.Unlock()
	if !k.quietLocked() {
		return errHangs
	}
	estate := k.estateLocked()
	fd, err := estate.Pass()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	defer estate.Keep()
	k.sigs.ignore()
	defer k.sigs.catch()
	if k.stopping || len(k.sigs.stop) > 0 {
		return errStopped
	}
	argv := append(append([]string{}, k.o.Renew...), "--estate", strconv.Itoa(fd))
	return fmt.Errorf("cannot exec: %w", syscall.Exec(argv[0], argv, os.Environ()))
}

var (
	errHangs   = errors.New("a program that is being started hangs")
	errStopped = errors.New("everything is to stop")
)

// checkSuccessor has the new binary say whether it would do.
func (k *keeper) checkSuccessor() error {
	k.mu.Lock()
	r := k.errandLocked(&wire.Spec{
		Path: k.o.Renew[0], Env: os.Environ(),
		Argv: append(append([]string{}, k.o.Renew...), "--check", strconv.Itoa(wire.EstateVersion)),
	})
	k.mu.Unlock()
	_ = within(checkIn, r.ended, k.stop)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case r.fail != nil:
		return fmt.Errorf("it cannot be run: %w", unix.Errno(r.fail.Errno))
	case r.exit == nil:
		r.waiting = 0 // an exec that hangs is killed when it lands
		if r.pid != 0 {
			_ = k.signalLocked(r, unix.SIGKILL, true)
		}
		return errors.New("it does not answer")
	case r.exit.Code != 0:
		return errors.New("it would not do: " + ended(*r.exit))
	}
	return nil
}

// awaitQuiet waits until no fork is in flight or about to be.
func (k *keeper) awaitQuiet() error {
	quiet := poll(quietIn, k.stop, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.quietLocked()
	})
	if !quiet {
		return errHangs
	}
	return nil
}

func (k *keeper) quietLocked() bool {
	for _, r := range k.runs {
		if r.pid == 0 {
			return false
		}
	}
	return len(k.flights) == 0
}
