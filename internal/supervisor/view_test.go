package supervisor_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
)

func TestFleetView(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("zoe")
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		fleet, err := r.fleet.Fleet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fleet.Manager != "native (host supervisor)" || fleet.Engine != "native" || fleet.Home != r.dir ||
			fleet.KeeperPID != 7 || fleet.EnginePID != os.Getpid() || fleet.Version != "test" || len(fleet.Notices) != 0 {
			t.Errorf("%+v", fleet)
		}
		var names []string
		for _, g := range fleet.Gateways {
			names = append(names, g.Profile)
		}
		if !slices.Equal(names, []string{"default", "anna", "zoe"}) {
			t.Errorf("in the order %v", names)
		}
		g := fleet.Gateways[1]
		if g.Slot != "gateway-anna" || g.Intent != "running" || g.IntentBy != "hermes up" || g.IntentAt == nil ||
			g.Health != "unknown" || g.Since == nil || time.Since(*g.Since) != time.Second || g.LastExit != nil {
			t.Errorf("%+v", g)
		}
		if health := r.fleet.Live(t.Context()); !health.OK {
			t.Error("not live")
		}
	})
}

// TestTimesOfARun: when the run in hand began and when it was ready, whoever
// was its supervisor then.
func TestTimesOfARun(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot("anna")
	r.until("anna has a run", func() bool { return r.gateway("anna").PID != 0 })
	began := r.gateway("anna")
	if began.StartedAt == nil || time.Since(*began.StartedAt) > time.Minute || began.ReadyAt != nil {
		t.Fatalf("as it starts: since %v, ready %v", began.StartedAt, began.ReadyAt)
	}
	r.tell("anna", "READY=1")
	r.untilState("anna", profile.StateRunning)
	ready := r.gateway("anna")
	if ready.ReadyAt == nil || ready.ReadyAt.Before(*ready.StartedAt) || !ready.StartedAt.Equal(*began.StartedAt) {
		t.Fatalf("once it is ready: since %v, ready %v", ready.StartedAt, ready.ReadyAt)
	}
	r.options.EngineRestarts = 2
	r.comeBack()
	if fleet, err := r.fleet.Fleet(t.Context()); err != nil || fleet.EngineRestarts != 2 {
		t.Errorf("%d engines before this one, %v", fleet.EngineRestarts, err)
	}
	after := r.gateway("anna")
	if after.StartedAt == nil || !after.StartedAt.Equal(*ready.StartedAt) || after.ReadyAt == nil || !after.ReadyAt.Equal(*ready.ReadyAt) {
		t.Errorf("by the next supervisor: since %v, ready %v, not %v and %v", after.StartedAt, after.ReadyAt, ready.StartedAt, ready.ReadyAt)
	}
	r.must(stopIt, "anna")
	if down := r.gateway("anna"); down.StartedAt != nil || down.ReadyAt != nil {
		t.Errorf("without a run: since %v, ready %v", down.StartedAt, down.ReadyAt)
	}
}

// TestFailures counts the failed runs in a row.
func TestFailures(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		failures := func(want int) {
			t.Helper()
			if got := r.gateway("anna").Failures; got != want {
				t.Fatalf("%d failures, want %d", got, want)
			}
		}
		failures(0)
		for n := range 3 {
			r.end("anna", 1)
			failures(n + 1)
			r.pass(time.Until(*r.gateway("anna").NextRetryAt))
		}
		failures(3)
		r.pass(11 * time.Second)
		failures(0)
		r.end("anna", 1) // started again at once, as it had been healthy
		r.end("anna", 1)
		failures(1)
		r.must(startIt, "anna")
		failures(0)
	})
}

// TestReportedHealth: a command that says nothing to us may write the
// original's file; it counts if the pid is its own.
func TestReportedHealth(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		pid := r.gateway("anna").PID
		for state, want := range map[string]string{
			"running": "ok", "degraded": "degraded", "draining": "draining", "starting": "unready", "dancing": "unknown",
		} {
			r.write("anna", "gateway_state.json", fmt.Sprintf(`{"gateway_state":%q,"pid":%d}`, state, pid))
			if got := r.gateway("anna").Health; pid <= 1<<22 && got != want {
				t.Errorf("%s: health %s, want %s", state, got, want)
			}
		}
		r.write("anna", "gateway_state.json", `{"gateway_state":"running","pid":1}`)
		if got := r.gateway("anna").Health; got != "unknown" {
			t.Errorf("another process's health was taken: %s", got)
		}
	})
}

// TestReportedHealthChanges: what was read once is not believed for ever, not
// even where the file stays as long as it was.
func TestReportedHealthChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, enginetest.NewFake())
	r.profile("anna")
	if err := r.open(asOurselves{r.fake}).Boot(t.Context(), bootRequest()); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.must(startIt, "anna")
	say := func(state string) {
		r.write("anna", "gateway_state.json", fmt.Sprintf(`{"gateway_state":%q,"pid":%d}`, state, r.gateway("anna").PID))
	}
	say("degraded")
	r.until("it is remembered", func() bool {
		return r.gateway("anna").Health == "degraded" && r.fleet.Remembers("anna")
	})
	for _, state := range []string{"draining", "degraded"} {
		say(state)
		if got := r.gateway("anna").Health; got != state {
			t.Errorf("health %s, want %s", got, state)
		}
	}
}

func TestReady(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "bert", "cleo"} {
			r.profile(name)
		}
		r.boot("anna", "bert")
		if h := r.fleet.Ready(t.Context()); !h.OK || len(h.Conditions) != 0 {
			t.Errorf("%+v", h)
		}
		r.end("bert", 78)
		h := r.fleet.Ready(t.Context())
		if h.OK || len(h.Conditions) != 1 {
			t.Fatalf("%+v", h)
		}
		want := api.Condition{
			Profile: "bert", Code: "gateway_parked", Hint: "hermes why bert",
			Message: "gateway-bert is parked: exit 78 (configuration)",
		}
		if h.Conditions[0] != want {
			t.Errorf("%+v", h.Conditions[0])
		}
	})
}

// TestWhy: the past, the newest first, and what comes next with a command that
// can be typed.
func TestWhy(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "start_timeout: 1h")
		r.boot("anna")
		why := func(next string) api.Why {
			t.Helper()
			w, err := r.fleet.Why(t.Context(), "anna")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(w.Next, next) || strings.Contains(w.Hint, "(") {
				t.Errorf("next %q, hint %q, want %q", w.Next, w.Hint, next)
			}
			return w
		}
		why("it runs as wanted")
		for code := range 8 {
			r.end("anna", code+1)
			if code < 7 {
				r.pass(time.Until(*r.gateway("anna").NextRetryAt))
			}
		}
		w := why("it failed and is started again in ")
		if len(w.Exits) != 5 || *w.Exits[0].Code != 8 || *w.Exits[4].Code != 4 || w.Hint != "hermes gateway start anna" {
			t.Errorf("%+v", w)
		}
		r.must(startIt, "anna")
		r.end("anna", 78)
		why("nothing until its configuration is corrected")
		r.configure("anna", "restart: never")
		r.must(startIt, "anna")
		r.end("anna", 0)
		why("it stays down although it is wanted")
		r.must(stopIt, "anna")
		why("it stays down until it is started")
		r.configure("anna", "ready: notify")
		r.ask(startIt, "anna")
		why("it is starting")
		if _, err := r.fleet.Why(t.Context(), "typo"); err == nil {
			t.Error("a reason for what is not there")
		}
	})
}

// TestWhyShowsTheLog and nothing of it that a terminal would obey.
func TestWhyShowsTheLog(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot("anna")
	var said strings.Builder
	for i := range 12 {
		fmt.Fprintf(&said, "line %d \x1b]0;title\x07\n", i)
	}
	if err := r.fake.Write(slotOf("anna"), said.String()); err != nil {
		t.Fatal(err)
	}
	r.until("it is shown", func() bool {
		w, err := r.fleet.Why(t.Context(), "anna")
		return err == nil && len(w.Log) == 10 && strings.HasSuffix(w.Log[9], "line 11 ]0;title")
	})
	r.tell("anna", "READY=1\nX_HERMES_HEALTH=degraded")
	r.untilState("anna", profile.StateRunning)
	r.until("its health is shown", func() bool { return r.gateway("anna").Health == "degraded" })
	if w, _ := r.fleet.Why(t.Context(), "anna"); !strings.Contains(w.Next, "degraded") {
		t.Errorf("next %q", w.Next)
	}
}

// TestMemory is that of the process.
func TestMemory(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		if err := r.open(asOurselves{r.fake}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.must(startIt, "anna")
		if got := r.gateway("anna").MemoryBytes; got < 1<<20 {
			t.Errorf("we take %d bytes", got)
		}
		r.must(stopIt, "anna")
		if got := r.gateway("anna").MemoryBytes; got != 0 {
			t.Errorf("nothing takes %d bytes", got)
		}
	})
}

// TestOutcomes: what becomes of the gateways that are wanted, as it is known.
func TestOutcomes(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert", "comand: x")
		r.profile("cleo", "ready: notify", "start_timeout: 10s")
		r.profile("dora")
		r.boot("anna", "bert", "cleo")
		got := map[string]string{}
		wanted := r.fleet.Outcomes(t.Context(), func(a api.ActionResult) {
			got[a.Gateway.Profile] = a.Gateway.State
			if a.Error != nil {
				got[a.Gateway.Profile] += " " + a.Error.Code
			}
		})
		if wanted != 3 || got["anna"] != "running" || got["bert"] != "parked gateway_failed" || got["cleo"] != "backoff gateway_failed" {
			t.Errorf("%d: %v", wanted, got)
		}
	})
}
