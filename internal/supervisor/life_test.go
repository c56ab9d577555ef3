package supervisor_test

import (
	"context"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine/enginetest"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func TestStartStopRestart(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot()
		r.is("anna", profile.StateStopped)

		r.must(startIt, "anna")
		r.is("anna", profile.StateRunning)
		first := r.gateway("anna")
		if !r.lives("anna") || first.PID == 0 || first.Intent != "running" || first.IntentBy != "tester" {
			t.Fatalf("started: %+v", first)
		}
		if i := r.intent("anna"); i.Intent != profile.Running || i.ChangedBy != "tester" {
			t.Fatalf("intent on disk: %+v", i)
		}
		r.must(startIt, "anna")
		if again := r.gateway("anna"); again.PID != first.PID {
			t.Fatal("a second start made a second run")
		}
		generation := r.intent("anna").Generation

		r.must(restartIt, "anna")
		second := r.gateway("anna")
		if second.PID == first.PID || second.Restarts != 0 || second.LastExit == nil || !second.LastExit.Asked {
			t.Fatalf("restarted: %+v", second)
		}
		if got := r.intent("anna").Generation; got != generation {
			t.Errorf("a restart of what is wanted wrote intent %d over %d", got, generation)
		}

		r.must(stopIt, "anna")
		r.is("anna", profile.StateStopped)
		if i := r.intent("anna"); r.lives("anna") || i.Intent != profile.Stopped || i.Generation != generation+1 {
			t.Fatalf("stopped: intent %+v", i)
		}
		r.must(stopIt, "anna")
		if got := r.intent("anna").Generation; got != generation+1 {
			t.Errorf("a stop of what is stopped wrote intent %d", got)
		}
		r.must(restartIt, "anna")
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 3)
	})
}

// TestExitsAreForgottenOnceOnDisk: the runner keeps nothing that is on record.
func TestExitsAreForgottenOnceOnDisk(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.must(restartIt, "anna")
		r.must(restartIt, "anna")
		r.pass(time.Second)
		runs, err := r.fake.List(t.Context())
		if err != nil || len(runs) != 1 || runs[0].Exit != nil {
			t.Fatalf("the runner has %+v, %v", runs, err)
		}
		if got := r.observed("anna"); len(got.Exits) != 2 || got.State != profile.StateRunning || got.Keeper != "keeper-1" {
			t.Fatalf("on record: %+v", got)
		}
	})
}

func TestDeafGatewayIsKilled(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "stop_timeout: 3s")
		r.fake.Script(slotOf("anna"), enginetest.Program{Deaf: true})
		r.boot("anna")
		began := time.Now()
		r.must(stopIt, "anna")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if e := r.gateway("anna").LastExit; e == nil || e.Signal != "SIGKILL" || !e.Asked {
			t.Errorf("last exit %+v", e)
		}
	})
}

// TestStartWhileItStops: the stop is not answered with success, and the
// gateway runs in the end.
func TestStartWhileItStops(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna")
		stopped := r.ask(stopIt, "anna")
		r.is("anna", profile.StateStopping)
		started := r.ask(startIt, "anna")
		r.fails(<-stopped, "cannot stop gateway-anna: it was started again meanwhile")
		if !open(started) {
			t.Fatal("the start was answered before the old run ended")
		}
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 2)
	})
}

func TestStopWhileItStarts(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "ready: notify")
		r.boot()
		started := r.ask(startIt, "anna")
		r.is("anna", profile.StateStarting)
		r.must(stopIt, "anna")
		r.fails(<-started, "it was stopped meanwhile")
		r.is("anna", profile.StateStopped)
	})
}

// TestStopDuringSpawn: a run that comes up after it was unwanted is ended.
func TestStopDuringSpawn(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Hang: true})
		r.boot()
		started := r.ask(startIt, "anna")
		stopped := r.ask(stopIt, "anna")
		r.fails(<-started, "it was stopped meanwhile")
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		r.is("anna", profile.StateStopped)
		if r.lives("anna") {
			t.Error("it lives")
		}
		// Wanted again while the runner still has not answered.
		first := r.ask(startIt, "anna")
		second := r.ask(stopIt, "anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{})
		third := r.ask(startIt, "anna")
		r.fails(<-second, "started again meanwhile")
		if err := <-third; err != nil {
			t.Fatal(err)
		}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		r.is("anna", profile.StateRunning)
	})
}

// TestLateRunIsCleared: a run the runner has and the fleet gave up is killed
// first, and the start succeeds all the same.
func TestLateRunIsCleared(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot()
		if _, err := r.fake.Spawn(t.Context(), specOf("anna", 99)); err != nil {
			t.Fatal(err)
		}
		r.must(startIt, "anna")
		r.is("anna", profile.StateRunning)
		if run, _ := r.fake.Living(slotOf("anna")); run.Generation == 99 {
			t.Error("the late run lives")
		}
		r.pass(time.Second) // for the observation to settle
		if exits := r.observed("anna").Exits; len(exits) > 0 {
			t.Errorf("a failure is on record: %+v", exits)
		}
	})
}

// TestLateRunThatDoesNotEnd: the start fails and is tried again.
func TestLateRunThatDoesNotEnd(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		if err := r.open(immortal{r.fake}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		if _, err := r.fake.Spawn(t.Context(), specOf("anna", 99)); err != nil {
			t.Fatal(err)
		}
		r.fails(r.do(startIt, "anna"), "an earlier start came up late and does not end")
		r.is("anna", profile.StateBackoff)
	})
}

func TestTimeoutOfACommand(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "ready: notify")
		r.boot()
		result, err := r.fleet.Start(t.Context(), "anna", profile.Request{Timeout: time.Second})
		if fault.CodeOf(err) != fault.GatewayTimeout {
			t.Fatalf("error %v", err)
		}
		r.fails(err, "gateway-anna is still starting after 1s")
		if result.Gateway.State != "starting" || result.Gateway.Intent != "running" {
			t.Errorf("result %+v", result.Gateway)
		}
		result, err = r.fleet.Start(t.Context(), "anna", profile.Request{NoWait: true})
		if err != nil || result.Gateway.State != "starting" {
			t.Errorf("--no-wait: %+v, %v", result.Gateway, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.fleet.Start(ctx, "anna", profile.Request{}); err == nil {
			t.Error("a caller that had gone was answered")
		}
	})
}

func TestUnknownGateway(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		for _, a := range []action{startIt, stopIt, restartIt} {
			if err := r.do(a, "typo"); fault.CodeOf(err) != fault.GatewayNotRegistered {
				t.Errorf("error %v", err)
			}
		}
		// One that was made a moment ago has its slot by the time it is asked for.
		r.profile("anna")
		r.must(startIt, "anna")
		r.is("anna", profile.StateRunning)
	})
}

func TestAll(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "bert", "cleo", "dora"} {
			r.profile(name)
		}
		r.boot("anna", "bert", "dora")
		r.must(stopIt, "bert")
		r.end("dora", 78)
		collect := func(what string) map[string]string {
			results := map[string]string{}
			err := r.fleet.All(t.Context(), what, profile.Request{By: "tester"}, func(a api.ActionResult) {
				results[a.Gateway.Profile] = a.Gateway.State
				if a.Error != nil {
					results[a.Gateway.Profile] = a.Error.Code
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			return results
		}
		r.configure("dora", "comand: mistyped")
		if got := collect("restart"); len(got) != 2 || got["anna"] != "running" || got["dora"] != "gateway_failed" {
			t.Errorf("restart --all: %v", got)
		}
		if got := collect("stop"); len(got) != 2 || got["anna"] != "stopped" || got["dora"] != "stopped" {
			t.Errorf("stop --all: %v", got)
		}
		if got := collect("stop"); len(got) != 0 {
			t.Errorf("stop --all of what is stopped: %v", got)
		}
		err := r.fleet.All(t.Context(), "start", profile.Request{}, func(api.ActionResult) { t.Error("it did something") })
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("start --all: %v", err)
		}
	})
}

func TestRestartsAreCounted(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		for want := range 3 {
			if got := r.gateway("anna").Restarts; got != want {
				t.Fatalf("%d restarts, want %d", got, want)
			}
			r.end("anna", 1)
			r.pass(10 * time.Minute)
		}
		r.must(startIt, "anna")
		if got := r.gateway("anna").Restarts; got != 0 {
			t.Fatalf("%d restarts after start", got)
		}
		r.end("anna", 1)
		if got := r.gateway("anna").Restarts; got != 1 {
			t.Fatalf("%d restarts after start and a crash", got)
		}
	})
}
