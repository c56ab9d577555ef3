package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killKeeper kills the keeper with SIGKILL and returns when its engine has
// taken its place and started another.
func (h *host) killKeeper() {
	h.t.Helper()
	was := h.fleet()
	h.kill(was.KeeperPID, syscall.SIGKILL)
	h.eventually("the engine has taken the keeper's place", func() error {
		if now := h.fleet(); now.KeeperPID != was.EnginePID || now.EnginePID == was.EnginePID {
			return fmt.Errorf("keeper %d, engine %d", now.KeeperPID, now.EnginePID)
		}
		return nil
	})
}

// endSuccessor ends a supervisor that is not our child, as an operator would.
func (h *host) endSuccessor() {
	h.t.Helper()
	h.kill(h.fleet().KeeperPID, syscall.SIGTERM)
	h.eventually("nothing is left", func() error {
		if left := h.processes(); len(left) > 0 {
			return fmt.Errorf("processes %v", left)
		}
		return nil
	})
	<-h.ended
	h.up = nil
}

// TestKeeperKilledAtRandom: on a host, where it is not PID 1.
func TestKeeperKilledAtRandom(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t)
	o.strike(soak(8), 1500*time.Millisecond, o.killKeeper)
	keeper := o.fleet().KeeperPID
	o.noZombies(keeper)
	// Those that were taken over are stopped and started like any others.
	o.must("gateway", "restart", "quiet-exec")
	o.must("gateway", "stop", "quiet-notify")
	o.refused(1, []string{fmt.Sprintf("kill %d", keeper)}, "up")
	o.endSuccessor()
	o.start()
	o.state("quiet-exec", "running")
	o.state("quiet-notify", "stopped")
	o.noDoubles(map[string]int{"quiet-exec": 3, "quiet-notify": 1})
}

// TestKeeperKilledDuringShutdown: its engine goes on with it.
func TestKeeperKilledDuringShutdown(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=2")
	h.probe("anna", "-deaf")
	h.start("anna")
	h.started("anna", 1)
	keeper := h.fleet().KeeperPID
	h.kill(keeper, syscall.SIGTERM)
	h.eventually("it is shutting down", func() error {
		if !strings.Contains(h.output.String(), "shutting down") {
			return errors.New(h.output.String())
		}
		return nil
	})
	h.kill(keeper, syscall.SIGKILL)
	h.eventually("nothing is left", func() error {
		if left := h.processes(); len(left) > 0 {
			return fmt.Errorf("processes %v", left)
		}
		return nil
	})
	<-h.ended
	h.up = nil
	if got := h.intent("anna"); got != "running" {
		t.Errorf("its intent is %s", got)
	}
}

// TestKeeperRenewedAtRandom: it executes its binary anew, in its own process.
func TestKeeperRenewedAtRandom(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t)
	keeper := o.fleet().KeeperPID
	o.strike(soak(8), 1500*time.Millisecond, func() { o.kill(keeper, syscall.SIGHUP) })
	if now := o.fleet().KeeperPID; now != keeper {
		t.Errorf("the keeper was %d and is %d", keeper, now)
	}
	if strings.Contains(o.output.String(), "cannot take up") {
		t.Error("a renewal failed")
	}
	o.noZombies(keeper)
	o.must("gateway", "stop", "--all")
	o.stop()
}

// TestRenewTakesUpTheBinaryAtItsPath is an upgrade, then one to a file that is
// no hermes.
func TestRenewTakesUpTheBinaryAtItsPath(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := filepath.Dir(h.runtime)
	path := filepath.Join(dir, "hermes")
	install := func(content string) { install(t, path, content) }
	install("")
	h.binary = path
	h.probe("anna")
	h.start("anna")
	h.started("anna", 1)
	was := h.fleet()
	runs := func(pid int) bool { // the binary that is at the path now
		a, errA := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
		b, errB := os.Stat(path)
		return errA == nil && errB == nil && os.SameFile(a, b)
	}
	install("")
	if runs(was.KeeperPID) {
		t.Fatal("the keeper has the new binary already")
	}
	h.kill(was.KeeperPID, syscall.SIGHUP)
	h.eventually("keeper and engine have the new binary", func() error {
		if now := h.fleet(); !runs(was.KeeperPID) || now.KeeperPID != was.KeeperPID || !runs(now.EnginePID) {
			return fmt.Errorf("keeper %d, engine %d", now.KeeperPID, now.EnginePID)
		}
		return nil
	})
	install("#!/bin/sh\nexit 1\n")
	h.kill(was.KeeperPID, syscall.SIGHUP)
	h.eventually("it is refused", func() error {
		if !strings.Contains(h.output.String(), "cannot take up "+path) {
			return errors.New(h.output.String())
		}
		return nil
	})
	h.binary = binaries().hermes
	h.state("anna", "running") // an engine is there, from the keeper's own image
	h.noDoubles(map[string]int{"anna": 1})
}

// install puts a program at path as a package manager does: with a rename. It
// is this hermes if content is "".
func install(t *testing.T, path, content string) {
	t.Helper()
	if content == "" {
		b, err := os.ReadFile(binaries().hermes)
		if err != nil {
			t.Fatal(err)
		}
		content = string(b)
	}
	next := path + ".next"
	syscall.ForkLock.RLock() // a child being forked would have it open for writing: text file busy
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.WriteFile(next, []byte(content), 0o755), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
}

// TestKeeperKilledWithNobodyToTell: who read its output is gone, as after a
// terminal is closed.
func TestKeeperKilledWithNobodyToTell(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna", "-rate", "2000")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.out = w
	h.start("anna")
	h.started("anna", 1)
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.killKeeper()
		h.state("anna", "running")
	}
	h.noDoubles(map[string]int{"anna": 1})
	h.endSuccessor()
}
