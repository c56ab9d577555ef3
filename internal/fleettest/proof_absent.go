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
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func clientQuery() client.EventQuery { return client.EventQuery{} }

// proveNoReadyNotify: the program never says that it is ready.
func proveNoReadyNotify(t *testing.T, s suite) {
	proveAsExec(t, s, Program{Kind: Speaks, Ready: "notify"})
}

// proveNoReadyHTTP: the program never serves.
func proveNoReadyHTTP(t *testing.T, s suite) {
	proveAsExec(t, s, Program{Kind: Serves, Ready: "http:/health"})
}

// proveAsExec: a readiness that nobody hears of is that of exec, and that is
// said.
func proveAsExec(t *testing.T, s suite, p Program) {
	t.Helper()
	s.create(t, "anna", p)
	if g := s.start(t, "anna"); g.State != "running" || g.Health != "unknown" {
		t.Errorf("it is %+v", g)
	}
	config, err := s.Fleet.Config(s.ctx, "anna")
	if err != nil || !slices.ContainsFunc(config.Warnings, func(w string) bool { return strings.Contains(w, "gateway.ready") && strings.Contains(w, "exec") }) {
		t.Errorf("Config: %+v, %v", config, err)
	}
}

func proveNoStartTimeout(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn}, "start_timeout: 1s")
	_, err := s.Fleet.Start(s.ctx, "anna", request())
	if f := failure(t, "Start", err, fault.GatewayTimeout); !strings.Contains(f.Msg, "1s") {
		t.Errorf("it says %q", f.Msg)
	}
	g := s.is(t, "anna", profile.StateStarting, profile.Running)
	s.alive(t, "anna", g.PID)
	s.World.Notify(t, "anna", "READY=1")
	if ready := s.until(t, "anna", "runs", inState(profile.StateRunning)); ready.PID != g.PID {
		t.Errorf("another run became ready: %+v", ready)
	}
}

// proveNoBackoff: the sixth try comes as soon as the second.
func proveNoBackoff(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Exits, Code: 1})
	_, _ = s.Fleet.Start(s.ctx, "anna", request()) // up for a moment or not
	const failures = 6
	g := s.until(t, "anna", "has failed six times", func(g api.Gateway) bool { return g.Failures >= failures && g.State == "backoff" })
	if g.NextRetryAt != nil || g.Intent != "running" || !strings.HasPrefix(g.Reason, "exit 1") {
		t.Errorf("it is %+v", g)
	}
	at := s.starts(t, "anna")
	if len(at) < failures {
		t.Fatalf("it ended %d times", len(at))
	}
	// With a backoff these would be two seconds and four, less their jitter. One
	// of them may be a busy machine's.
	if pace := min(at[4].Sub(at[3]), at[5].Sub(at[4])); pace > 1400*time.Millisecond {
		t.Errorf("after five failures it was tried after %s", pace)
	}
	s.stop(t, "anna")
	s.dead(t, "anna")
}

// proveNoAdoption: there are two copies, the fleet says so, and what it says to
// type puts an end to it.
func proveNoAdoption(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	before := s.start(t, "anna")
	s.World.Replace(t, s.Subject, "anna")
	until(t, "there are two", func() bool { return len(s.World.Alive(t, "anna")) == 2 }, nothing)
	g := s.until(t, "anna", "runs", func(g api.Gateway) bool { return g.State == "running" && g.PID != before.PID })
	notice := s.notice(t, "second_copy")
	if !strings.Contains(notice.Message, "gateway-anna") || !strings.Contains(notice.Message, strconv.Itoa(before.PID)) {
		t.Errorf("it says %q, the stray is %d", notice.Message, before.PID)
	}
	if h := s.Fleet.Ready(s.ctx); h.OK {
		t.Error("a fleet with two copies is ready")
	}
	s.obey(t, notice.Hint)
	until(t, "one is left", func() bool { return slices.Equal(s.World.Alive(t, "anna"), []int{g.PID}) }, nothing)
	s.noNotice(t, "second_copy")
}

// obey does what a hint says: only `kill` is known.
func (s suite) obey(t *testing.T, hint string) {
	t.Helper()
	words := strings.Fields(hint)
	if len(words) < 2 || words[0] != "kill" {
		t.Fatalf("the hint is %q", hint)
	}
	sig := unix.SIGTERM
	for _, w := range words[1:] {
		if w == "-9" || w == "-KILL" {
			sig = unix.SIGKILL
			continue
		}
		if w == "--" {
			continue
		}
		pid, err := strconv.Atoi(w)
		if err != nil {
			t.Fatalf("the hint is %q", hint)
		}
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatalf("%s: %v", hint, err)
		}
	}
}

// notice waits for a notice of the fleet.
func (s suite) notice(t *testing.T, code string) (found api.Notice) {
	t.Helper()
	until(t, "the fleet tells "+code, func() bool {
		fleet, err := s.Fleet.Fleet(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(fleet.Notices, func(n api.Notice) bool { return n.Code == code })
		if i >= 0 {
			found = fleet.Notices[i]
		}
		return i >= 0
	}, nothing)
	return found
}

func (s suite) noNotice(t *testing.T, code string) {
	t.Helper()
	fleet, err := s.Fleet.Fleet(s.ctx)
	if err != nil || slices.ContainsFunc(fleet.Notices, func(n api.Notice) bool { return n.Code == code }) {
		t.Errorf("the fleet still tells %+v, %v", fleet.Notices, err)
	}
}

// proveNoHealth: what it says to nobody is not shown; what it writes is.
func proveNoHealth(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	ready := s.waits(t, func() { s.World.Notify(t, "anna", "READY=1\nX_HERMES_HEALTH=degraded\nSTATUS=no disk") })
	if g := s.gateway(t, "anna"); g.Health != "unknown" || g.Status != "" {
		t.Errorf("it is %+v", g)
	}
	s.put(t, "anna", "gateway_state.json", `{"gateway_state":"degraded","pid":`+strconv.Itoa(ready.PID)+`}`)
	s.until(t, "anna", "is degraded", func(g api.Gateway) bool { return g.Health == "degraded" })
}

func proveNoDiscovery(t *testing.T, s suite) {
	s.create(t, "bert", Program{Kind: Exits, Code: 1})
	s.byHand(t, "anna")
	// For as long as another one fails four times it is not noticed.
	_, _ = s.Fleet.Start(s.ctx, "bert", request()) // up for a moment or not
	s.until(t, "bert", "has failed four times", func(g api.Gateway) bool { return g.Failures >= 4 })
	if _, err := s.Fleet.Fleet(s.ctx); err != nil {
		t.Fatal(err)
	}
	if slots := s.World.Slots(t); slices.Contains(slots, "gateway-anna") {
		t.Errorf("the engine has %v", slots)
	}
	s.is(t, "anna", profile.StateStopped, profile.Intent(s.gateway(t, "anna").Intent))
	s.start(t, "anna")
	if slots := s.World.Slots(t); !slices.Contains(slots, "gateway-anna") {
		t.Errorf("the engine has %v", slots)
	}
}

func proveNoStrays(t *testing.T, s suite) {
	left := s.leaves(t, "anna")
	s.stop(t, "anna")
	if err := unix.Kill(left, 0); err != nil {
		t.Fatalf("what it left has gone: %v", err)
	}
	notice := s.notice(t, "stray")
	if !strings.Contains(notice.Message, "gateway-anna") || !strings.Contains(notice.Message, strconv.Itoa(left)) {
		t.Errorf("it says %q, the stray is %d", notice.Message, left)
	}
	s.obey(t, notice.Hint)
	until(t, "it has gone", func() bool { return !lives(left) }, nothing)
	s.noNotice(t, "stray")
}

// lives says whether a process runs; a zombie does not.
func lives(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func proveNoEvents(t *testing.T, s suite) {
	if s.Events != nil {
		t.Error("there are events all the same")
	}
	c := s.serve(t, true)
	_, err := c.ListEvents(s.ctx, clientQuery())
	if f := failure(t, "ListEvents", err, fault.EngineLacks); !strings.Contains(f.Msg, string(s.Engine)) || f.Hint == "" {
		t.Errorf("it says %q and hints at %q", f.Msg, f.Hint)
	}
	for _, err := range c.Events(s.ctx, 0, "") {
		fails(t, "Events", err, fault.EngineLacks)
	}
}

func proveNoJSONLogs(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Speaks, Ready: "exec"})
	s.start(t, "anna")
	s.World.Print(t, "anna", "hello")
	until(t, "it is on stdout as it is", func() bool { return strings.Contains(s.World.Stdout(), "[anna] hello\n") }, s.World.Stdout)
}
