package fleettest

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// proveRegister: what comes and goes leaves nothing behind.
func proveRegister(t *testing.T, s suite) {
	before := s.World.Slots(t)
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	if _, err := s.Fleet.Rename(s.ctx, "anna", "bert", "suite"); err != nil {
		t.Fatal(err)
	}
	if got := s.World.Slots(t); !slices.Contains(got, "gateway-bert") || slices.Contains(got, "gateway-anna") {
		t.Errorf("the engine has %v", got)
	}
	if err := s.Fleet.Delete(s.ctx, "bert", "suite"); err != nil {
		t.Fatal(err)
	}
	if got := s.World.Slots(t); !slices.Equal(got, before) {
		t.Errorf("the engine has %v, had %v", got, before)
	}
}

func proveIntent(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.create(t, "bert", Program{})
	s.start(t, "anna")
	s.start(t, "bert")
	s.stop(t, "bert")
	for name, want := range map[profile.Name]string{"anna": "running", "bert": "stopped"} {
		b, err := os.ReadFile(s.path(name, "gateway_intent.json"))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(b), " ", ""), `"intent":"`+want+`"`) {
			t.Errorf("on disk of %s: %s, %v", name, b, err)
		}
	}
	s.World.Replace(t, s.Subject, "bert")
	s.World.Replace(t, s.Subject, "anna")
	s.until(t, "anna", "runs", func(g api.Gateway) bool { return g.State == "running" && g.Intent == "running" })
	s.is(t, "bert", profile.StateStopped, profile.Stopped)
	s.dead(t, "bert")
}

func proveRevive(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	first := s.start(t, "anna")
	s.World.Kill(t, "anna")
	g := s.until(t, "anna", "runs again", func(g api.Gateway) bool { return g.State == "running" && g.PID != first.PID })
	if g.Intent != "running" || g.Restarts != 1 || g.LastExit == nil || g.LastExit.Signal != "SIGKILL" || g.LastExit.Asked {
		t.Errorf("it is %+v, its last exit %+v", g, g.LastExit)
	}
	s.alive(t, "anna", g.PID)
}

func provePark(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Exits, Code: profile.ExitConfig, Says: "the model has no name"})
	for i := 1; i <= 2; i++ {
		// Whether it was up for a moment is the race of the two.
		if _, err := s.Fleet.Start(s.ctx, "anna", request()); err != nil {
			fails(t, "Start", err, fault.GatewayFailed)
		}
		g := s.until(t, "anna", "is parked", inState(profile.StateParked))
		if g.Intent != "running" || g.PID != 0 || g.NextRetryAt != nil || g.LastExit == nil || g.LastExit.Code == nil || *g.LastExit.Code != profile.ExitConfig {
			t.Errorf("it is %+v, its last exit %+v", g, g.LastExit)
		}
		if want := "exit 78 (configuration)"; !strings.HasPrefix(g.Reason, want) || s.World.Real() && g.Reason != want+": the model has no name" {
			t.Errorf("its reason is %q", g.Reason)
		}
		exits, err := s.Fleet.Exits(s.ctx, "anna")
		if err != nil || len(exits.Exits) != i {
			t.Errorf("after %d commands it ended %d times, %v", i, len(exits.Exits), err)
		}
	}
	s.World.Replace(t, s.Subject, "anna")
	if g := s.is(t, "anna", profile.StateParked, profile.Running); !strings.HasPrefix(g.Reason, "exit 78") {
		t.Errorf("its reason is %q now", g.Reason)
	}
	s.configure(t, "anna", Program{})
	s.start(t, "anna")
	if g := s.gateway(t, "anna"); g.Reason != "" {
		t.Errorf("it runs and says %q", g.Reason)
	}
}

func proveHistory(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	s.World.Kill(t, "anna")
	s.until(t, "anna", "runs again", func(g api.Gateway) bool { return g.State == "running" && g.Restarts == 1 })
	s.stop(t, "anna")
	s.World.Replace(t, s.Subject, "anna")
	exits, err := s.Fleet.Exits(s.ctx, "anna")
	if err != nil || len(exits.Exits) != 2 {
		t.Fatalf("Exits: %+v, %v", exits, err)
	}
	asked, crash := exits.Exits[0], exits.Exits[1]
	if asked.Signal != "SIGTERM" || !asked.Asked || crash.Signal != "SIGKILL" || crash.Asked || !crash.Started.Before(asked.Started) || asked.At.Before(asked.Started) {
		t.Errorf("it ended with %+v and then %+v", crash, asked)
	}
	until(t, "both are on disk", func() bool {
		b, err := os.ReadFile(s.path("anna", "supervision.json"))
		return err == nil && strings.Count(string(b), `"SIGKILL"`) == 1 && strings.Count(string(b), `"SIGTERM"`) == 1
	}, nothing)
}

func proveReadyExec(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	if g := s.start(t, "anna"); g.State != "running" || g.Health != "unknown" {
		t.Errorf("it is %+v", g)
	}
}

// waits proves that a start of anna is answered when it is ready, and not
// before.
func (s suite) waits(t *testing.T, ready func()) api.Gateway {
	t.Helper()
	const name profile.Name = "anna"
	type answer struct {
		res api.ActionResult
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := s.Fleet.Start(s.ctx, name, profile.Request{By: "suite"})
		answered <- answer{res, err}
	}()
	g := s.until(t, name, "is starting", func(g api.Gateway) bool { return g.State == "starting" && g.PID != 0 })
	if s.World.Real() { // else it might be on the way to its exec, after which nothing is waited for
		until(t, "its program has begun", func() bool { _, err := os.Stat(s.path(name, upFile)); return err == nil }, nothing)
		g = s.is(t, name, profile.StateStarting, profile.Running)
	}
	if g.Health != "unready" || g.ReadyAt != nil {
		t.Errorf("it is %+v", g)
	}
	select {
	case a := <-answered:
		t.Fatalf("Start answered before it was ready: %+v", a)
	default:
	}
	ready()
	a := <-answered
	if a.err != nil || a.res.Gateway.State != "running" || a.res.Gateway.PID != g.PID || a.res.Gateway.ReadyAt == nil {
		t.Fatalf("Start: %+v", a)
	}
	return a.res.Gateway
}

func proveReadyBuiltIn(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	s.waits(t, func() { s.World.Notify(t, "anna", "READY=1") })
}

func proveReadyNotify(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Speaks, Ready: "notify"})
	s.waits(t, func() { s.World.Notify(t, "anna", "READY=1") })
}

func proveReadyHTTP(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Serves, Ready: "http:/health"})
	s.waits(t, func() { s.put(t, "anna", serveFile, "") })
}

func proveStartTimeout(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn}, "start_timeout: 1s")
	_, err := s.Fleet.Start(s.ctx, "anna", request())
	if f := failure(t, "Start", err, fault.GatewayFailed); !strings.Contains(f.Msg, "not ready in 1s") {
		t.Errorf("it says %q", f.Msg)
	}
	g := s.until(t, "anna", "has failed", func(g api.Gateway) bool { return g.Failures > 0 })
	if g.LastExit == nil || g.LastExit.Reason != "not ready in 1s" {
		t.Errorf("its last exit is %+v", g.LastExit)
	}
}

// starts are when the runs of a gateway began that have ended, oldest first.
func (s suite) starts(t *testing.T, name profile.Name) []time.Time {
	t.Helper()
	exits, err := s.Fleet.Exits(s.ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	var all []time.Time
	for _, e := range slices.Backward(exits.Exits) {
		all = append(all, e.Started)
	}
	return all
}

func proveBackoff(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Exits, Code: 1})
	_, _ = s.Fleet.Start(s.ctx, "anna", request()) // up for a moment or not
	g := s.until(t, "anna", "has failed four times and waits", func(g api.Gateway) bool { return g.Failures >= 4 && g.State == "backoff" })
	if g.NextRetryAt == nil || g.LastExit == nil || g.Intent != "running" || !strings.HasPrefix(g.Reason, "exit 1") {
		t.Fatalf("it is %+v", g)
	}
	// The first wait is 250 ms; this is the fourth, less its jitter.
	if wait := g.NextRetryAt.Sub(g.LastExit.At); wait < 1500*time.Millisecond {
		t.Errorf("after %d failures it waits for %s", g.Failures, wait)
	}
	s.stop(t, "anna") // which is no reason to wait
	s.configure(t, "anna", Program{})
	if g := s.start(t, "anna"); g.Failures != 0 {
		t.Errorf("started it is %+v", g)
	}
}

func provePolicy(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Exits, Code: 1}, "restart: never")
	s.create(t, "bert", Program{Kind: Exits, Code: 0}, "restart: on-failure")
	for _, name := range []profile.Name{"anna", "bert"} {
		_, _ = s.Fleet.Start(s.ctx, name, request()) // up for a moment or not
		g := s.until(t, name, "is left down", func(g api.Gateway) bool { return g.State == "stopped" && g.LastExit != nil })
		if g.Intent != "running" || !strings.HasPrefix(g.Reason, "ended by itself") {
			t.Errorf("it is %+v", g)
		}
		if at := s.starts(t, name); len(at) != 1 {
			t.Errorf("%s ran %d times", name, len(at))
		}
	}
	s.configure(t, "anna", Program{}, "restart: never")
	s.start(t, "anna")
}

func proveAdoption(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	before := s.start(t, "anna")
	s.World.Replace(t, s.Subject, "anna")
	after := s.until(t, "anna", "runs", inState(profile.StateRunning))
	if after.PID != before.PID || after.Restarts != before.Restarts || after.LastExit != nil {
		t.Errorf("it is %+v, was %+v", after, before)
	}
	s.alive(t, "anna", before.PID)
	s.stop(t, "anna")
	s.dead(t, "anna")
}

func proveHealth(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	s.waits(t, func() { s.World.Notify(t, "anna", "READY=1\nX_HERMES_HEALTH=ok") })
	s.World.Notify(t, "anna", "X_HERMES_HEALTH=degraded\nSTATUS=no disk")
	s.until(t, "anna", "is degraded", func(g api.Gateway) bool { return g.Health == "degraded" && g.Status == "no disk" })
}

func proveDiscovery(t *testing.T, s suite) {
	s.byHand(t, "anna")
	until(t, "it has a slot", func() bool { return slices.Contains(s.World.Slots(t), "gateway-anna") }, nothing)
	s.is(t, "anna", profile.StateStopped, profile.Stopped)
}

// leaves starts a gateway that leaves a process behind, and returns its pid.
func (s suite) leaves(t *testing.T, name profile.Name) int {
	t.Helper()
	s.create(t, name, Program{Kind: Leaves})
	s.start(t, name)
	left := 0
	until(t, "it has started another process", func() bool {
		b, _ := os.ReadFile(s.path(name, "left"))
		left, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return left > 0
	}, nothing)
	t.Cleanup(func() { _ = unix.Kill(left, unix.SIGKILL) })
	return left
}

func proveStrays(t *testing.T, s suite) {
	left := s.leaves(t, "anna")
	s.stop(t, "anna")
	until(t, "what it left has ended", func() bool { return !lives(left) }, nothing)
	exits, err := s.Fleet.Exits(s.ctx, "anna")
	if err != nil || len(exits.Exits) != 1 || len(exits.Exits[0].Strays) != 1 || exits.Exits[0].Strays[0].PID != left {
		t.Errorf("Exits: %+v, %v; left was %d", exits, err, left)
	}
}

func proveEvents(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	if s.Events == nil {
		t.Fatal("there are none")
	}
	list := s.Events.Page(last())
	if i := slices.IndexFunc(list.Events, func(e api.Event) bool { return e.Kind == api.EventState && e.Profile == "anna" && e.To == "running" }); i < 0 {
		t.Errorf("it tells %+v", list)
	}
	if list, err := s.serve(t, true).ListEvents(s.ctx, clientQuery()); err != nil || len(list.Events) == 0 {
		t.Errorf("asked over the API: %+v, %v", list, err)
	}
}

func proveJSONLogs(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Speaks, Ready: "exec"})
	s.start(t, "anna")
	s.World.Print(t, "anna", "hello")
	until(t, "it is on stdout as JSON", func() bool {
		out := s.World.Stdout()
		return strings.Contains(out, `"profile":"anna"`) && strings.Contains(out, `"hello"`)
	}, s.World.Stdout)
}
