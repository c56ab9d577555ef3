package supervisor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hermes/internal/engine/enginetest"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// TestShutdown stops all at the same time and changes no intent; nothing
// starts after it.
func TestShutdown(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for i := range 5 {
			name := fmt.Sprintf("slow-%d", i)
			r.profile(name)
			r.fake.Script(slotOf(name), enginetest.Program{Linger: 3 * time.Second})
			r.intend(name, profile.Running)
		}
		r.profile("loops")
		r.profile("parked")
		r.profile("queued", "ready: notify")
		r.profile("spawning")
		r.fake.Script(slotOf("spawning"), enginetest.Program{Hang: true})
		r.boot("loops", "parked")
		r.end("parked", 78)
		for range 5 {
			r.ask(startIt, "queued")
		}
		r.ask(startIt, "spawning")
		r.end("loops", 1)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r.fleet.Shutdown(ctx)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, a := range []action{startIt, restartIt} {
			if err := r.do(a, "parked"); fault.CodeOf(err) != fault.Shutdown {
				t.Errorf("a start during the shutdown: %v", err)
			}
		}
		r.profile("late")
		r.write("late", "gateway_state.json", `{"gateway_state":"running"}`)
		_ = r.do(startIt, "late")
		r.pass(time.Minute)
		for _, name := range []string{"slow-0", "slow-1", "slow-2", "slow-3", "slow-4", "loops", "queued", "spawning", "late"} {
			if _, ok := r.fake.Living(slotOf(name)); ok {
				t.Errorf("%s lives", name)
			}
		}
		r.fleetIs("loops backoff, parked parked, queued stopped, slow-0 stopped, slow-1 stopped, slow-2 stopped, " +
			"slow-3 stopped, slow-4 stopped, spawning stopped")
		r.leave()
		for _, name := range []string{"slow-0", "loops", "parked", "queued", "spawning"} {
			if got := r.intent(name).Intent; got != profile.Running {
				t.Errorf("%s: its intent became %s", name, got)
			}
		}
		if got := r.observed("loops"); got.State != profile.StateBackoff {
			t.Errorf("loops: on record %+v", got)
		}
		r.reboot()
		r.pass(time.Minute)
		r.fleetIs("late running, loops running, parked parked, queued starting, slow-0 running, slow-1 running, " +
			"slow-2 running, slow-3 running, slow-4 running, spawning running")
	})
}

// TestShutdownDuringBoot: what is registered after it starts nothing.
func TestShutdownDuringBoot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.profile("bert")
		r.intend("bert", profile.Running)
		r.writeJSON("bert", "supervision.json", profile.Supervision{
			Version: 1, State: profile.StateBackoff, NextRetryAt: time.Now().Add(time.Second), IntentGeneration: 3,
		})
		fleet := r.open(r.fake)
		fleet.Shutdown(t.Context())
		if err := fleet.Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.pass(time.Minute)
		r.fleetIs("anna stopped, bert backoff")
	})
}

// TestStartThatIsLeft is no failure: the next supervisor finds what became of
// it.
func TestStartThatIsLeft(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		if err := r.open(slow{Fake: r.fake, spawn: time.Second}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.ask(startIt, "anna")
		r.fleet.BeginLeave()
		r.pass(time.Second)
		r.leave()
		if got := r.observed("anna"); got.State != profile.StateStarting || len(got.Exits) != 0 {
			t.Errorf("on record %+v", got)
		}
		r.fake = r.fake.Successor()
		r.comeBack()
		r.is("anna", profile.StateRunning)
	})
}

// TestShutdownIsBounded by its caller, whatever hangs.
func TestShutdownIsBounded(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		if err := r.open(immortal{r.fake}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.must(startIt, "anna")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		r.fleet.Shutdown(ctx)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestLeaveIsBounded and can be repeated; nothing is registered after it.
func TestLeaveIsBounded(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.fake.Script(slotOf("bert"), enginetest.Program{Hang: true})
		r.boot("anna")
		r.ask(startIt, "bert")
		began := time.Now()
		for range 2 {
			r.fleet.Leave(t.Context())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v although the runner can be left waiting", took)
		}
		if got := r.observed("bert").Failures; got != 0 {
			t.Error("leaving counted as a failure")
		}
		for _, a := range []action{startIt, stopIt} {
			if err := r.do(a, "anna"); fault.CodeOf(err) != fault.Shutdown {
				t.Errorf("a command after it: %v", err)
			}
		}
		r.profile("cleo")
		if err := r.do(startIt, "cleo"); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("a new profile after it: %v", err)
		}
		if _, ok := r.fake.Living(slotOf("anna")); !ok {
			t.Error("anna was ended")
		}
	})
}
