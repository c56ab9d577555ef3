package supervisor_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"hermes/internal/profile"
	"hermes/internal/restart"
	"hermes/internal/testkit"
)

// mend undoes spoil.
func mend(r *rig, name, file string) {
	if err := os.RemoveAll(r.path(name, file)); err != nil {
		r.t.Fatal(err)
	}
}

// TestUnwritableObservation: a disk that takes nothing costs history, never a
// gateway; it is shown, and forgotten once it works again.
func TestUnwritableObservation(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.boot("anna", "bert")
		r.pass(time.Second)
		spoil(r, "anna", "supervision.json")
		spoil(r, "bert", "supervision.json")
		r.end("bert", 1)
		r.end("anna", 78)
		r.is("anna", profile.StateParked)
		r.is("bert", profile.StateBackoff)
		if n := r.noticed("supervision_unwritten"); !strings.Contains(n.Message, "profiles/anna/supervision.json") || !strings.Contains(n.Message, "(and 1 more)") {
			t.Errorf("notice %+v", n)
		}
		r.must(startIt, "anna")
		r.must(stopIt, "bert")
		r.must(startIt, "bert")
		r.fleetIs("anna running, bert running")
		mend(r, "bert", "supervision.json")
		r.pass(time.Minute)
		if n := r.noticed("supervision_unwritten"); strings.Contains(n.Message, "bert") || strings.Contains(n.Message, "more") {
			t.Errorf("notice %+v", n)
		}
		mend(r, "anna", "supervision.json")
		r.pass(time.Minute)
		if fleet, _ := r.fleet.Fleet(t.Context()); len(fleet.Notices) != 0 {
			t.Errorf("notices %+v", fleet.Notices)
		}
		if got := r.observed("anna"); got.State != profile.StateRunning || len(got.Exits) != 1 {
			t.Errorf("on record %+v", got)
		}
		r.keepsNoExits()
	})
}

// TestExitIsKeptUntilItIsOnDisk: the runner keeps what the disk does not take,
// though not without bound, and the next supervisor hears of it.
func TestExitIsKeptUntilItIsOnDisk(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		spoil(r, "anna", "supervision.json")
		r.end("anna", 78)
		r.kill()
		mend(r, "anna", "supervision.json")
		r.comeBack()
		r.is("anna", profile.StateParked)

		spoil(r, "anna", "supervision.json")
		r.must(startIt, "anna")
		for range 10 {
			r.pass(restart.HealthyAfter)
			r.end("anna", 1)
		}
		r.pass(time.Minute)
		runs, err := r.fake.List(t.Context())
		if err != nil || len(runs) > 6 || len(runs) < 3 {
			t.Errorf("the runner keeps %d runs, %v", len(runs), err)
		}
	})
}

// TestReadyIsNotTakenBeforeItIsOnDisk: a READY that could not be written waits
// in its socket.
func TestReadyIsNotTakenBeforeItIsOnDisk(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot()
	r.ask(startIt, "anna")
	r.untilLives("anna")
	spoil(r, "anna", "supervision.json")
	r.tell("anna", "READY=1")
	r.untilState("anna", profile.StateRunning)
	<-time.After(100 * time.Millisecond) // in which it would be taken
	r.kill()
	mend(r, "anna", "supervision.json")
	r.comeBackLate()
	r.untilState("anna", profile.StateRunning)
	r.spawned("anna", 1)
}

func TestUnwritableBootLog(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.write("default", "logs", "a file")
		r.boot("anna")
		r.is("anna", profile.StateRunning)
		r.noticed("boot_log_unwritten")
	})
}

// TestNoPermission: a profile that may not be written to any more, mid-flight.
func TestNoPermission(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.pass(time.Second)
		if err := os.Chmod(r.path("anna"), 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(r.path("anna"), 0o755)
		r.end("anna", 1)
		r.pass(time.Minute)
		r.is("anna", profile.StateRunning)
		r.noticed("supervision_unwritten")
		r.fails(r.do(stopIt, "anna"), "permission denied")
		r.is("anna", profile.StateRunning)
	})
}
