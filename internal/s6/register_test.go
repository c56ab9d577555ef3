package s6

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// TestRegister: the slot is there, complete, supervised and up when Register
// returns; s6-supervise's lock is what says so, and its pid is the holder's.
func TestRegister(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "sleep")
	s.TimeoutKill, s.TimeoutFinish, s.NotificationFD = 8*time.Second, 1500*time.Millisecond, 3
	must(t, d.Register(t.Context(), s))
	for file, want := range map[string]string{
		"timeout-kill": "8000\n", "timeout-finish": "1500\n", "notification-fd": "3\n", "flag-timeout-killpg": "", "data/do": "sleep",
	} {
		if got, err := os.ReadFile(filepath.Join(d.path(s.Slot), file)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", file, got, err, want)
		}
	}
	for _, link := range []string{"run", "finish", "log/run"} {
		if to, err := os.Readlink(filepath.Join(d.path(s.Slot), link)); err != nil || to != self(t) {
			t.Errorf("%s leads to %q, %v", link, to, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(d.path(s.Slot), downFile)); err == nil {
		t.Error("it is kept down")
	}
	eventually(t, "it is up", func() bool { return state(t, d, s.Slot).Up() })
	now := state(t, d, s.Slot)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", now.Supervisor))
	if err != nil || string(comm) != "s6-supervise\n" {
		t.Errorf("process %d supervises: %q, %v", now.Supervisor, comm, err)
	}
	if pid, err := supervisor(filepath.Join(d.path(s.Slot), logDir)); err != nil || pid <= 0 {
		t.Errorf("its logger has no s6-supervise: %d, %v", pid, err)
	}
	if got, err := d.List(); err != nil || !slices.Equal(got, []string{"gateway-coder"}) {
		t.Errorf("slots %v, %v", got, err)
	}
	if got := left(t, d); got != nil {
		t.Errorf("left behind: %v", got)
	}
}

// TestRegisterTwice: a name is taken once, also if two want it at the same time,
// and the slot that has it is not touched.
func TestRegisterTwice(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "sleep")
	s.Down = true
	const rivals = 8
	errs := make([]error, rivals)
	var wg sync.WaitGroup
	for i := range rivals {
		wg.Go(func() { errs[i] = d.Register(t.Context(), s) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrRegistered) || fault.CodeOf(err) != fault.ProfileExists:
			t.Errorf("%v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d registered it", won, rivals)
	}
	before := state(t, d, s.Slot)
	if err := d.Register(t.Context(), s); !errors.Is(err, ErrRegistered) {
		t.Errorf("once more: %v", err)
	}
	if after := state(t, d, s.Slot); after != before {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	if got := left(t, d); got != nil {
		t.Errorf("left behind: %v", got)
	}
}

// TestRegisterIsTakenBack: what does not come to life leaves nothing, neither a
// slot nor a process, and says why.
func TestRegisterIsTakenBack(t *testing.T) {
	t.Run("no s6-svscan listens", func(t *testing.T) {
		d := directory(t, own())
		err := d.Register(t.Context(), spec(t, "gateway-coder", "sleep"))
		if e, ok := errors.AsType[*CommandError](err); !ok || e.ReturnCode != rcNotListening || e.Tool != "s6-svscanctl" || e.Action != "register" {
			t.Errorf("%v", err)
		}
		nothing(t, d)
	})
	t.Run("s6-svscan takes no more services", func(t *testing.T) {
		d := directory(t, own())
		scan(t, d, "-c", "2")
		for _, slot := range []string{"gateway-a", "gateway-b"} {
			must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err := d.Register(ctx, spec(t, "gateway-c", "sleep"))
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.GatewayTimeout || !strings.Contains(f.Hint, "-c") || !errors.Is(err, ErrS6) {
			t.Errorf("%v", err)
		}
		if got, _ := d.List(); !slices.Equal(got, []string{"gateway-a", "gateway-b"}) || left(t, d) != nil {
			t.Errorf("slots %v, and %v", got, left(t, d))
		}
	})
	t.Run("the logger is not supervised", func(t *testing.T) {
		d := running(t)
		s := spec(t, "gateway-coder", "sleep")
		must(t, d.Register(t.Context(), s)) // s6-svscan has room for it; the next has a broken logger
		must(t, d.Unregister(t.Context(), s.Slot))
		must(t, d.Lay(s))
		log := filepath.Join(d.path(s.Slot), logDir)
		must(t, os.RemoveAll(filepath.Join(log, superviseDir)))
		must(t, os.WriteFile(filepath.Join(log, superviseDir), nil, 0o600)) // s6-supervise dies of it
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		must(t, d.rescan(ctx, s.Slot, "register", "-a"))
		if err := d.awaitSupervised(ctx, s); fault.CodeOf(err) != fault.GatewayTimeout {
			t.Errorf("%v", err)
		}
		must(t, d.takeBack(t.Context(), s.Slot))
		nothing(t, d)
	})
	t.Run("no such program", func(t *testing.T) {
		d := running(t)
		s := spec(t, "gateway-coder", "sleep")
		s.Finish = "finish"
		if err := d.Register(t.Context(), s); err == nil {
			t.Error("a program by a path that is not absolute")
		}
		s.Finish, s.Run = "", ""
		if err := d.Register(t.Context(), s); err == nil {
			t.Error("no program at all")
		}
		nothing(t, d)
	})
}

// nothing is in the scan directory, and nothing runs in it.
func nothing(t *testing.T, d Scandir) {
	t.Helper()
	if got, err := d.List(); len(got) > 0 || err != nil {
		t.Errorf("slots %v, %v", got, err)
	}
	if got := left(t, d); got != nil {
		t.Errorf("left behind: %v", got)
	}
	if got := alive(t, d.Dir); got != nil {
		t.Errorf("living on: %v", got)
	}
}

func TestNamesOfSlots(t *testing.T) {
	d := running(t)
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../x", "a\nb", "a\x00b", strings.Repeat("a", 252)} {
		s := spec(t, name, "sleep")
		if err := d.Register(t.Context(), s); fault.CodeOf(err) != fault.InvalidName {
			t.Errorf("Register(%q): %v", name, err)
		}
		if _, err := d.State(name); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("State(%q): %v", name, err)
		}
	}
	nothing(t, d)
}

// TestUnregister: nothing of the slot is left, neither files nor processes; its
// neighbour notices nothing, and the name is free.
func TestUnregister(t *testing.T) {
	d := running(t)
	for _, slot := range []string{"gateway-coder", "gateway-other"} {
		must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
		eventually(t, slot+" is up", func() bool { return state(t, d, slot).Up() })
	}
	before := state(t, d, "gateway-other")
	for range 3 {
		must(t, d.Unregister(t.Context(), "gateway-coder"))
		if got, err := d.List(); err != nil || !slices.Equal(got, []string{"gateway-other"}) || left(t, d) != nil {
			t.Errorf("slots %v, %v, and %v", got, err, left(t, d))
		}
		if got := alive(t, d.Dir); len(got) != 4 { // the other's run and logger, each with its s6-supervise
			t.Errorf("living: %v", got)
		}
		if _, err := d.State("gateway-coder"); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("%v", err)
		}
		must(t, d.Register(t.Context(), spec(t, "gateway-coder", "sleep")))
		eventually(t, "it is up again", func() bool { return state(t, d, "gateway-coder").Up() })
	}
	if after := state(t, d, "gateway-other"); after != before {
		t.Errorf("the neighbour was %+v and is %+v", before, after)
	}
}

// TestUnregisterStubborn: what does not end by SIGTERM is killed when its time
// is over, and only then is it unregistered.
func TestUnregisterStubborn(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "stubborn")
	s.TimeoutKill = 50 * time.Millisecond
	must(t, d.Register(t.Context(), s))
	stubborn(t, d, s.Slot)
	must(t, d.Unregister(t.Context(), s.Slot))
	nothing(t, d)
}

// stubborn waits until the slot's run has exec'd sleep, and ignores SIGTERM.
func stubborn(t *testing.T, d Scandir, slot string) int {
	t.Helper()
	var pid int
	eventually(t, slot+" sleeps", func() bool {
		pid = state(t, d, slot).PID
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return string(comm) == "sleep\n"
	})
	return pid
}

// TestUnregisterInTime: a run that is not to be killed and does not end keeps
// its slot, and the error says what to type.
func TestUnregisterInTime(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "stubborn")
	s.TimeoutKill = 0
	must(t, d.Register(t.Context(), s))
	pid := stubborn(t, d, s.Slot)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := d.Unregister(ctx, s.Slot)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.GatewayTimeout || f.Hint != "s6-svc -k "+d.path(s.Slot) || !strings.Contains(f.Msg, fmt.Sprintf("pid %d", pid)) {
		t.Errorf("%v", err)
	}
	if got := state(t, d, s.Slot); !got.Up() || got.PID != pid {
		t.Errorf("%+v", got)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	must(t, d.Unregister(t.Context(), s.Slot))
	nothing(t, d)
}

// TestUnregisterWithoutS6: the directory goes also where nobody supervises.
func TestUnregisterWithoutS6(t *testing.T) {
	d := directory(t, own())
	must(t, d.Lay(spec(t, "gateway-coder", "sleep")))
	must(t, d.Unregister(t.Context(), "gateway-coder"))
	nothing(t, d)
	if err := d.Unregister(t.Context(), "gateway-coder"); fault.CodeOf(err) != fault.GatewayNotRegistered {
		t.Errorf("%v", err)
	}
}

// TestInterruptedUnregister: one that ended after the rename left an
// s6-supervise and a gateway that nobody can name. Sweep ends them, and so does
// the next registration of the name, before it starts another.
func TestInterruptedUnregister(t *testing.T) {
	for how, finish := range map[string]func(Scandir, Spec) error{
		"Sweep":    func(d Scandir, _ Spec) error { return d.Sweep(t.Context()) },
		"Register": func(d Scandir, s Spec) error { return d.Register(t.Context(), s) },
	} {
		t.Run(how, func(t *testing.T) {
			d := running(t)
			s := spec(t, "gateway-coder", "sleep")
			must(t, d.Register(t.Context(), s))
			first := stubborn(t, d, s.Slot)
			_, err := d.putAside(s.Slot)
			must(t, err)
			must(t, finish(d, s))
			if err := unix.Kill(first, 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("the first run lives: %v", err)
			}
			if got := left(t, d); got != nil {
				t.Errorf("left behind: %v", got)
			}
			if how == "Sweep" {
				nothing(t, d)
			}
		})
	}
}

// TestInterruptedRegister: what has no name yet is removed when it is old enough
// to be nobody's work, and by the next Prepare at once.
func TestInterruptedRegister(t *testing.T) {
	d := directory(t, own())
	const name = ".gateway-coder" + stagingMark + "X"
	must(t, d.layAs(name, spec(t, "gateway-coder", "sleep")))
	foreign := d.path(".hidden" + stagingMark) // no id: none of ours
	must(t, os.Mkdir(foreign, 0o755))
	must(t, d.Sweep(t.Context()))
	if got := left(t, d); !slices.Contains(got, name) {
		t.Errorf("a registration under way was removed: %v", got)
	}
	old := time.Now().Add(-2 * leftover)
	must(t, os.Chtimes(d.path(name), old, old))
	must(t, d.Sweep(t.Context()))
	if got := left(t, d); slices.Contains(got, name) {
		t.Errorf("left behind: %v", got)
	}
	must(t, d.layAs(name, spec(t, "gateway-coder", "sleep")))
	must(t, d.Prepare(own()))
	if got := left(t, d); !slices.Equal(got, []string{filepath.Base(foreign)}) {
		t.Errorf("left behind: %v", got)
	}
}

// TestLayBeforeS6: what was laid is what s6-svscan finds when it starts; a slot
// with the file down stays so.
func TestLayBeforeS6(t *testing.T) {
	d := directory(t, own())
	down := spec(t, "gateway-stopped", "sleep")
	down.Down = true
	must(t, d.Lay(spec(t, "gateway-coder", "sleep")))
	must(t, d.Lay(down))
	if s := state(t, d, "gateway-coder"); s.Supervised() || s.Up() {
		t.Errorf("before s6 is there: %+v", s)
	}
	scan(t, d)
	eventually(t, "both are as laid", func() bool {
		up, down := state(t, d, "gateway-coder"), state(t, d, "gateway-stopped")
		return up.Up() && down.Supervised() && down.Down() && !down.WantUp && down.KeptDown
	})
}
