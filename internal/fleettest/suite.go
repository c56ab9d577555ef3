package fleettest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// Run is the conformance suite.
func Run(t *testing.T, start Start) {
	for name, test := range map[string]func(*testing.T, suite){
		"create registers a slot":        testCreate,
		"list":                           testList,
		"start":                          testStart,
		"stop":                           testStop,
		"restart":                        testRestart,
		"no wait":                        testNoWait,
		"why, exits, config":             testInspect,
		"log":                            testLog,
		"stop all":                       testStopAll,
		"restart all":                    testRestartAll,
		"no other action on all":         testOtherAll,
		"delete":                         testDelete,
		"delete what does not stop":      testDeleteDeaf,
		"rename":                         testRename,
		"rename what is taken":           testRenameTaken,
		"the default profile":            testDefault,
		"unknown profile":                testUnknown,
		"missing program":                testMissing,
		"wrong configuration":            testWrongConfig,
		"start takes too long":           testStartTimeout,
		"stop takes too long":            testStopTimeout,
		"a stranger is denied":           testDenied,
		"an ended context":               testContext,
		"a profile without a slot":       testByHand,
		"health of the fleet":            testHealth,
		"no dashboard":                   testNoDashboard,
		"one slot from everywhere":       testOneSlot,
		"many slots at once":             testManySlots,
		"one name created twice at once": testCreateTwice,
	} {
		t.Run(name, func(t *testing.T) { test(t, begin(t, start, Options{})) })
	}
	t.Run("capabilities", func(t *testing.T) { proveAll(t, start) })
}

func begin(t *testing.T, start Start, o Options) suite {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	t.Cleanup(cancel)
	return suite{start(t, o), ctx}
}

func testCreate(t *testing.T, s suite) {
	made, err := s.Fleet.Create(s.ctx, "anna", "suite")
	if err != nil || made.Warning != "" || made.Name != "anna" || made.Path != s.path("anna", "")[:len(s.path("anna", ""))] || made.Port == 0 {
		t.Fatalf("Create: %+v, %v", made, err)
	}
	for _, file := range []string{"SOUL.md", "config.yaml", ".env"} {
		if _, err := os.Stat(s.path("anna", file)); err != nil {
			t.Error(err)
		}
	}
	if !slices.Contains(s.World.Slots(t), "gateway-anna") {
		t.Errorf("the engine has %v", s.World.Slots(t))
	}
	g := s.is(t, "anna", profile.StateStopped, profile.Stopped)
	if g.Profile != "anna" || g.Slot != "gateway-anna" || g.PID != 0 || g.Port != made.Port || g.IntentBy != "suite" {
		t.Errorf("its row is %+v", g)
	}
	_, err = s.Fleet.Create(s.ctx, "anna", "suite")
	fails(t, "Create again", err, fault.ProfileExists)
}

func testList(t *testing.T, s suite) {
	for _, name := range []profile.Name{"zoe", "anna"} {
		s.create(t, name, Program{})
	}
	all, err := s.Fleet.List(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := s.Fleet.Fleet(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if fleet.Engine != string(s.Engine) || !strings.HasPrefix(fleet.Manager, string(s.Engine)+" (") || fleet.Home != s.Home {
		t.Errorf("it is %s, %s, %s", fleet.Engine, fleet.Manager, fleet.Home)
	}
	want := []string{"default", "anna", "zoe"}
	var listed, rows []string
	for _, p := range all {
		listed = append(listed, p.Name)
		if p.Path == "" || p.Port == 0 {
			t.Errorf("it lists %+v", p)
		}
	}
	for _, g := range fleet.Gateways {
		rows = append(rows, g.Profile)
	}
	if !slices.Equal(listed, want) || !slices.Equal(rows, want) {
		t.Errorf("List has %v and Fleet %v, want %v", listed, rows, want)
	}
}

// alive checks that a gateway has one run and that it is the one shown. It may
// be about to be executed.
func (s suite) alive(t *testing.T, name profile.Name, pid int) {
	t.Helper()
	var pids []int
	until(t, string(name)+" lives", func() bool {
		pids = s.World.Alive(t, name)
		return len(pids) > 0
	}, nothing)
	if !slices.Equal(pids, []int{pid}) {
		t.Errorf("%s lives as %v, shown is %d", name, pids, pid)
	}
}

func (s suite) dead(t *testing.T, name profile.Name) {
	t.Helper()
	if pids := s.World.Alive(t, name); len(pids) != 0 {
		t.Errorf("%s lives as %v", name, pids)
	}
}

func testStart(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	first := s.start(t, "anna")
	if first.PID == 0 || first.State != "running" || first.Intent != "running" || first.IntentBy != "suite" || first.StartedAt == nil || first.Since == nil {
		t.Errorf("it answers with %+v", first)
	}
	s.alive(t, "anna", first.PID)
	again := s.start(t, "anna")
	if again.PID != first.PID || again.Restarts != 0 {
		t.Errorf("to start it again answers with %+v, pid was %d", again, first.PID)
	}
	s.alive(t, "anna", first.PID)
	if g := s.is(t, "anna", profile.StateRunning, profile.Running); g.PID != first.PID {
		t.Errorf("its row is %+v", g)
	}
}

func testStop(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	for range 2 {
		g := s.stop(t, "anna")
		if g.PID != 0 || g.State != "stopped" || g.Intent != "stopped" || g.Reason != "" {
			t.Errorf("it answers with %+v", g)
		}
		s.dead(t, "anna")
	}
	g := s.is(t, "anna", profile.StateStopped, profile.Stopped)
	if g.LastExit == nil || g.LastExit.Signal != "SIGTERM" || !g.LastExit.Asked {
		t.Errorf("its last exit is %+v", g.LastExit)
	}
	again := s.start(t, "anna")
	s.alive(t, "anna", again.PID)
}

func testRestart(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	res, err := s.Fleet.Restart(s.ctx, "anna", request())
	if err != nil || res.Gateway.State != "running" {
		t.Fatalf("Restart of one that is stopped: %+v, %v", res, err)
	}
	s.is(t, "anna", profile.StateRunning, profile.Running)
	first := res.Gateway.PID
	res, err = s.Fleet.Restart(s.ctx, "anna", request())
	if err != nil || res.Gateway.State != "running" || res.Gateway.PID == first {
		t.Fatalf("Restart: %+v, %v; pid was %d", res, err, first)
	}
	s.alive(t, "anna", res.Gateway.PID)
}

func testNoWait(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	r := request()
	r.NoWait = true
	if _, err := s.Fleet.Start(s.ctx, "anna", r); err != nil {
		t.Fatal(err)
	}
	s.until(t, "anna", "is starting", func(g api.Gateway) bool { return g.State == "starting" && g.Intent == "running" && g.PID != 0 })
	s.World.Notify(t, "anna", "READY=1")
	s.until(t, "anna", "runs", inState(profile.StateRunning))
	if _, err := s.Fleet.Stop(s.ctx, "anna", r); err != nil {
		t.Fatal(err)
	}
	s.until(t, "anna", "is stopped", inState(profile.StateStopped))
}

func testInspect(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	s.stop(t, "anna")
	why, err := s.Fleet.Why(s.ctx, "anna")
	if err != nil || why.Gateway.Profile != "anna" || len(why.Exits) != 1 || why.Next == "" || !strings.Contains(why.Hint, "gateway start anna") {
		t.Errorf("Why: %+v, %v", why, err)
	}
	exits, err := s.Fleet.Exits(s.ctx, "anna")
	if err != nil || len(exits.Exits) != 1 || exits.Exits[0].Signal != "SIGTERM" || exits.Exits[0].Started.IsZero() {
		t.Errorf("Exits: %+v, %v", exits, err)
	}
	config, err := s.Fleet.Config(s.ctx, "anna")
	if err != nil || config.Profile != "anna" || len(config.Environment) == 0 {
		t.Fatalf("Config: %+v, %v", config, err)
	}
	command := slices.IndexFunc(config.Settings, func(x api.Setting) bool { return x.Name == "command" })
	if command < 0 || !strings.Contains(config.Settings[command].Value, "sleep 1000") || config.Settings[command].From != "gateway.command" {
		t.Errorf("its settings are %+v", config.Settings)
	}
}

func testLog(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Speaks, Ready: "exec"})
	s.start(t, "anna")
	s.World.Print(t, "anna", "the first")
	lines := make(chan string, 16)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	until(t, "the log has the first line", func() bool {
		found := false
		err := s.Fleet.Log(s.ctx, "anna", 10, false, func(line string) error {
			found = found || strings.HasSuffix(line, " the first")
			return nil
		})
		return err == nil && found
	}, nothing)
	done := make(chan error, 1)
	go func() {
		done <- s.Fleet.Log(ctx, "anna", 10, true, func(line string) error {
			lines <- line
			return nil
		})
	}()
	if line := <-lines; !strings.HasSuffix(line, " the first") {
		t.Errorf("the log begins with %q", line)
	}
	s.World.Print(t, "anna", "the second")
	if line := <-lines; !strings.HasSuffix(line, " the second") {
		t.Errorf("the log goes on with %q", line)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the log ends with %v", err)
	}
	until(t, "both lines are on stdout", func() bool {
		return strings.Contains(s.World.Stdout(), "[anna] the first\n[anna] the second\n")
	}, s.World.Stdout)
}

// results does an action on all and collects what comes of it by profile.
func (s suite) results(t *testing.T, action string) map[string]api.ActionResult {
	t.Helper()
	found := make(chan api.ActionResult, 64)
	if err := s.Fleet.All(s.ctx, action, request(), func(r api.ActionResult) { found <- r }); err != nil {
		t.Fatalf("All(%s): %v", action, err)
	}
	close(found)
	all := map[string]api.ActionResult{}
	for r := range found {
		if _, twice := all[r.Gateway.Profile]; twice {
			t.Errorf("%s is reported twice", r.Gateway.Profile)
		}
		all[r.Gateway.Profile] = r
	}
	return all
}

func names(all map[string]api.ActionResult) []string {
	var list []string
	for name := range all {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func testStopAll(t *testing.T, s suite) {
	for _, name := range []profile.Name{"anna", "bert", "cleo"} {
		s.create(t, name, Program{})
	}
	s.start(t, "anna")
	s.start(t, "cleo")
	all := s.results(t, "stop")
	if got := names(all); !slices.Equal(got, []string{"anna", "cleo"}) {
		t.Errorf("stopped are %v", got)
	}
	for name, r := range all {
		if r.Error != nil || r.Gateway.State != "stopped" || r.Gateway.PID != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		s.is(t, profile.Name(name), profile.StateStopped, profile.Stopped)
		s.dead(t, profile.Name(name))
	}
	if again := s.results(t, "stop"); len(again) != 0 {
		t.Errorf("stopped again are %v", names(again))
	}
}

// One that cannot be started does not keep the others from it, and what was
// stopped on purpose stays so.
func testRestartAll(t *testing.T, s suite) {
	for _, name := range []profile.Name{"anna", "bert", "cleo", "dora"} {
		s.create(t, name, Program{})
	}
	pids := map[string]int{}
	for _, name := range []profile.Name{"anna", "cleo", "dora"} {
		pids[string(name)] = s.start(t, name).PID
	}
	s.configure(t, "cleo", Program{}, "no_such_key: 1")
	all := s.results(t, "restart")
	if got := names(all); !slices.Equal(got, []string{"anna", "cleo", "dora"}) {
		t.Errorf("restarted are %v", got)
	}
	for _, name := range []string{"anna", "dora"} {
		if r := all[name]; r.Error != nil || r.Gateway.State != "running" || r.Gateway.PID == pids[name] {
			t.Errorf("%s: %+v, pid was %d", name, r, pids[name])
		}
	}
	if e := all["cleo"].Error; e == nil || e.Code != string(fault.GatewayFailed) || !strings.Contains(e.Message, "no_such_key") {
		t.Errorf("cleo: %+v", all["cleo"])
	}
	s.is(t, "bert", profile.StateStopped, profile.Stopped)
}

func testOtherAll(t *testing.T, s suite) {
	err := s.Fleet.All(s.ctx, "start", request(), func(r api.ActionResult) { t.Errorf("there is a result: %+v", r) })
	fails(t, "All(start)", err, fault.Usage)
}

func testDelete(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.create(t, "bert", Program{})
	s.start(t, "anna")
	if err := s.Fleet.Delete(s.ctx, "anna", "suite"); err != nil {
		t.Fatal(err)
	}
	s.dead(t, "anna")
	if slots := s.World.Slots(t); slices.Contains(slots, "gateway-anna") || !slices.Contains(slots, "gateway-bert") {
		t.Errorf("the engine has %v", slots)
	}
	if _, err := os.Stat(s.path("anna", "")); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	_, err := s.Fleet.Gateway(s.ctx, "anna")
	fails(t, "Gateway", err, fault.GatewayNotRegistered)
	s.create(t, "anna", Program{}) // the name is free again
	s.start(t, "anna")
}

func testDeleteDeaf(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Deaf})
	s.start(t, "anna")
	s.deaf(t, "anna")
	if err := s.Fleet.Delete(s.ctx, "anna", "suite"); err != nil {
		t.Fatal(err)
	}
	s.dead(t, "anna")
}

// deaf waits until a deaf program is.
func (s suite) deaf(t *testing.T, name profile.Name) {
	t.Helper()
	if !s.World.Real() {
		return
	}
	until(t, string(name)+" is deaf", func() bool { _, err := os.Stat(s.path(name, "deaf")); return err == nil }, nothing)
}

func testRename(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	before := s.start(t, "anna")
	s.World.Program("bert", Program{})
	made, err := s.Fleet.Rename(s.ctx, "anna", "bert", "suite")
	if err != nil || made.Name != "bert" || made.Port != before.Port {
		t.Fatalf("Rename: %+v, %v; its port was %d", made, err, before.Port)
	}
	_, err = s.Fleet.Gateway(s.ctx, "anna")
	fails(t, "Gateway of the old name", err, fault.GatewayNotRegistered)
	g := s.until(t, "bert", "runs", inState(profile.StateRunning))
	if g.Intent != "running" || g.Port != before.Port || g.PID == before.PID {
		t.Errorf("it is %+v, was %+v", g, before)
	}
	s.alive(t, "bert", g.PID)
	s.dead(t, "anna")
	if slots := s.World.Slots(t); slices.Contains(slots, "gateway-anna") || !slices.Contains(slots, "gateway-bert") {
		t.Errorf("the engine has %v", slots)
	}
	s.stop(t, "bert")
	if _, err := s.Fleet.Rename(s.ctx, "bert", "cleo", "suite"); err != nil {
		t.Fatal(err)
	}
	s.is(t, "cleo", profile.StateStopped, profile.Stopped)
}

func testRenameTaken(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.create(t, "bert", Program{})
	pid := s.start(t, "anna").PID
	_, err := s.Fleet.Rename(s.ctx, "anna", "bert", "suite")
	fails(t, "Rename to one that exists", err, fault.ProfileExists)
	_, err = s.Fleet.Rename(s.ctx, "anna", "tmp", "suite")
	fails(t, "Rename to a reserved name", err, fault.InvalidName)
	s.alive(t, "anna", pid) // and it was not stopped for that
}

func testDefault(t *testing.T, s suite) {
	s.configure(t, profile.Default, Program{})
	fails(t, "Delete", s.Fleet.Delete(s.ctx, profile.Default, "suite"), fault.Usage)
	_, err := s.Fleet.Rename(s.ctx, profile.Default, "anna", "suite")
	fails(t, "Rename", err, fault.Usage)
	if g := s.start(t, profile.Default); g.Slot != "gateway-default" {
		t.Errorf("it is %+v", g)
	}
	s.stop(t, profile.Default)
}

// testByHand: advice must work in that very case. Who has a profile is not told
// to create it.
func testByHand(t *testing.T, s suite) {
	s.byHand(t, "anna")
	g := s.start(t, "anna")
	s.alive(t, "anna", g.PID)
	if !slices.Contains(s.World.Slots(t), "gateway-anna") {
		t.Errorf("the engine has %v", s.World.Slots(t))
	}
}

// byHand makes a profile as a person does.
func (s suite) byHand(t *testing.T, name profile.Name) {
	t.Helper()
	if err := os.MkdirAll(s.path(name, ""), 0o755); err != nil {
		t.Fatal(err)
	}
	s.configure(t, name, Program{})
	s.put(t, name, "SOUL.md", "I am new here.\n")
}

func testHealth(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	s.start(t, "anna")
	if h := s.Fleet.Live(s.ctx); !h.OK {
		t.Errorf("Live: %+v", h)
	}
	if h := s.Fleet.Ready(s.ctx); !h.OK {
		t.Errorf("Ready: %+v", h)
	}
	s.create(t, "bert", Program{Kind: Missing})
	_, _ = s.Fleet.Start(s.ctx, "bert", request()) // testMissing looks closer
	h := s.Fleet.Ready(s.ctx)
	if h.OK || len(h.Conditions) != 1 || h.Conditions[0].Profile != "bert" || h.Conditions[0].Hint != "hermes why bert" {
		t.Errorf("Ready with one that is not: %+v", h)
	}
}

func testNoDashboard(t *testing.T, s suite) {
	_, err := s.Fleet.RestartDashboard(s.ctx, profile.Request{})
	fails(t, "RestartDashboard", err, fault.DashboardOff)
}
