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
