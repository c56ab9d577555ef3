package supervisor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/supervisor"
	"hermes/internal/testkit"
)

// What was broken or stopped before a boot is not started by it: a test for
// each guard, which `make mutate-gates` takes away.

// staysDown checks that a gateway is left alone, however long it is waited for.
func (r *rig) staysDown(name string, want profile.State) {
	r.t.Helper()
	r.is(name, want)
	r.pass(24 * time.Hour)
	r.is(name, want)
	r.spawned(name, 0)
}

func TestParkedIsDownAtBoot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.writeJSON("anna", "supervision.json", profile.Supervision{
			Version: 1, Keeper: "before", State: profile.StateParked, Reason: "exit 78: typo", IntentGeneration: 3,
			Exits: []profile.Exit{{Run: 1, Code: 78}},
		})
		r.boot()
		r.staysDown("anna", profile.StateParked)
		if g := r.gateway("anna"); g.Reason != "exit 78: typo" || g.Intent != "running" {
			t.Errorf("%+v", g)
		}
	})
}

func TestBackoffIsKeptAtBoot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.writeJSON("anna", "supervision.json", profile.Supervision{
			Version: 1, Keeper: "before", State: profile.StateBackoff, Failures: 9, NextRetryAt: time.Now().Add(time.Minute),
			IntentGeneration: 3, Exits: []profile.Exit{{Run: 1, Code: 1}},
		})
		r.boot()
		r.pass(time.Minute - time.Second)
		r.is("anna", profile.StateBackoff)
		r.spawned("anna", 0)
		r.pass(time.Second)
		r.is("anna", profile.StateRunning)
		r.end("anna", 1)
		r.is("anna", profile.StateBackoff)
		if got := r.observed("anna"); got.Failures != 10 {
			t.Errorf("%d failures, want the tenth", got.Failures)
		}
	})
}

func TestStoppedIsDownAtBoot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.must(stopIt, "anna")
		r.reboot()
		r.staysDown("anna", profile.StateStopped)
	})
}

// TestOriginalsGatewayIsDownAtBoot: in a home of the original, what was not
// running is registered, stays down, and is so for good.
func TestOriginalsGatewayIsDownAtBoot(t *testing.T) {
	for name, content := range map[string]string{
		"stopped":        `{"gateway_state":"stopped"}`,
		"starting":       `{"gateway_state":"starting","pid":1}`,
		"startup_failed": `{"gateway_state":"startup_failed","exit_reason":"no key"}`,
		"unknown word":   `{"gateway_state":"dreaming"}`,
		"none":           `{}`,
		"corrupt":        `{"gateway_state":"running"`,
		"no file":        "",
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.profile("anna")
				if content != "" {
					r.write("anna", "gateway_state.json", content)
				}
				r.boot()
				r.staysDown("anna", profile.StateStopped)
				if i := r.intent("anna"); i.Intent != profile.Stopped || i.ChangedBy != "migration" {
					t.Errorf("intent %+v", i)
				}
			})
		})
	}
}

// TestUnreadableIsDownForThisBoot: of a file that cannot be read now nothing is
// concluded. Nothing is started, nothing is written, and the reason is shown.
func TestUnreadableIsDownForThisBoot(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	for _, file := range []string{"gateway_intent.json", "supervision.json", "gateway_state.json"} {
		t.Run(file, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.profile("anna")
				if file == "supervision.json" {
					r.intend("anna", profile.Running)
				}
				r.write("anna", file, `{"version":1,"gateway_state":"running","intent":"running","generation":3}`)
				if err := os.Chmod(r.path("anna", file), 0); err != nil {
					t.Fatal(err)
				}
				r.boot()
				r.staysDown("anna", profile.StateStopped)
				if g := r.gateway("anna"); !strings.Contains(g.Reason, file) {
					t.Errorf("the reason is %q", g.Reason)
				}
				if info, err := os.Lstat(r.path("anna", file)); err != nil || info.Mode().Perm() != 0 {
					t.Errorf("%s was touched: %v, %v", file, info, err)
				}
				if err := os.Chmod(r.path("anna", file), 0o644); err != nil {
					t.Fatal(err)
				}
				r.reboot()
				r.is("anna", profile.StateRunning)
			})
		})
	}
}

// TestIntentThatCannotBeWrittenIsDown: no gateway runs without its intent on
// disk, or the boot after this one would not know of it.
func TestIntentThatCannotBeWrittenIsDown(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.write("anna", "gateway_state.json", `{"gateway_state":"running"}`)
		if err := os.Chmod(r.path("anna"), 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(r.path("anna"), 0o755)
		r.boot()
		r.staysDown("anna", profile.StateStopped)
		if g := r.gateway("anna"); !strings.Contains(g.Reason, "gateway_intent.json") {
			t.Errorf("the reason is %q", g.Reason)
		}
	})
}

// TestNoSuperviseIsDownForThisBoot: what the container's command runs itself
// has no second copy in its slot, and its intent is untouched.
func TestNoSuperviseIsDownForThisBoot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.options.Commands = []reconcile.Command{{Profile: "anna", Foreground: true}}
		r.boot()
		r.staysDown("anna", profile.StateStopped)
		if i := r.intent("anna"); i.Intent != profile.Running || i.ChangedBy != "test" {
			t.Errorf("its intent was touched: %+v", i)
		}
	})
}

// TestStoppedIsDownWhenTheSupervisorReturns: the container's command is a wish
// of the boot, and a stop since then holds.
func TestStoppedIsDownWhenTheSupervisorReturns(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.options.Commands = []reconcile.Command{{Profile: "anna"}}
		r.boot("bert")
		r.must(stopIt, "anna", "bert")
		r.kill()
		r.start(supervisor.BootRequest{Returning: true, Wanted: []profile.Name{"bert"}, By: "hermes up"})
		r.pass(24 * time.Hour)
		r.fleetIs("anna stopped, bert stopped")
		r.spawned("anna", 1)
		r.spawned("bert", 1)
	})
}
