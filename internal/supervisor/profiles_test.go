package supervisor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/supervisor"
)

// look has the fleet look at the profiles, as any command for an unknown one.
func (r *rig) look() {
	r.t.Helper()
	if _, err := r.fleet.Gateway(r.t.Context(), "unknown"); fault.CodeOf(err) != fault.GatewayNotRegistered {
		r.t.Fatalf("error %v", err)
	}
	r.settle()
}

func (r *rig) move(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.path(from), r.path(to)); err != nil {
		r.t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		p, err := r.fleet.Create(t.Context(), "anna", "tester")
		if err != nil || p.Warning != "" || p.Path != r.path("anna") || p.Port == 0 {
			t.Fatalf("%+v, %v", p, err)
		}
		r.fleetIs("anna stopped")
		if i := r.intent("anna"); i.Intent != profile.Stopped || i.ChangedBy != "tester" {
			t.Errorf("intent %+v", i)
		}
		if g := r.gateway("anna"); g.Port != p.Port || g.IntentBy != "tester" {
			t.Errorf("%+v, created with %+v", g, p)
		}
		if _, err := r.fleet.Create(t.Context(), "anna", ""); fault.CodeOf(err) != fault.ProfileExists {
			t.Errorf("again: %v", err)
		}
		if _, err := r.fleet.Create(t.Context(), "Bad/Name", ""); fault.CodeOf(err) != fault.InvalidName {
			t.Errorf("bad name: %v", err)
		}
		all, err := r.fleet.List(t.Context())
		if err != nil || len(all) != 2 || all[0].Name != "default" || all[1].Name != "anna" || all[1].Port != p.Port {
			t.Errorf("list %+v, %v", all, err)
		}
	})
}

// TestCreateWarns: a profile without a slot is a profile.
func TestCreateWarns(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		r.fleet.Leave(t.Context())
		p, err := r.fleet.Create(t.Context(), "anna", "tester")
		if err != nil || !strings.Contains(p.Warning, "not registered yet") {
			t.Errorf("%+v, %v", p, err)
		}
		r.comeBack()
		r.fleetIs("anna stopped")
	})
}

// TestCreateOverAGatewayThatRuns: the profile was removed under it and is made
// anew: what runs is not the new one's.
func TestCreateOverAGatewayThatRuns(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		if err := os.RemoveAll(r.path("anna")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.fleet.Create(t.Context(), "anna", "tester"); err != nil {
			t.Fatal(err)
		}
		r.fleetIs("anna stopped")
		if r.lives("anna") {
			t.Error("the old one lives")
		}
	})
}

func TestDelete(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna", "bert")
		if err := r.fleet.Delete(t.Context(), "anna", "tester"); err != nil {
			t.Fatal(err)
		}
		r.fleetIs("bert running")
		if _, ok := r.fake.Living(slotOf("anna")); ok {
			t.Error("its gateway lives")
		}
		if _, err := os.Stat(r.path("anna")); !os.IsNotExist(err) {
			t.Errorf("its directory: %v", err)
		}
		r.keepsNoExits()
		if err := r.fleet.Delete(t.Context(), "anna", "tester"); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("again: %v", err)
		}
		if err := r.fleet.Delete(t.Context(), "default", "tester"); fault.CodeOf(err) != fault.Usage {
			t.Errorf("default: %v", err)
		}
	})
}

// TestDeleteThatFails keeps the profile and its slot, down.
func TestDeleteThatFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		spoil(r, "anna", "gateway_intent.json")
		if err := r.fleet.Delete(t.Context(), "anna", "tester"); err == nil {
			t.Fatal("deleted, and its stop could not be written")
		}
		r.is("anna", profile.StateRunning)
	})
}

func TestRename(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna")
		before := r.gateway("anna")
		for _, bad := range []profile.Name{"root", "Upper", "default"} {
			if _, err := r.fleet.Rename(t.Context(), "anna", bad, ""); fault.CodeOf(err) != fault.InvalidName {
				t.Errorf("to %s: %v", bad, err)
			}
		}
		if _, err := r.fleet.Rename(t.Context(), "anna", "bert", ""); fault.CodeOf(err) != fault.ProfileExists {
			t.Errorf("to bert: %v", err)
		}
		if _, err := r.fleet.Rename(t.Context(), "default", "zoe", ""); fault.CodeOf(err) != fault.Usage {
			t.Errorf("default: %v", err)
		}
		if _, err := r.fleet.Rename(t.Context(), "nobody", "zoe", ""); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("nobody: %v", err)
		}
		if g := r.gateway("anna"); g.PID != before.PID {
			t.Fatal("a rename that cannot be stopped the gateway")
		}
		p, err := r.fleet.Rename(t.Context(), "anna", "zoe", "")
		if err != nil || p.Name != "zoe" || p.Port != before.Port {
			t.Fatalf("%+v, %v", p, err)
		}
		r.settle()
		r.fleetIs("bert stopped, zoe running")
		if g := r.gateway("zoe"); g.Port != before.Port || g.Intent != "running" || g.IntentBy != before.IntentBy {
			t.Errorf("%+v", g)
		}
		if _, ok := r.fake.Living(slotOf("anna")); ok {
			t.Error("the old one lives")
		}
	})
}

// TestRenameOntoADirectory that is no profile fails and leaves all as it was.
func TestRenameOntoADirectory(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		if err := os.Mkdir(r.path("zoe"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := r.fleet.Rename(t.Context(), "anna", "zoe", ""); fault.CodeOf(err) != fault.ProfileExists {
			t.Fatalf("error %v", err)
		}
		r.settle()
		r.fleetIs("anna running")
	})
}

// TestMovedDirectory: mv is a rename; the old slot's gateway ends before the
// new one's starts.
func TestMovedDirectory(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna")
		port := r.gateway("anna").Port
		r.pass(time.Second)
		r.move("anna", "zoe")
		began := time.Now()
		r.look()
		r.fleetIs("zoe running")
		run, _ := r.fake.Living(slotOf("zoe"))
		if waited := run.Started.Sub(began); waited < time.Second {
			t.Errorf("zoe was started %v after the move, before anna had ended", waited)
		}
		if g := r.gateway("zoe"); g.Port != port || g.Intent != "running" {
			t.Errorf("%+v, port was %d", g, port)
		}
		if fleet, _ := r.fleet.Fleet(t.Context()); len(fleet.Notices) > 0 {
			t.Errorf("notices of a profile that moved: %+v", fleet.Notices)
		}
	})
}

// TestExchangedDirectories: each gateway ends and starts where its name is now.
func TestExchangedDirectories(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.boot("anna", "bert")
		r.must(stopIt, "bert")
		r.pass(time.Second)
		r.move("anna", ".aside")
		r.move("bert", "anna")
		r.move(".aside", "bert")
		r.look()
		r.fleetIs("anna stopped, bert running")
		if _, ok := r.fake.Living(slotOf("anna")); ok {
			t.Error("anna's gateway lives in bert's directory")
		}
		// Only one of two names goes on as a known one.
		r.move("bert", "cleo")
		r.profile("bert")
		r.look()
		r.fleetIs("anna stopped, bert stopped, cleo running")
		r.spawned("bert", 2)
	})
}

// TestExchangedWhileOneWaits: a gateway that is to be tried again is not started
// in the directory another has not left yet.
func TestExchangedWhileOneWaits(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		seen := &testimony{where: map[string]os.FileInfo{}}
		r.through = func(f *enginetest.Fake) engine.Runner { return witness{f, seen} }
		slow := []profile.Name{"anna", "cleo", "emil", "gina", "ivan"}
		waits := []profile.Name{"bert", "dora", "fred", "hugo", "jane"}
		for i := range slow {
			r.profile(string(slow[i]))
			r.profile(string(waits[i]))
			r.fake.Script(slow[i].Slot(), enginetest.Program{Deaf: true})
			r.fake.Script(waits[i].Slot(), enginetest.Program{Fail: &engine.SpawnError{Path: "/x", Stage: "exec", Errno: unix.EAGAIN}})
		}
		r.boot(append(slow, waits...)...)
		for i := range slow {
			r.move(string(slow[i]), ".aside")
			r.move(string(waits[i]), string(slow[i]))
			r.move(".aside", string(waits[i]))
		}
		r.look()
		r.pass(time.Minute)
		if len(seen.doubles) > 0 {
			t.Error(strings.Join(seen.doubles, "\n"))
		}
	})
}

// TestMovedBeforeAnybodyLooks: a retry comes before the move of another's
// directory under its name was noticed.
func TestMovedBeforeAnybodyLooks(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		seen := &testimony{where: map[string]os.FileInfo{}}
		r.through = func(f *enginetest.Fake) engine.Runner { return witness{f, seen} }
		r.profile("anna")
		r.profile("bert")
		r.fake.Script(slotOf("bert"), enginetest.Program{Exit: true, Code: 1})
		r.boot("anna", "bert")
		r.move("bert", ".aside")
		r.move("anna", "bert")
		r.pass(10 * time.Second)
		if len(seen.doubles) > 0 {
			t.Error(strings.Join(seen.doubles, "\n"))
		}
		if g := r.gateway("bert"); !strings.Contains(g.Reason, "gateway-anna still runs in this directory") {
			t.Errorf("bert: %+v", g)
		}
		r.fake.Script(slotOf("bert"), enginetest.Program{})
		r.look()
		r.pass(2 * time.Second)
		r.look() // anna is gone for good
		r.pass(10 * time.Second)
		r.fleetIs("bert running")
	})
}

// TestHistoryStaysWithItsProfile: what happens to a gateway whose name another
// directory has by now is none of that one's history.
func TestHistoryStaysWithItsProfile(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.boot("anna", "bert")
		r.pass(time.Minute)
		port := r.observed("bert").Port
		r.move("anna", ".aside")
		r.move("bert", "anna")
		r.move(".aside", "bert")
		r.fake.End(slotOf("anna"), 78)
		r.pass(time.Second)
		if o := r.observed("anna"); o.Port != port || len(o.Exits) > 0 {
			t.Errorf("port %d, exits %+v in what was bert's, of port %d", o.Port, o.Exits, port)
		}
		if fleet, _ := r.fleet.Fleet(t.Context()); len(fleet.Notices) > 0 {
			t.Errorf("notices %+v", fleet.Notices)
		}
	})
}

// TestRemovalIsProven: a profile is gone when it was missing twice, two seconds
// apart; until then its gateway runs.
func TestRemovalIsProven(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.move("anna", ".restoring")
		r.look()
		r.pass(1900 * time.Millisecond)
		r.look()
		r.fleetIs("anna running")
		r.move(".restoring", "anna")
		r.look()
		r.pass(time.Minute)
		r.fleetIs("anna running")
		r.spawned("anna", 1)

		r.move("anna", ".removed")
		r.look()
		r.pass(2 * time.Second)
		r.look()
		r.fleetIs("")
		if _, ok := r.fake.Living(slotOf("anna")); ok {
			t.Error("its gateway lives")
		}
	})
}

// TestNothingIsConcludedFromAnotherDirectory: profiles/ itself was replaced, as
// by a mount that has gone.
func TestNothingIsConcludedFromAnotherDirectory(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.move("../profiles", "../unmounted")
		r.look()
		r.pass(time.Minute)
		r.look()
		if err := os.Mkdir(r.path("../profiles"), 0o755); err != nil {
			t.Fatal(err)
		}
		r.look()
		r.pass(time.Minute)
		r.look()
		r.fleetIs("anna running")
		if !r.lives("anna") {
			t.Error("its gateway was ended")
		}
	})
}

// TestRunThatDoesNotEnd keeps its slot, and holds nobody up for ever.
func TestRunThatDoesNotEnd(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "stop_timeout: 1s")
		if err := r.open(immortal{r.fake}).Boot(t.Context(), supervisor.BootRequest{Wanted: []profile.Name{"anna"}}); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.profile("bert")
		_, err := r.fleet.Rename(t.Context(), "anna", "zoe", "")
		if fault.CodeOf(err) != fault.GatewayTimeout {
			t.Fatalf("error %v", err)
		}
		r.is("anna", profile.StateStopping)
		r.must(startIt, "bert")
		r.end("anna", 0)
		r.is("anna", profile.StateRunning) // it was never renamed, and is wanted
	})
}

// TestWaitersAreAnswered when their slot goes away or the supervisor leaves.
func TestWaitersAreAnswered(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "bert", "cleo"} {
			r.profile(name, "ready: notify", "start_timeout: 1h")
		}
		r.boot()
		renamed, left, shut := r.ask(startIt, "anna"), r.ask(startIt, "bert"), r.ask(startIt, "cleo")
		if _, err := r.fleet.Rename(t.Context(), "anna", "zoe", ""); err != nil {
			t.Fatal(err)
		}
		if err := <-renamed; fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("renamed: %v", err)
		}
		r.leave()
		for _, done := range []<-chan error{left, shut} {
			if err := <-done; fault.CodeOf(err) != fault.Shutdown {
				t.Errorf("left: %v", err)
			}
		}
		r.fake = r.fake.Successor()
		r.comeBack()
		shut = r.ask(startIt, "cleo")
		r.fleet.Shutdown(t.Context())
		if err := <-shut; fault.CodeOf(err) != fault.Shutdown {
			t.Errorf("shut down: %v", err)
		}
	})
}
