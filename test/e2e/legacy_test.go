package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHomeOfTheOriginalBootsTwice: a home with nothing but gateway_state.json
// files boots as the original would have, writes the intents it derived, and
// boots the same way again although the gateways' files have changed by then.
func TestHomeOfTheOriginalBootsTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	want := legacyHome(&h.homeDir, h.probe)
	h.probe("l-unreadable")
	h.write("l-unreadable", "gateway_state.json", `{"gateway_state":"running"}`)
	unreadable := filepath.Join(h.dir("l-unreadable"), "gateway_state.json")
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}

	for boot := 1; boot <= 2; boot++ {
		h.start()
		for name, state := range want {
			h.state(name, state)
			if got := h.intent(name); got != state {
				t.Errorf("boot %d: %s: intent %s, want %s", boot, name, got, state)
			}
		}
		g := h.gateway("l-unreadable")
		if g.State != "stopped" || !strings.Contains(g.Reason, "gateway_state.json") {
			t.Errorf("boot %d: l-unreadable: %s, reason %q", boot, g.State, g.Reason)
		}
		if _, err := os.Stat(filepath.Join(h.dir("l-unreadable"), "gateway_intent.json")); !os.IsNotExist(err) {
			t.Errorf("boot %d: an intent was derived from a file that cannot be read", boot)
		}
		h.stop()
	}
	starts := map[string]int{}
	for name, state := range want {
		starts[name] = map[string]int{"running": 2, "stopped": 0}[state]
	}
	h.noDoubles(starts)
	for _, file := range []string{"gateway.pid", "processes.json"} {
		if _, err := os.Stat(filepath.Join(h.dir("l-running"), file)); !os.IsNotExist(err) {
			t.Errorf("stale %s is still there", file)
		}
	}
	log, err := os.ReadFile(filepath.Join(h.home, "logs/container-boot.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"profile=default prior_state=none action=registered",
		"profile=l-running prior_state=running action=started",
		"profile=l-failed prior_state=startup_failed action=registered",
		"profile=l-corrupt prior_state=corrupt action=registered",
		"profile=l-missing prior_state=none action=registered",
		"profile=l-unreadable prior_state=unreadable action=registered",
	} {
		if !strings.Contains(string(log), line) {
			t.Errorf("container-boot.log has no %q:\n%s", line, log)
		}
	}
	// Made readable, it is a home of the original like the others.
	if err := os.Chmod(unreadable, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.state("l-unreadable", "running")
}

// legacyHome makes the profiles of a home of the original, all with stale files,
// and tells what boot is to make of each.
func legacyHome(h *homeDir, probe func(name string, flags ...string)) (want map[string]string) {
	states := map[string]string{
		"l-running":  `{"gateway_state":"running","pid":999999,"active_agents":0}`,
		"l-degraded": `{"gateway_state":"degraded"}`,
		"l-draining": `{"gateway_state":"draining","restart_requested":true}`,
		"l-stopped":  `{"gateway_state":"stopped"}`,
		"l-starting": `{"gateway_state":"starting"}`,
		"l-failed":   `{"gateway_state":"startup_failed","exit_reason":"no token"}`,
		"l-desired":  `{"gateway_state":"stopped","desired_state":"running"}`,
		"l-corrupt":  `{"gateway_state":"runn`,
		"l-missing":  "",
	}
	for name, content := range states {
		probe(name)
		if content != "" {
			h.write(name, "gateway_state.json", content)
		}
		h.write(name, "gateway.pid", "999999")
		h.write(name, "processes.json", "[]")
	}
	return map[string]string{
		"l-running": "running", "l-degraded": "running", "l-draining": "running", "l-desired": "running",
		"l-stopped": "stopped", "l-starting": "stopped", "l-failed": "stopped", "l-corrupt": "stopped", "l-missing": "stopped",
	}
}

// TestHomeOfTheOriginalInDocker is the same in both images, over a restart.
func TestHomeOfTheOriginalInDocker(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		want := legacyHome(&d.homeDir, d.probe)
		d.run(nil)
		for boot := 1; boot <= 2; boot++ {
			d.eventually("every gateway is as it was", func() error {
				f, err := d.fleet()
				seen := 0
				for _, g := range f.Gateways {
					if state, ours := want[g.Profile]; ours {
						seen++
						if g.State != state || g.Intent != state {
							err = errors.Join(err, fmt.Errorf("boot %d: %s is %s, meant %s, want %s", boot, g.Profile, g.State, g.Intent, state))
						}
					}
				}
				if err == nil && seen != len(want) {
					err = fmt.Errorf("%d of %d gateways", seen, len(want))
				}
				return err
			})
			for name, state := range want {
				d.started(name, map[string]int{"running": boot, "stopped": 0}[state])
				for _, file := range []string{"gateway.pid", "processes.json"} {
					if _, err := os.Stat(filepath.Join(d.dir(name), file)); !os.IsNotExist(err) {
						t.Errorf("%s: stale %s is still there", name, file)
					}
				}
			}
			if boot == 1 {
				d.docker("restart", d.name)
			}
		}
	})
}

// TestTwoRestartsWithinAStart: gateways that were interrupted while starting
// come back; none is held.
func TestTwoRestartsWithinAStart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var names []string
	for i := range 8 {
		name := fmt.Sprintf("slow-%d", i)
		names = append(names, name)
		h.probe(name, "-notify", "-after", "300ms")
	}
	h.start(names...)
	h.stop()
	h.start()
	h.stop()
	h.start()
	for _, name := range names {
		h.state(name, "running")
	}
}
