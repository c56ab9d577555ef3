package keeper_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
)

func TestMain(m *testing.M) {
	enginetest.Roles()
	// These tests wait more than they compute.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every request of a test.
const patience = 15 * time.Second

// fleet is a keeper together with its present engine, which the test is.
type fleet struct {
	*enginetest.Keeper
	*native.Runner
	engine *enginetest.Engine
	t      *testing.T
	ctx    context.Context
	dir    string
}

func start(t *testing.T, o enginetest.KeeperOptions) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	f := &fleet{Keeper: enginetest.StartKeeper(t, o), t: t, ctx: ctx, dir: t.TempDir()}
	f.connect()
	return f
}

// connect makes the test the next engine.
func (f *fleet) connect() {
	f.t.Helper()
	f.engine = f.Connect(f.t)
	r, err := native.Dial(f.engine.FD)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, f.Output())
	}
	f.t.Cleanup(r.Close)
	f.Runner = r
}

// killEngine kills the engine and waits until its connection is gone.
func (f *fleet) killEngine() {
	f.t.Helper()
	if err := unix.Kill(f.engine.PID, unix.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	for range f.Runner.Events() { // ends when the keeper has closed it
	}
}

func (f *fleet) sh(slot string, generation uint64, script string) engine.Spec {
	return engine.Spec{
		Slot: slot, Generation: generation, Path: "/bin/sh", Argv: []string{"sh", "-c", script},
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Dir: f.dir,
		Plan: engine.Plan{Signal: unix.SIGTERM, Grace: 10 * time.Second},
		Lock: filepath.Join(f.Keeper.Runtime, "slots", slot+".lock"),
	}
}

// spawn starts a run and returns it without its descriptors.
func (f *fleet) spawn(s engine.Spec) engine.Run {
	f.t.Helper()
	run, err := f.Spawn(f.ctx, s)
	if err != nil {
		f.t.Fatalf("Spawn(%s, %d): %v\n%s", s.Slot, s.Generation, err, f.Output())
	}
	enginetest.CloseRuns(run)
	return run
}

// stays starts a run that does nothing until it is signalled.
func (f *fleet) stays(slot string, generation uint64) engine.Run {
	f.t.Helper()
	return f.spawn(f.sh(slot, generation, "exec sleep 1000"))
}

// runs is what List shows, by slot.
func (f *fleet) runs() map[string]engine.Run {
	f.t.Helper()
	list, err := f.List(f.ctx)
	if err != nil {
		f.t.Fatalf("List: %v", err)
	}
	f.t.Cleanup(func() { enginetest.CloseRuns(list...) })
	runs := make(map[string]engine.Run)
	for _, r := range list {
		runs[r.Slot] = r
	}
	return runs
}

// living lists the slots whose run has not ended. It keeps no descriptors, so it
// may be asked as often as one likes.
func (f *fleet) living() map[string]bool {
	f.t.Helper()
	list, err := f.List(f.ctx)
	if err != nil {
		f.t.Fatalf("List: %v", err)
	}
	enginetest.CloseRuns(list...)
	living := make(map[string]bool)
	for _, r := range list {
		if r.Exit == nil {
			living[r.Slot] = true
		}
	}
	return living
}

// exits waits until List shows the exit of the slot's run.
func (f *fleet) exits(slot string) engine.Exit {
	f.t.Helper()
	var exit *engine.Exit
	enginetest.Until(f.t, "run of "+slot+" has ended", func() bool {
		list, err := f.List(f.ctx)
		if err != nil {
			f.t.Fatalf("List: %v", err)
		}
		enginetest.CloseRuns(list...)
		for _, r := range list {
			if r.Slot == slot && r.Exit != nil {
				exit = r.Exit
			}
		}
		return exit != nil
	})
	return *exit
}

// file waits for a file a run writes and returns its content.
func (f *fleet) file(name string) string {
	f.t.Helper()
	var b []byte
	enginetest.Until(f.t, name+" is written", func() bool {
		var err error
		b, err = os.ReadFile(filepath.Join(f.dir, name))
		return err == nil && len(b) > 0 && b[len(b)-1] == '\n'
	})
	return string(b)
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	var n int
	var comm, state string
	_, _ = fmt.Sscan(string(b), &n, &comm, &state)
	return state != "Z"
}

func (f *fleet) fds() int {
	f.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.PID))
	if err != nil {
		f.t.Fatal(err)
	}
	return len(fds)
}
