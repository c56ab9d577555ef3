package s6

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// TestStartStopRestart with a real s6.
func TestStartStopRestart(t *testing.T) {
	d := running(t)
	const slot = "gateway-coder"
	s := spec(t, slot, "sleep")
	s.Down = true
	must(t, d.Register(t.Context(), s))

	first, err := d.Start(t.Context(), slot)
	if err != nil || !first.Up() || !first.WantUp || first.KeptDown {
		t.Fatalf("Start: %+v, %v", first, err)
	}
	again, err := d.Start(t.Context(), slot)
	if err != nil || again.PID != first.PID {
		t.Errorf("Start of a running one: %+v, %v, want pid %d", again, err, first.PID)
	}
	second, err := d.Restart(t.Context(), slot)
	if err != nil || !second.Up() || second.PID == first.PID || !second.WantUp {
		t.Errorf("Restart: %+v, %v", second, err)
	}
	if err := unix.Kill(first.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the first run lives: %v", err)
	}
	down, err := d.Stop(t.Context(), slot)
	if err != nil || !down.Down() || down.WantUp || !down.KeptDown {
		t.Errorf("Stop: %+v, %v", down, err)
	}
	if err := unix.Kill(second.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the second run lives: %v", err)
	}
	if down, err = d.Stop(t.Context(), slot); err != nil || !down.Down() {
		t.Errorf("Stop of a stopped one: %+v, %v", down, err)
	}
	third, err := d.Restart(t.Context(), slot)
	if err != nil || !third.Up() || third.KeptDown {
		t.Errorf("Restart of a stopped one: %+v, %v", third, err)
	}
}

// TestRestartDoesNotWait: s6-supervise lets a second pass between two runs, which
// is for crashes; a restart that was asked for is told not to.
func TestRestartDoesNotWait(t *testing.T) {
	d := running(t)
	must(t, d.Register(t.Context(), spec(t, "gateway-coder", "sleep")))
	best := time.Hour
	for range 5 { // a busy machine may be slow; s6's second is always one
		stubborn(t, d, "gateway-coder")
		_, err := d.Restart(t.Context(), "gateway-coder")
		must(t, err)
		deaths, err := d.Deaths("gateway-coder")
		must(t, err)
		best = min(best, state(t, d, "gateway-coder").Since.Sub(deaths[len(deaths)-1].At))
		if best < time.Second {
			return
		}
	}
	t.Errorf("%v between the end of a run and the next", best)
}

// TestRestartKills: a run that ignores SIGTERM is killed after timeout-kill, and
// the next one starts. s6-svc -r would leave it alone.
func TestRestartKills(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "stubborn")
	s.TimeoutKill = 50 * time.Millisecond
	must(t, d.Register(t.Context(), s))
	first := stubborn(t, d, s.Slot)
	got, err := d.Restart(t.Context(), s.Slot)
	if err != nil || !got.Up() || got.PID == first {
		t.Errorf("%+v, %v", got, err)
	}
	stubborn(t, d, s.Slot)
	if got, err := d.Stop(t.Context(), s.Slot); err != nil || !got.Down() || got.Signal != unix.SIGKILL {
		t.Errorf("Stop: %+v, %v", got, err)
	}
}

// TestStartOfOneThatEnds: a run that parks itself at once, and one that ends and
// is to be started again, were started, and the state tells the rest.
func TestStartOfOneThatEnds(t *testing.T) {
	d := running(t)
	parked, crashing := spec(t, "gateway-parked", "exit 78"), spec(t, "gateway-crashing", "exit 1")
	parked.Down, crashing.Down = true, true
	must(t, d.Register(t.Context(), parked))
	must(t, d.Register(t.Context(), crashing))
	for range 2 { // the second start is of one that has failed before
		if _, err := d.Start(t.Context(), parked.Slot); err != nil {
			t.Errorf("%v", err)
		}
		eventually(t, "it is parked", func() bool {
			s := state(t, d, parked.Slot)
			return s.Down() && !s.WantUp && s.Code == 78 && !s.KeptDown
		})
		if _, err := d.Start(t.Context(), crashing.Slot); err != nil {
			t.Errorf("%v", err)
		}
	}
	if got, err := d.Stop(t.Context(), crashing.Slot); err != nil || !got.Down() || got.WantUp {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestStartWhileStopping: the run that is being stopped is not the one that was
// asked for.
func TestStartWhileStopping(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "stubborn")
	s.TimeoutKill = 300 * time.Millisecond
	must(t, d.Register(t.Context(), s))
	first := stubborn(t, d, s.Slot)
	must(t, d.Send(t.Context(), s.Slot, Stop))
	eventually(t, "it is being stopped", func() bool { return state(t, d, s.Slot).Stopping() })
	got, err := d.Start(t.Context(), s.Slot)
	if err != nil || !got.Up() || got.PID == first || got.KeptDown {
		t.Errorf("%+v, %v, the first was %d", got, err, first)
	}
}

// TestDeadlines: a command that is not obeyed in time says how the slot is and
// what to type.
func TestDeadlines(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "stubborn")
	s.TimeoutKill = 0
	must(t, d.Register(t.Context(), s))
	stubborn(t, d, s.Slot)
	for what, do := range map[string]func(context.Context, string) (State, error){"stop": d.Stop, "restart": d.Restart} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		got, err := do(ctx, s.Slot)
		cancel()
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.GatewayTimeout || !errors.Is(err, ErrS6) || f.Hint != "s6-svc -k "+d.path(s.Slot) || !got.Up() {
			t.Errorf("%s: %v, %+v", what, err, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Stop(ctx, s.Slot); err == nil {
		t.Error("a caller that is gone was answered")
	}
}

// TestKilledSupervisor: a command in the second without an s6-supervise reaches
// the next one, and a stopped slot stays down though its s6-supervise knew of it
// alone.
func TestKilledSupervisor(t *testing.T) {
	d := running(t)
	const slot = "gateway-coder"
	must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
	stubborn(t, d, slot)
	stopped, err := d.Stop(t.Context(), slot)
	must(t, err)
	killSupervisor(t, d, slot)
	if err := d.Send(t.Context(), slot, Stop); err != nil {
		t.Errorf("in the second without an s6-supervise: %v", err)
	}
	after := state(t, d, slot)
	if !after.Supervised() || after.Supervisor == stopped.Supervisor || !after.Down() || after.WantUp {
		t.Errorf("%+v", after)
	}
	killSupervisor(t, d, slot)
	if got, err := d.Start(t.Context(), slot); err != nil || !got.Up() || got.KeptDown {
		t.Errorf("Start: %+v, %v", got, err)
	}
}

// killSupervisor kills a slot's s6-supervise, and returns while there is none.
func killSupervisor(t *testing.T, d Scandir, slot string) {
	t.Helper()
	must(t, unix.Kill(state(t, d, slot).Supervisor, unix.SIGKILL))
	eventually(t, "s6-supervise is dead", func() bool { return !state(t, d, slot).Supervised() })
}

// TestNoSvscan: without an s6-svscan nobody will come back. That is said, after
// the time it takes one that does.
func TestNoSvscan(t *testing.T) {
	d := directory(t, own())
	must(t, d.Lay(spec(t, "gateway-coder", "sleep")))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := d.Start(ctx, "gateway-coder")
	e, ok := errors.AsType[*CommandError](err)
	if !ok || e.ReturnCode != rcNotListening && e.ReturnCode != rcNotListening2 || !strings.Contains(e.Stderr, "not listening") {
		t.Errorf("%v", err)
	}
	if f, _ := errors.AsType[*fault.Error](err); f == nil || f.Hint != "s6-svscanctl -a "+d.Dir {
		t.Errorf("%+v", f)
	}
}
