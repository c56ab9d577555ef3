package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
)

// lastSignal is the last of the signals that are not for real-time programs.
const lastSignal = 31

// harmless says which signals do not end a program that handles none. The last
// three would stop it, but no process of a group whose leader's parent is in
// another session: such signals come from a terminal, and it has none.
func harmless(sig syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{
		unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
	}, sig)
}

// TestGatewayKilledByEverySignal: the exit of a gateway that a signal ends is
// on record with that signal, and what follows is what `restart` says; what
// does not end it changes nothing.
func TestGatewayKilledByEverySignal(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=1")
	var names []string
	for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
		for _, policy := range []string{"always", "on-failure", "never"} {
			name := fmt.Sprintf("s%d-%s", sig, policy)
			h.profile(name)
			h.write(name, "config.yaml", "gateway:\n  command: [sleep, infinity]\n  restart: "+policy+"\n")
			names = append(names, name)
		}
	}
	h.start()
	h.must(append([]string{"gateway", "start"}, names...)...)
	before := h.byName()
	for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
		for _, policy := range []string{"always", "on-failure", "never"} {
			h.kill(before[fmt.Sprintf("s%d-%s", sig, policy)].PID, sig)
		}
	}
	h.eventually("every signal is dealt with", func() error {
		now := h.byName()
		for sig := syscall.Signal(1); sig <= lastSignal; sig++ {
			for _, policy := range []string{"always", "on-failure", "never"} {
				name := fmt.Sprintf("s%d-%s", sig, policy)
				if err := followed(sig, policy, before[name], now[name]); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		return nil
	})
	for name, g := range h.byName() {
		if want := "running"; name != "default" && (g.Intent != want || h.intent(name) != want) {
			t.Errorf("%s: a signal changed the intent to %s", name, g.Intent)
		}
	}
	h.noZombies(h.fleet().KeeperPID)
}

func (h *host) byName() map[string]api.Gateway {
	h.t.Helper()
	all := map[string]api.Gateway{}
	for _, g := range h.fleet().Gateways {
		all[g.Profile] = g
	}
	return all
}

// followed checks what became of a gateway that was sent a signal.
func followed(sig syscall.Signal, policy string, was, is api.Gateway) error {
	name := unix.SignalName(sig)
	if harmless(sig) {
		if is.PID != was.PID || is.State != "running" || is.LastExit != nil {
			return fmt.Errorf("%s changed it: %+v", name, is)
		}
		return nil
	}
	if is.LastExit == nil || is.LastExit.Signal != name || is.LastExit.Code != nil || is.LastExit.Asked {
		return fmt.Errorf("last exit %+v, want %s", is.LastExit, name)
	}
	if policy == "never" {
		if is.State != "stopped" || is.PID != 0 || !strings.Contains(is.Reason, name) {
			return fmt.Errorf("it is %s (%s)", is.State, is.Reason)
		}
		return nil
	}
	if is.State != "running" || is.PID == was.PID || is.Restarts != 1 {
		return fmt.Errorf("it is %s, pid %d, after %d restarts", is.State, is.PID, is.Restarts)
	}
	return nil
}

// TestStoppedGatewayIsNotEnded: a gateway that SIGSTOP holds has not ended. It
// stays as it is in status, whatever becomes of the engine; SIGCONT lets it go
// on; and a stop ends it even while it is held.
func TestStoppedGatewayIsNotEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=1")
	h.probe("anna")
	h.probe("bert")
	h.start("anna", "bert")
	pids := map[string]int{}
	for _, name := range []string{"anna", "bert"} {
		h.started(name, 1)
		h.state(name, "running")
		pids[name] = h.gateway(name).PID
		h.kill(pids[name], syscall.SIGSTOP)
		h.eventually(name+" is held", func() error { return isIn(pids[name], "T") })
	}
	h.killEngine()
	if g := h.gateway("anna"); g.State != "running" || g.PID != pids["anna"] || g.LastExit != nil {
		t.Errorf("anna is held and shown as %+v", g)
	}
	h.kill(pids["anna"], syscall.SIGCONT)
	h.eventually("anna goes on", func() error { return isIn(pids["anna"], "SR") })
	h.must("gateway", "stop", "bert")
	h.state("bert", "stopped")
	if g := h.gateway("bert"); g.LastExit == nil || !g.LastExit.Asked {
		t.Errorf("bert was stopped: %+v", g.LastExit)
	}
	h.must("gateway", "stop", "anna")
	if g := h.gateway("anna"); g.LastExit == nil || g.LastExit.Code == nil || *g.LastExit.Code != 0 {
		t.Errorf("anna was stopped: %+v", g.LastExit)
	}
	h.noDoubles(map[string]int{"anna": 1, "bert": 1})
}

// isIn checks the state that the kernel has for a process.
func isIn(pid int, letters string) error {
	if s := stateOf(pid); s == "" || !strings.Contains(letters, s) {
		return fmt.Errorf("its state is %q", s)
	}
	return nil
}

// TestPowerCutsAtRandom: keeper and engine are killed at once while operators
// work and gateways crash; the next `hermes up` finds what was acknowledged,
// and nothing ever runs twice.
func TestPowerCutsAtRandom(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=2")
	busy := []string{"anna", "bert", "cleo", "dora"}
	for _, name := range busy {
		h.probe(name)
	}
	h.probe("crash", "-exit", "1", "-after", "50ms")
	rnd := rand.New(rand.NewPCG(seeded(t), 0))
	h.start("crash")
	for range soak(5) {
		acknowledged := h.untilCut(busy, rnd)
		h.start()
		for name, want := range acknowledged {
			if got := h.intent(name); got != want {
				t.Errorf("%s: intent %s was acknowledged, %s is kept", name, want, got)
			}
			h.state(name, want)
		}
		for _, name := range append(busy, "crash") {
			if d := h.lines(name, "doubles"); len(d) > 0 {
				t.Fatalf("%s met itself: %v", name, d)
			}
		}
		h.eventually("no process without a slot", h.onlySlots)
	}
}

// onlySlots checks that what runs is the supervisor and what it says it runs.
func (h *host) onlySlots() error {
	var pids []int
	for _, g := range h.fleet().Gateways {
		if g.PID != 0 {
			pids = append(pids, g.PID)
		}
	}
	return h.only(pids)
}

// untilCut has operators at work until keeper and engine are killed, and
// returns what they had acknowledged, but for commands that were under way.
func (h *host) untilCut(names []string, rnd *rand.Rand) map[string]string {
	h.t.Helper()
	keeper := h.fleet().KeeperPID
	var mu sync.Mutex // guards last and cut
	last := map[string]string{}
	cut := false
	var operators sync.WaitGroup
	for i, name := range names {
		own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		operators.Go(func() {
			for {
				verb := []string{"start", "stop", "restart"}[own.IntN(3)]
				_, stderr, code := h.run("gateway", verb, name)
				mu.Lock()
				over := cut
				if over || code != 0 {
					delete(last, name) // it may have been written or not
				} else {
					last[name] = map[string]string{"start": "running", "restart": "running", "stop": "stopped"}[verb]
				}
				mu.Unlock()
				if over {
					return
				}
				if code != 0 {
					h.t.Errorf("gateway %s %s: %s", verb, name, stderr)
					return
				}
			}
		})
	}
	pause(50*time.Millisecond + upTo(rnd, 500*time.Millisecond))
	engine := h.enginePID(keeper)
	mu.Lock()
	cut = true
	_ = syscall.Kill(keeper, syscall.SIGSTOP) // neither sees the other die
	_ = syscall.Kill(engine, syscall.SIGKILL)
	_ = syscall.Kill(keeper, syscall.SIGKILL)
	mu.Unlock()
	operators.Wait()
	<-h.ended
	h.up = nil
	return last
}
