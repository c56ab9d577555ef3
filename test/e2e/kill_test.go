package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hermes/internal/profile"
)

// soak multiplies the counts of the long tests; `make soak` sets it.
func soak(count int) int {
	if os.Getenv("HERMES_SOAK") == "" {
		return count
	}
	return 10 * count
}

// killEngine kills the engine with SIGKILL and returns when another answers.
func (h *host) killEngine() {
	h.t.Helper()
	pid := h.fleet().EnginePID
	h.kill(pid, syscall.SIGKILL)
	h.eventually("another engine answers", func() error {
		if now := h.fleet().EnginePID; now == pid {
			return errors.New("the old one answers")
		}
		return nil
	})
}

func (h *host) kill(pid int, sig syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		h.t.Fatalf("kill %d: %v", pid, err)
	}
}

// state waits until the gateway is in that state.
func (h *host) state(name, want string) {
	h.t.Helper()
	h.eventually(name+" is "+want, func() error {
		if g := h.gateway(name); g.State != want {
			return fmt.Errorf("it is %s (%s)", g.State, g.Reason)
		}
		return nil
	})
}

func (h *host) intent(name string) string {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join(h.dir(name), "gateway_intent.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, i := range []profile.Intent{profile.Running, profile.Stopped} {
		if strings.Contains(string(content), `"intent":"`+string(i)+`"`) || strings.Contains(string(content), `"intent": "`+string(i)+`"`) {
			return string(i)
		}
	}
	h.t.Fatalf("%s: no intent in %s", name, content)
	return ""
}

const windowKills = 5

// TestEngineKilledBetweenIntentAndSpawn: the start gate is full, so the intent
// is on disk and the gateway is not started when the engine dies.
func TestEngineKilledBetweenIntentAndSpawn(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_START_PARALLEL=1")
	h.probe("slow", "-notify", "-after", "1h")
	h.probe("quick")
	h.start()
	for i := range soak(windowKills) {
		h.must("gateway", "start", "slow", "--no-wait")
		h.started("slow", i+1) // it holds the gate for two seconds
		h.must("gateway", "start", "quick", "--no-wait")
		if got := len(h.lines("quick", "starts")); got != i {
			t.Fatalf("round %d: quick was started before the kill, the window was missed", i)
		}
		h.killEngine()
		h.state("quick", "running")
		h.started("quick", i+1)
		h.must("gateway", "stop", "quick", "slow")
	}
	h.noDoubles(map[string]int{"quick": soak(windowKills), "slow": soak(windowKills)})
}

// TestEngineKilledBetweenSpawnAndRecord: the probe lives, supervision.json
// does not know of it yet.
func TestEngineKilledBetweenSpawnAndRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.start()
	for i := range soak(windowKills) {
		engine := h.fleet().EnginePID
		h.must("gateway", "start", "anna", "--no-wait")
		h.started("anna", i+1)
		h.kill(engine, syscall.SIGKILL) // within the 250 ms that observations are gathered
		pid := h.lines("anna", "starts")[i]
		h.state("anna", "running")
		if now := h.gateway("anna").PID; strconv.Itoa(now) != pid {
			t.Fatalf("round %d: pid %s was started, %d is supervised", i, pid, now)
		}
		h.must("gateway", "stop", "anna")
	}
	h.noDoubles(map[string]int{"anna": soak(windowKills)})
}

// TestEngineKilledBetweenExitAndRecord: the gateway ends while the engine is
// stopped and cannot record it.
func TestEngineKilledBetweenExitAndRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.probe("cleo", "-notify")
	h.start("anna", "cleo")
	h.state("cleo", "running")
	rounds := soak(windowKills)
	for i := range rounds {
		h.state("anna", "running")
		engine, pid := h.fleet().EnginePID, h.gateway("anna").PID
		h.kill(engine, syscall.SIGSTOP)
		h.kill(pid, syscall.SIGKILL)
		h.eventually("the keeper has reaped it", func() error {
			if syscall.Kill(pid, 0) == nil {
				return errors.New("it is still there")
			}
			return nil
		})
		h.kill(engine, syscall.SIGKILL)
		h.started("anna", i+2)
		h.state("anna", "running")
		g := h.gateway("anna")
		if g.LastExit == nil || g.LastExit.Signal != "SIGKILL" {
			t.Fatalf("round %d: last exit %+v", i, g.LastExit)
		}
		h.must("gateway", "start", "anna") // clears the backoff
	}
	if why := h.must("why", "anna"); strings.Count(why, "SIGKILL") < min(rounds, 5) {
		t.Errorf("the exits are not on record:\n%s", why)
	}
	h.noDoubles(map[string]int{"anna": rounds + 1, "cleo": 1})
}

// TestEngineKilledDuringStop: SIGTERM is sent, the gateway is deaf, the engine
// dies before its SIGKILL.
func TestEngineKilledDuringStop(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=1")
	h.probe("deaf", "-deaf")
	h.start()
	for i := range soak(windowKills) {
		h.must("gateway", "start", "deaf")
		h.started("deaf", i+1)
		h.must("gateway", "stop", "deaf", "--no-wait")
		if s := h.gateway("deaf").State; s != "stopping" {
			t.Fatalf("round %d: %s, the window was missed", i, s)
		}
		h.killEngine()
		h.state("deaf", "stopped")
		if got := h.intent("deaf"); got != "stopped" {
			t.Fatalf("round %d: intent %s", i, got)
		}
	}
	h.noDoubles(map[string]int{"deaf": soak(windowKills)})
}

// TestEngineKilledDuringRestart: the stop half of a restart is under way; the
// next engine finishes the restart.
func TestEngineKilledDuringRestart(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_STOP_TIMEOUT=1")
	h.probe("deaf", "-deaf")
	h.write("deaf", "config.yaml", fmt.Sprintf("gateway:\n  command: [%q, -deaf]\n  restart: never\n", binaries().probe))
	h.start("deaf")
	for i := range soak(windowKills) {
		h.started("deaf", i+1)
		h.state("deaf", "running")
		h.must("gateway", "restart", "deaf", "--no-wait")
		h.killEngine()
		h.started("deaf", i+2)
	}
	h.noDoubles(map[string]int{"deaf": soak(windowKills) + 1})
}

// TestReadyWithoutEngineCounts: READY is sent while there is no engine to hear
// it, once to a stopped one that then dies, once to none at all.
func TestReadyWithoutEngineCounts(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna", "-notify", "-after", "500ms")
	h.start()
	for i := range soak(windowKills) {
		engine := h.fleet().EnginePID
		h.must("gateway", "start", "anna", "--no-wait")
		h.started("anna", i+1)
		h.kill(engine, syscall.SIGSTOP)
		deadline := time.NewTimer(700 * time.Millisecond) // READY is sent meanwhile
		<-deadline.C
		h.kill(engine, syscall.SIGKILL)
		h.state("anna", "running")
		if g := h.gateway("anna"); g.Health != "ok" || g.Status != "probing" && g.Status != "" {
			t.Errorf("health %q, status %q", g.Health, g.Status)
		}
		h.must("gateway", "stop", "anna")
	}
	h.noDoubles(map[string]int{"anna": soak(windowKills)})
}

// TestEngineKilledAtRandom: a hundred times, while operators start, stop and
// restart, and gateways crash.
func TestEngineKilledAtRandom(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t)
	keeper := o.fleet().KeeperPID
	descriptors := o.descriptors(keeper)
	o.strike(soak(100), 1200*time.Millisecond, func() { o.kill(o.enginePID(keeper), syscall.SIGKILL) })
	o.must("gateway", "stop", "--all")
	o.must("gateway", "start", "quiet-exec", "quiet-notify")
	o.noZombies(keeper)
	o.eventually("the keeper has as many descriptors as before", func() error {
		// The busy gateways are down now; each had a pipe, a socket and a lock.
		if now := o.descriptors(keeper); now > descriptors {
			return fmt.Errorf("%d, were %d", now, descriptors)
		}
		return nil
	})
}

// operate has one operator per gateway type commands until stop, and returns
// what each last had acknowledged.
func (h *host) operate(names []string, stop <-chan struct{}) (acknowledged func() map[string]string) {
	var mu sync.Mutex
	last := map[string]string{}
	var operators sync.WaitGroup
	for _, name := range names {
		operators.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				verb := []string{"start", "stop", "restart", "crash"}[rand.N(4)]
				if verb == "crash" {
					h.crash(name)
					continue
				}
				stdout, stderr, code := h.run("gateway", verb, name)
				// A run that crash killed as it came up is a start that failed, and
				// an intent that was set all the same.
				if code != 0 && !strings.Contains(stderr, "cannot start gateway-"+name+": SIGKILL") {
					h.t.Errorf("gateway %s %s: exit %d\n%s%s", verb, name, code, stdout, stderr)
					return
				}
				mu.Lock()
				last[name] = map[string]string{"start": "running", "restart": "running", "stop": "stopped"}[verb]
				mu.Unlock()
			}
		})
	}
	return func() map[string]string {
		operators.Wait()
		return last
	}
}

// crash kills the newest run of the probe, if it still is one of ours.
func (h *host) crash(name string) {
	starts := h.lines(name, "starts")
	if len(starts) == 0 {
		return
	}
	pid, err := strconv.Atoi(starts[len(starts)-1])
	if err == nil && slices.Contains(h.processes(), pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// enginePID finds the engine from outside: it may be too young to answer.
func (h *host) enginePID(keeper int) int {
	h.t.Helper()
	var engine int
	h.eventually("there is an engine", func() error {
		for _, pid := range children(keeper) {
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && strings.Contains(string(cmdline), "\x00engine\x00") {
				engine = pid
				return nil
			}
		}
		return errors.New("none")
	})
	return engine
}

func children(parent int) []int {
	var pids []int
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, path := range entries {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 1 && fields[1] == strconv.Itoa(parent) && fields[0] != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (h *host) descriptors(pid int) int {
	h.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		h.t.Fatal(err)
	}
	return len(entries)
}

// noZombies checks that no dead child of the keeper outlives a second.
func (h *host) noZombies(keeper int) {
	h.t.Helper()
	seen := zombies(keeper)
	if len(seen) == 0 {
		return
	}
	second := time.NewTimer(time.Second)
	<-second.C
	for _, pid := range zombies(keeper) {
		if slices.Contains(seen, pid) {
			h.t.Errorf("pid %d has been a zombie for a second", pid)
		}
	}
}
