package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"hermes/api"
	"hermes/internal/event"
)

// follower is `hermes events -f --json` and what it has printed.
type follower struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once its output has ended

	mu     sync.Mutex // guards what follows
	events []api.Event
	alien  []string // lines that are no events
}

// follow starts a follower from the first event on.
func (h *host) follow(args ...string) *follower {
	h.t.Helper()
	f := &follower{done: make(chan struct{})}
	f.cmd = exec.Command(h.binary, append([]string{"events", "-f", "--json", "--after", "0"}, args...)...)
	f.cmd.Env, f.cmd.Dir, f.cmd.SysProcAttr = h.env, h.home, h.attr()
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { // ends with the follower
		defer close(f.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e api.Event
			err := json.Unmarshal(lines.Bytes(), &e)
			f.mu.Lock()
			if err != nil || e.ID == 0 {
				f.alien = append(f.alien, lines.Text())
			}
			f.events = append(f.events, e)
			f.mu.Unlock()
		}
	}()
	h.t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		<-f.done
		_ = f.cmd.Wait()
	})
	return f
}

func (f *follower) seen() []api.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]api.Event(nil), f.events...)
}

// caughtUp waits until the follower has printed as many events as the home has,
// and checks that they ascend.
func (h *host) caughtUp(f *follower) []api.Event {
	h.t.Helper()
	h.eventually("the follower has all events", func() error {
		kept, err := event.ReadHome(h.home, event.Query{})
		if err != nil {
			return err
		}
		got := f.seen()
		if len(kept.Events) != len(got) {
			return fmt.Errorf("it has %d of %d", len(got), len(kept.Events))
		}
		return nil
	})
	got := f.seen()
	for i := 1; i < len(got); i++ {
		if got[i].ID <= got[i-1].ID {
			h.t.Fatalf("event %d follows %d", got[i].ID, got[i-1].ID)
		}
	}
	if len(f.alien) > 0 {
		h.t.Errorf("lines that are no events: %q", f.alien)
	}
	return got
}

// TestEventsWhileEnginesAreKilled: one who follows sees each start and stop that
// was acknowledged exactly once, in order, and numbers that ascend, however
// often the engine is killed; and so do the files.
func TestEventsWhileEnginesAreKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	names := []string{"anna", "berta", "clara"}
	for _, name := range names {
		h.probe(name)
	}
	h.start()
	f := h.follow()
	rounds := soak(6)
	for range rounds {
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				for _, verb := range []string{"start", "stop", "start", "stop"} {
					if _, stderr, code := h.run("gateway", verb, name); code != 0 {
						t.Errorf("%s %s: exit %d: %s", verb, name, code, stderr)
					}
				}
			})
		}
		h.killEngine()
		h.killEngine()
		wg.Wait()
	}
	told := map[string][]string{}
	returned := 0
	for _, e := range h.caughtUp(f) {
		// A command that is repeated because the engine died over it may ask once
		// more for what is wanted already.
		if e.Kind == api.EventIntent && strings.HasPrefix(e.By, "cli ") && e.From != e.To {
			told[e.Profile] = append(told[e.Profile], e.To)
		}
		if e.Kind == api.EventEngine && e.To == api.EngineReturned {
			returned++
		}
	}
	want := strings.TrimSpace(strings.Repeat("running stopped ", 2*rounds))
	for _, name := range names {
		if got := strings.Join(told[name], " "); got != want {
			t.Errorf("%s was told %s, want %s", name, got, want)
		}
	}
	if returned != 2*rounds {
		t.Errorf("%d engines came back, the events say %d", 2*rounds, returned)
	}
}

// TestEventsAcrossSupervisors: one who follows waits for the next supervisor,
// misses nothing of the end of the one before, and ends as an interrupted
// command does.
func TestEventsAcrossSupervisors(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	f := h.follow("-p", "anna")
	var states []string
	seen := func(want string) {
		t.Helper()
		h.eventually("the follower has seen "+want, func() error {
			states = nil
			for _, e := range f.seen() {
				if e.Kind == api.EventState {
					states = append(states, e.To)
				}
			}
			if got := strings.Join(states, " "); got != want {
				return errors.New("it has seen " + got)
			}
			return nil
		})
	}
	h.start("anna")
	seen("starting running")
	h.stop()
	h.start()
	seen("starting running stopping stopped starting running")
	h.powerCut()
	h.start()
	seen("starting running stopping stopped starting running starting running")
	if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-f.done
	_ = f.cmd.Wait()
	if st := f.cmd.ProcessState.Sys().(syscall.WaitStatus); !st.Signaled() || st.Signal() != syscall.SIGINT {
		t.Errorf("interrupted, it ended with %v, which a shell does not report as 130", f.cmd.ProcessState)
	}
}
