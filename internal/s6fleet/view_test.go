package s6fleet

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/profile"
	"hermes/internal/s6"
)

// TestShown: each state that s6 and the files can be in has one word, the one a
// person would use for it.
func TestShown(t *testing.T) {
	const run, finish, super = 12, 13, 11
	up := s6.Status{PID: run, WantUp: true, Ready: true}
	for _, tt := range []struct {
		what       string
		status     s6.Status
		supervisor int
		alive      bool // what an s6-supervise that is gone has left
		absent     bool
		intent     profile.Intent
		last       profile.Supervision
		want       profile.State
		pid        int
		reason     string
	}{
		{what: "no slot, none wanted", absent: true, intent: profile.Stopped, want: profile.StateStopped},
		{what: "no slot, one wanted", absent: true, intent: profile.Running, want: profile.StateStopped, reason: "it has no slot yet"},
		{what: "up and ready", status: up, supervisor: super, intent: profile.Running, want: profile.StateRunning, pid: run},
		{what: "up and ready, parked before", status: up, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateParked, Reason: "exit 78"}, want: profile.StateRunning, pid: run},
		{what: "up, not ready", status: s6.Status{PID: run, WantUp: true}, supervisor: super, intent: profile.Running, want: profile.StateStarting, pid: run},
		{what: "told to stop", status: s6.Status{PID: run, Ready: true}, supervisor: super, intent: profile.Stopped, want: profile.StateStopping, pid: run},
		{what: "finish of one that stops", status: s6.Status{PID: finish, Finishing: true}, supervisor: super, intent: profile.Stopped, want: profile.StateStopping},
		{what: "finish of one that failed", status: s6.Status{PID: finish, Finishing: true, WantUp: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateBackoff, Reason: "exit 1"}, want: profile.StateBackoff, reason: "exit 1"},
		{what: "finish before it has written", status: s6.Status{PID: finish, Finishing: true, WantUp: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateRunning}, want: profile.StateStarting},
		{what: "waiting after a failure", status: s6.Status{WantUp: true, Ready: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateBackoff, Reason: "SIGSEGV"}, want: profile.StateBackoff, reason: "SIGSEGV"},
		{what: "about to be started", status: s6.Status{WantUp: true, NotStarted: true}, supervisor: super, intent: profile.Running, want: profile.StateStarting},
		{what: "parked", status: s6.Status{Code: 78, Ready: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateParked, Reason: "exit 78: no model"}, want: profile.StateParked, reason: "exit 78: no model"},
		{what: "refused, in words that name it already", status: s6.Status{Ready: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateParked, Reason: "cannot run gateway-anna: there is no program"}, want: profile.StateParked, reason: "there is no program"},
		{what: "ended by itself", status: s6.Status{Ready: true}, supervisor: super, intent: profile.Running, last: profile.Supervision{State: profile.StateStopped, Ended: true, Reason: "ended by itself (exit 0)"}, want: profile.StateStopped, reason: "ended by itself (exit 0)"},
		{what: "stopped after it was parked", status: s6.Status{Ready: true}, supervisor: super, intent: profile.Stopped, last: profile.Supervision{State: profile.StateParked, Reason: "exit 78"}, want: profile.StateStopped},
		{what: "its s6-supervise was killed, the run lives", status: up, alive: true, intent: profile.Running, want: profile.StateRunning, pid: run, reason: "its s6-supervise was killed"},
		{what: "its s6-supervise was killed, and the run", status: up, intent: profile.Running, want: profile.StateStarting},
		{what: "its s6-supervise was killed while it was down", status: s6.Status{Ready: true}, intent: profile.Stopped, want: profile.StateStopped},
	} {
		v := view{
			name: "anna", slot: "gateway-anna", absent: tt.absent, alive: tt.alive, health: profile.HealthUnknown,
			intent: profile.IntentRecord{Intent: tt.intent}, last: tt.last,
			state: s6.State{Status: tt.status, Supervisor: tt.supervisor},
		}
		v.state.Since, v.state.ReadySince = time.Unix(1000, 0), time.Unix(1001, 0)
		g := v.row()
		if g.State != string(tt.want) || g.PID != tt.pid || g.Reason != tt.reason && (tt.reason == "" || !strings.HasPrefix(g.Reason, tt.reason)) {
			t.Errorf("%s: %s, pid %d, %q; want %s, pid %d, %q", tt.what, g.State, g.PID, g.Reason, tt.want, tt.pid, tt.reason)
		}
		if g.NextRetryAt != nil {
			t.Errorf("%s: it promises a retry at %s, which is s6's to know", tt.what, g.NextRetryAt)
		}
	}
}

// TestTroubleIsShown: what cannot be read is not taken for what is.
func TestTroubleIsShown(t *testing.T) {
	v := view{name: "anna", slot: "gateway-anna", trouble: "cannot read it", last: profile.Supervision{Reason: "old"}, intent: profile.IntentRecord{Intent: profile.Running}}
	if g := v.row(); g.Reason != "cannot read it" {
		t.Errorf("it says %q", g.Reason)
	}
}

// TestLockOfWhatIsRemoved: a command that waited for a slot which is gone when
// its turn comes is told so, though the name has another slot by then.
func TestLockOfWhatIsRemoved(t *testing.T) {
	dir := t.TempDir()
	f := New(Options{Scandir: s6.Scandir{Dir: dir}})
	if err := unix.Mkdir(dir+"/gateway-anna", 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := f.lock(t.Context(), "gateway-anna")
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		again, err := f.lock(t.Context(), "gateway-anna")
		if err == nil {
			again()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("two have the lock: %v", err)
	case <-time.After(10 * lockPause):
	}
	if err := unix.Rmdir(dir + "/gateway-anna"); err != nil {
		t.Fatal(err)
	}
	release()
	release() // harmless
	if err := <-second; err == nil || !strings.Contains(err.Error(), "no such gateway 'anna'") {
		t.Errorf("the second: %v", err)
	}
}
