package supervisor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/restart"
	"hermes/internal/supervisor"
	"hermes/internal/testkit"
)

// TestRunsOutliveTheirSupervisor: killed or left, in whatever state, the
// gateways stay and the next supervisor goes on from there.
func TestRunsOutliveTheirSupervisor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string           // of the configuration
		prog  enginetest.Program // of the first run
		reach func(r *rig)       // brings anna, wanted, to the state
		want  profile.State      // when the next supervisor is up
		later profile.State      // ten minutes later
		runs  int                // ever, by then
	}{
		{name: "running", want: profile.StateRunning, later: profile.StateRunning, runs: 1},
		{
			name: "running, not on record", reach: func(r *rig) { r.must(restartIt, "anna") },
			want: profile.StateRunning, later: profile.StateRunning, runs: 2,
		},
		{
			name: "running, started again", reach: func(r *rig) { r.must(startIt, "anna") },
			want: profile.StateRunning, later: profile.StateRunning, runs: 1,
		},
		{
			name: "starting", lines: []string{"ready: notify", "start_timeout: 1h"},
			want: profile.StateStarting, later: profile.StateStarting, runs: 1,
		},
		{
			name: "stopping", prog: enginetest.Program{Linger: 5 * time.Second}, reach: func(r *rig) { r.ask(stopIt, "anna") },
			want: profile.StateStopping, later: profile.StateStopped, runs: 1,
		},
		{
			name: "stopping, deaf", prog: enginetest.Program{Deaf: true}, reach: func(r *rig) { r.ask(stopIt, "anna") },
			want: profile.StateStopping, later: profile.StateStopped, runs: 1,
		},
		{
			name: "restarting", lines: []string{"restart: never"}, prog: enginetest.Program{Linger: 5 * time.Second},
			reach: func(r *rig) { r.ask(restartIt, "anna") },
			want:  profile.StateStopping, later: profile.StateRunning, runs: 2,
		},
		{
			name: "stopping and wanted again", lines: []string{"restart: never"}, prog: enginetest.Program{Linger: 5 * time.Second},
			reach: func(r *rig) { r.ask(stopIt, "anna"); r.ask(startIt, "anna") },
			want:  profile.StateStopping, later: profile.StateRunning, runs: 2,
		},
		{
			name: "aborting", lines: []string{"ready: notify", "start_timeout: 1s"}, prog: enginetest.Program{Linger: 20 * time.Second},
			reach: func(r *rig) { r.pass(time.Second) },
			want:  profile.StateStarting, later: profile.StateBackoff,
		},
		{
			name: "backoff", reach: func(r *rig) { r.end("anna", 1) },
			want: profile.StateBackoff, later: profile.StateRunning, runs: 2,
		},
		{
			name: "parked", reach: func(r *rig) { r.end("anna", 78) },
			want: profile.StateParked, later: profile.StateParked, runs: 1,
		},
		{
			name: "ended by itself", lines: []string{"restart: never"}, reach: func(r *rig) { r.end("anna", 0); r.pass(time.Second) },
			want: profile.StateStopped, later: profile.StateStopped, runs: 1,
		},
		{
			name: "stopped", reach: func(r *rig) { r.must(stopIt, "anna") },
			want: profile.StateStopped, later: profile.StateStopped, runs: 1,
		},
	} {
		for _, way := range []string{"killed", "left"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				in(t, func(t *testing.T, r *rig) {
					r.profile("anna", tt.lines...)
					r.fake.Script(slotOf("anna"), tt.prog)
					r.boot("anna")
					if tt.reach == nil {
						r.pass(time.Second)
					} else {
						tt.reach(r)
					}
					intent := r.intent("anna")
					if way == "killed" {
						r.kill()
					}
					r.comeBack()
					r.is("anna", tt.want)
					r.lives("anna")
					r.fake.Script(slotOf("anna"), enginetest.Program{})
					r.pass(10 * time.Minute)
					if tt.later == profile.StateBackoff { // which it comes and goes from
						r.configure("anna")
						r.pass(10 * time.Minute)
						r.is("anna", profile.StateRunning)
						return
					}
					r.is("anna", tt.later)
					r.spawned("anna", tt.runs)
					if got := r.intent("anna"); got != intent {
						t.Errorf("intent %+v, was %+v", got, intent)
					}
				})
			})
		}
	}
}

// TestExitsNobodySaw: what ended while there was no supervisor is judged by
// the next as if it had seen it.
func TestExitsNobodySaw(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		end   func(r *rig)
		want  profile.State
		runs  int
	}{
		{"78", nil, func(r *rig) { r.fake.End(slotOf("anna"), 78) }, profile.StateParked, 1},
		{"75", nil, func(r *rig) { r.fake.End(slotOf("anna"), 75) }, profile.StateRunning, 2},
		{"a healthy one crashes", nil, func(r *rig) { r.fake.Kill(slotOf("anna"), unix.SIGKILL) }, profile.StateRunning, 2},
		{"never", []string{"restart: never"}, func(r *rig) { r.fake.End(slotOf("anna"), 0) }, profile.StateStopped, 1},
		{"lost with its keeper", nil, func(r *rig) { r.fake.Lose(slotOf("anna")) }, profile.StateRunning, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.profile("anna", tt.lines...)
				r.boot("anna")
				r.pass(restart.HealthyAfter)
				r.kill()
				tt.end(r)
				r.comeBack()
				r.is("anna", tt.want)
				r.spawned("anna", tt.runs)
				r.pass(time.Second)
				if got := r.observed("anna").Exits; len(got) != 1 || got[0].Asked {
					t.Errorf("on record %+v", got)
				}
				r.keepsNoExits()
			})
		})
	}
}

// keepsNoExits checks that the runner has forgotten every exit.
func (r *rig) keepsNoExits() {
	r.t.Helper()
	runs, err := r.fake.List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, run := range runs {
		if run.Exit != nil {
			r.t.Errorf("the runner still has the exit of %s.%d", run.Slot, run.Generation)
		}
	}
}

// TestStoppedWhileNobodyWasThere: the operator's stop is kept, and an exit
// after it is one that was asked for.
func TestStoppedWhileNobodyWasThere(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Deaf: true})
		r.boot("anna")
		r.ask(stopIt, "anna")
		r.kill()
		r.fake.End(slotOf("anna"), 1)
		r.comeBack()
		r.is("anna", profile.StateStopped)
		if e := r.gateway("anna").LastExit; e == nil || !e.Asked {
			t.Errorf("last exit %+v", e)
		}
	})
}

// TestStoppedAndStartedBeforeAnythingIsWritten: the end that was asked for is no
// failure of the start that followed it.
func TestStoppedAndStartedBeforeAnythingIsWritten(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StartParallel = 1
		r.profile("anna")
		r.profile("slow", "ready: notify")
		r.boot("anna")
		r.pass(time.Second) // it is not healthy yet
		r.must(stopIt, "anna")
		r.pass(time.Millisecond)
		r.ask(startIt, "slow") // it holds the gate
		r.ask(startIt, "anna")
		r.kill()
		r.comeBack()
		r.pass(2 * time.Second)
		g := r.gateway("anna")
		if g.State != string(profile.StateRunning) || g.Failures > 0 || g.Reason != "" {
			t.Errorf("%+v", g)
		}
		if g.LastExit == nil {
			t.Error("its exit is not on record")
		}
		r.spawned("anna", 2)
	})
}

// TestEveryExitIsOnRecord: those of runs that came and went before the
// supervisor wrote anything count towards the three of exit 75.
func TestEveryExitIsOnRecord(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		for range restart.AskedLimit {
			r.end("anna", 75) // nothing is written for 250 ms
		}
		r.kill()
		r.comeBack()
		r.is("anna", profile.StateRunning)
		r.end("anna", 75)
		r.is("anna", profile.StateBackoff)
		if got := r.observed("anna").Exits; len(got) != 4 {
			t.Errorf("%d exits on record", len(got))
		}
		r.pass(time.Second)
		r.keepsNoExits()
	})
}

// TestGatewayThatSaidReadyIsReady: READY that no supervisor heard waits in the
// socket, however late the next one comes.
func TestGatewayThatSaidReadyIsReady(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot()
	r.ask(startIt, "anna")
	r.untilLives("anna")
	r.kill()
	r.tell("anna", "READY=1\nX_HERMES_HEALTH=degraded")
	r.comeBackLate()
	r.untilState("anna", profile.StateRunning)
	if g := r.gateway("anna"); g.Health != "degraded" {
		t.Errorf("health %s", g.Health)
	}
	r.until("its health is on record", func() bool { return r.observed("anna").Health == profile.HealthDegraded })
	r.kill()
	r.comeBack()
	if g := r.gateway("anna"); g.State != "running" || g.Health != "degraded" {
		t.Errorf("after another one: %+v", g)
	}
	r.spawned("anna", 1)
}

// TestRestartDuringSpawnIsNotKept: a run that is there when the restart is
// asked for is the new run; no later supervisor restarts it again.
func TestRestartDuringSpawnIsNotKept(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		if err := r.open(slow{Fake: r.fake, spawn: time.Second}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		for _, done := range []<-chan error{r.ask(startIt, "anna"), r.ask(restartIt, "anna")} {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		r.pass(time.Second)
		if r.observed("anna").Restarting {
			t.Error("a restart is on record")
		}
		r.kill()
		r.comeBack()
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 1)
	})
}

// TestRunWithoutAProfile is ended before anything is started: its directory
// may have another name now.
func TestRunWithoutAProfile(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.boot("anna", "bert")
		r.pass(time.Second)
		r.end("bert", 78)
		r.must(startIt, "bert")
		r.pass(time.Second)
		r.kill()
		if err := os.Rename(r.path("anna"), r.path("zoe")); err != nil {
			t.Fatal(err)
		}
		if err := r.open(slow{Fake: r.fake, kill: time.Second}).Boot(t.Context(), supervisor.BootRequest{Returning: true}); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.fleetIs("bert running, zoe running")
		if _, ok := r.fake.Living(slotOf("anna")); ok {
			t.Error("anna's run lives beside zoe's")
		}
		r.pass(time.Second)
		r.keepsNoExits()
		r.must(startIt, "bert")
		r.spawned("bert", 2)
	})
}

// TestProfileThatCannotBeLookedAt keeps its gateway when the supervisor is new.
func TestProfileThatCannotBeLookedAt(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		r.kill()
		if err := os.Chmod(r.path("anna"), 0); err != nil {
			t.Fatal(err)
		}
		r.comeBack()
		if !r.lives("anna") {
			t.Fatal("it was ended")
		}
		if g := r.gateway("anna"); g.State != "running" || g.Reason == "" {
			t.Errorf("%+v", g)
		}
		if err := os.Chmod(r.path("anna"), 0o755); err != nil {
			t.Fatal(err)
		}
		r.must(stopIt, "anna")
		r.is("anna", profile.StateStopped)
	})
}

// TestUnreadableWhileItRuns: nothing is concluded about a gateway whose files
// cannot be read when the supervisor is new, and nothing is written over them.
func TestUnreadableWhileItRuns(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		r.kill()
		const newer = `{"version":99}`
		r.write("anna", "supervision.json", newer)
		r.comeBack()
		if !r.lives("anna") {
			t.Fatal("it was ended")
		}
		if g := r.gateway("anna"); g.State != "running" || !strings.Contains(g.Reason, "newer hermes") {
			t.Errorf("%+v", g)
		}
		r.end("anna", 1)
		r.pass(time.Hour)
		r.is("anna", profile.StateStopped)
		if b, _ := os.ReadFile(r.path("anna", "supervision.json")); string(b) != newer {
			t.Errorf("it was written over: %s", b)
		}
		r.keepsNoExits()
		r.must(startIt, "anna")
		r.pass(time.Second)
		if got := r.observed("anna"); got.State != profile.StateRunning {
			t.Errorf("after a start: %+v", got)
		}
	})
}

// TestAdoptedWithWhatItHas: the state is as it was, and not that of a new start.
func TestAdoptedWithWhatItHas(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.end("anna", 1)
		r.pass(time.Second + restart.HealthyAfter)
		before := r.gateway("anna")
		r.kill()
		r.comeBack()
		after := r.gateway("anna")
		if after.PID != before.PID || after.Restarts != before.Restarts || after.Port != before.Port ||
			after.Intent != before.Intent || after.IntentBy != before.IntentBy || after.Reason != "" ||
			!after.Since.Round(time.Millisecond).Equal(before.Since.Round(time.Millisecond)) {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		r.end("anna", 1) // it has been healthy all along
		r.is("anna", profile.StateRunning)
	})
}

// TestPowerCut: every gateway comes back as it was left.
func TestPowerCut(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"up", "down", "parked", "starting", "ended"} {
			r.profile(name, "restart: on-failure")
		}
		r.profile("starting", "ready: notify")
		r.boot("up", "parked", "starting", "ended")
		r.end("parked", 78)
		r.end("ended", 0)
		r.fleetIs("down stopped, ended stopped, parked parked, starting starting, up running")
		for range 2 { // twice in a row
			r.reboot()
			r.fleetIs("down stopped, ended running, parked parked, starting starting, up running")
			r.pass(100 * time.Millisecond)
		}
		if got := r.gateway("parked"); !strings.Contains(got.Reason, "exit 78") {
			t.Errorf("parked: %+v", got)
		}
		if got := r.gateway("up"); got.Intent != "running" {
			t.Errorf("up: %+v", got)
		}
	})
}

// TestSecondBootOfAKeeper repeats one that was cut short, and starts nothing
// twice.
func TestSecondBootOfAKeeper(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.kill()
		r.start(supervisor.BootRequest{Wanted: []profile.Name{"anna"}})
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 1)
	})
}
