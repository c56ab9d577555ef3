package supervisor_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

func TestExit78Parks(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.end("anna", 78)
		r.is("anna", profile.StateParked)
		if got := r.observed("anna"); got.State != profile.StateParked || got.Reason != "exit 78 (configuration)" {
			t.Errorf("on record at once: %+v", got)
		}
		r.pass(24 * time.Hour)
		r.spawned("anna", 1)
		if r.intent("anna").Intent != profile.Running {
			t.Error("a park changed the intent")
		}
		r.must(startIt, "anna")
		r.is("anna", profile.StateRunning)
		r.end("anna", 78)
		r.must(stopIt, "anna")
		r.is("anna", profile.StateStopped)
		if got := r.gateway("anna").Reason; got != "" {
			t.Errorf("a stop kept the reason %q", got)
		}
	})
}

// TestExit75RestartsAtOnce: up to three times in a minute, then as a crash.
func TestExit75RestartsAtOnce(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		for range restart.AskedLimit {
			r.end("anna", 75)
			r.is("anna", profile.StateRunning)
		}
		r.spawned("anna", 4)
		r.end("anna", 75)
		r.is("anna", profile.StateBackoff)
		r.pass(2 * time.Minute)
		r.is("anna", profile.StateRunning)
		r.end("anna", 75)
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 6)
	})
}

// TestBackoffGrows doubles from 250 ms to 5 min, give or take the jitter, and a
// healthy run ends it.
func TestBackoffGrows(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		want := restart.First
		for n := 1; n <= 14; n++ {
			r.end("anna", 1)
			g := r.gateway("anna")
			if g.State != "backoff" || g.NextRetryAt == nil || g.Reason != "exit 1" {
				t.Fatalf("failure %d: %+v", n, g)
			}
			wait := time.Until(*g.NextRetryAt)
			if low, high := want*3/4, want*5/4; wait < low || wait > high {
				t.Fatalf("failure %d: %v, want %v ± 25 %%", n, wait, want)
			}
			if got := r.observed("anna"); got.Failures != n || got.State != profile.StateBackoff || !got.NextRetryAt.Equal(*g.NextRetryAt) {
				t.Fatalf("failure %d: on record %+v", n, got)
			}
			r.pass(wait - time.Millisecond)
			r.is("anna", profile.StateBackoff)
			r.pass(time.Millisecond)
			r.is("anna", profile.StateRunning)
			want = min(2*want, restart.Longest)
		}
		r.pass(restart.HealthyAfter)
		r.end("anna", 1)
		r.is("anna", profile.StateRunning) // after a healthy run at once
		r.end("anna", 1)
		if wait := time.Until(*r.gateway("anna").NextRetryAt); wait > restart.First*5/4 {
			t.Errorf("a healthy run did not clear the backoff: %v", wait)
		}
	})
}

func TestStartClearsTheBackoff(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		for range 8 {
			r.end("anna", 1)
			r.pass(6 * time.Minute)
			r.end("anna", 1)
			r.must(startIt, "anna")
		}
		r.end("anna", 1)
		if wait := time.Until(*r.gateway("anna").NextRetryAt); wait > restart.First*5/4 {
			t.Errorf("%v to the next try", wait)
		}
		r.must(stopIt, "anna")
		r.pass(time.Hour)
		r.is("anna", profile.StateStopped)
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy  string
		code    int
		healthy bool
		want    profile.State
	}{
		{"always", 0, true, profile.StateRunning},
		{"always", 0, false, profile.StateBackoff},
		{"always", 1, true, profile.StateRunning},
		{"always", 1, false, profile.StateBackoff},
		{"on-failure", 0, true, profile.StateStopped},
		{"on-failure", 0, false, profile.StateStopped},
		{"on-failure", 1, true, profile.StateRunning},
		{"on-failure", 1, false, profile.StateBackoff},
		{"on-failure", 75, false, profile.StateRunning},
		{"never", 0, true, profile.StateStopped},
		{"never", 1, false, profile.StateStopped},
		{"never", 75, false, profile.StateStopped},
		{"never", 78, false, profile.StateParked},
	} {
		t.Run(fmt.Sprintf("%s %d healthy=%v", tt.policy, tt.code, tt.healthy), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.profile("anna", "restart: "+tt.policy)
				r.boot("anna")
				if tt.healthy {
					r.pass(restart.HealthyAfter)
				}
				r.end("anna", tt.code)
				r.is("anna", tt.want)
				g := r.gateway("anna")
				if g.Intent != "running" {
					t.Errorf("its intent became %s", g.Intent)
				}
				if tt.want == profile.StateStopped {
					want := fmt.Sprintf("ended by itself (exit %d, restart: %s)", tt.code, tt.policy)
					if g.Reason != want {
						t.Errorf("reason %q, want %q", g.Reason, want)
					}
					r.pass(time.Hour)
					r.must(startIt, "anna")
					r.is("anna", profile.StateRunning)
				}
			})
		})
	}
}

func TestSignalsAndLostRunsAreFailures(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.fake.Kill(slotOf("anna"), unix.SIGSEGV)
		r.settle()
		if g := r.gateway("anna"); g.State != "backoff" || g.Reason != "SIGSEGV" || g.LastExit.Signal != "SIGSEGV" || g.LastExit.Code != nil {
			t.Fatalf("%+v", g)
		}
		r.pass(time.Second)
		r.fake.Lose(slotOf("anna"))
		r.settle()
		if g := r.gateway("anna"); g.State != "backoff" || g.Reason != "unknown" {
			t.Fatalf("%+v", g)
		}
	})
}

// TestSpawnFailures: what the runner cannot do is tried again, what is wrong
// with the configuration is not.
func TestSpawnFailures(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Fail: &engine.SpawnError{Path: "/bin/true", Stage: "exec", Errno: unix.EAGAIN}})
		r.boot()
		r.fails(r.do(startIt, "anna"), "cannot start gateway-anna: cannot exec /bin/true: resource temporarily unavailable")
		r.is("anna", profile.StateBackoff)
		if got := r.observed("anna"); got.State != profile.StateBackoff || len(got.Exits) != 1 || got.Exits[0].Reason == "" {
			t.Errorf("on record at once: %+v", got)
		}
		r.pass(time.Hour)
		r.is("anna", profile.StateBackoff)
		r.fake.Script(slotOf("anna"), enginetest.Program{})
		r.pass(time.Hour)
		r.is("anna", profile.StateRunning)

		r.profile("bert")
		r.fake.Script(slotOf("bert"), enginetest.Program{Fail: errors.New("something else")})
		r.fails(r.do(startIt, "bert"), "something else")
	})
}

// TestRunnerThatShutsDownIsNoFailure of the gateway's: the next boot starts it
// without a backoff.
func TestRunnerThatShutsDownIsNoFailure(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Fail: &engine.SpawnError{Path: "/bin/true", Stage: "shutdown", Errno: unix.ESHUTDOWN}})
		r.intend("anna", profile.Running)
		if err := r.open(r.fake).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.fleet.Shutdown(t.Context()) // while the runner refuses
		r.run()
		r.leave()
		if got := r.observed("anna"); got.State != profile.StateStopped || got.Failures != 0 {
			t.Errorf("on record: %+v", got)
		}
	})
}
