package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/lease"
)

// TestHeldHomeNamesWhatEndsItsHolder: a pid is advice only where it means
// something.
func TestHeldHomeNamesWhatEndsItsHolder(t *testing.T) {
	here := lease.Self(time.Now())
	here.PID = 4711
	container := lease.Record{Host: "nas", Container: "3f2a", BootID: here.BootID, PIDNamespace: here.PIDNamespace + 1, PID: 1}
	host := lease.Record{Host: "far", BootID: "another", PID: 17}
	for _, tt := range []struct {
		name   string
		holder lease.Record
		want   string
	}{
		{"this pid namespace", here, "kill 4711"},
		{"another container", container, "docker stop 3f2a"},
		{"another host", host, "pid 17 on host far"},
	} {
		err := leaseFault("/home", &lease.HeldError{Home: "/home", Record: tt.holder})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.HomeHeld || !strings.HasSuffix(f.Hint, tt.want) {
			t.Errorf("%s: %v, hint %q", tt.name, err, f.Hint)
		}
	}
}

func TestLockOfAnotherUidSaysHowToGetIt(t *testing.T) {
	f, ok := errors.AsType[*fault.Error](leaseFault("/home", unix.EACCES))
	if !ok || f.Code != fault.HomeUnusable || !strings.Contains(f.Hint, "/home/.hermes.lock") {
		t.Errorf("hint %q", f.Hint)
	}
}

// TestSupervisorOfAnotherContainer: a volume may be shared. What holds it
// elsewhere, or on the host, is no supervisor to hand a gateway over to.
func TestSupervisorOfAnotherContainer(t *testing.T) {
	here := lease.Self(time.Now())
	here.Manager = "native (container supervisor)"
	elsewhere, rebooted, host := here, here, here
	elsewhere.PIDNamespace++
	rebooted.BootID = "another"
	host.Manager = "native (host supervisor)"
	for _, tt := range []struct {
		name   string
		holder lease.Record
		want   bool
	}{
		{"this container", here, true},
		{"another container", elsewhere, false},
		{"another machine", rebooted, false},
		{"a host", host, false},
	} {
		home := t.TempDir()
		if _, ok := inOurContainer(home); ok {
			t.Error("a home that nobody holds is supervised")
		}
		held, err := lease.Take(home, tt.holder, lease.TakeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := inOurContainer(home); ok != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.want)
		}
		if err := held.Release(); err != nil {
			t.Fatal(err)
		}
	}
}
