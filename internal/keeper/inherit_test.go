package keeper_test

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/wire"
)

// bequeath kills the keeper and its engine, and returns what the engine had.
func (f *fleet) bequeath() *wire.Estate {
	f.t.Helper()
	if err := f.Keeper.Signal(unix.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
	f.Wait(f.t)
	for range f.Runner.Events() {
	}
	left := f.Bequeath()
	f.t.Cleanup(func() {
		for _, r := range left.Runs {
			wire.CloseFDs(r.LogFD, r.NotifyFD)
		}
	})
	return left
}

// takeOver is a keeper in the place of f's, which was killed.
func (f *fleet) takeOver(left *wire.Estate) *fleet {
	f.t.Helper()
	next := &fleet{t: f.t, ctx: f.ctx, dir: f.dir, Keeper: enginetest.StartKeeper(f.t, enginetest.KeeperOptions{
		Runtime: f.Keeper.Runtime, Estate: left,
	})}
	next.connect()
	return next
}

func TestWhatAKilledKeeperLeftIsTakenOver(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	a := f.spawn(f.sh("a", 7, "sleep 1000 & echo $! >member; exec sleep 1000"))
	f.file("member")
	b := f.stays("b", 1)
	f.spawn(f.sh("c", 1, "exit 5"))
	f.exits("c")
	f.runs() // an engine has their descriptors
	next := f.takeOver(f.bequeath())
	if got, want := next.Runner.Keeper().Stamp, f.Runner.Keeper().Stamp; got != want {
		t.Errorf("its stamp is %s, want its predecessor's, %s", got, want)
	}
	runs := next.runs()
	for _, was := range []engine.Run{a, b} {
		if r := runs[was.Slot]; r.PID != was.PID || r.Generation != was.Generation || r.Exit != nil || r.Log < 0 {
			t.Errorf("%s was %+v and is %+v", was.Slot, was, r)
		}
	}
	if e := runs["c"].Exit; e == nil || e.Code != 5 {
		t.Errorf("c ended with %+v, want 5", e)
	}
	// A second copy does not start, and the first can be signalled.
	if run := next.spawn(next.sh("a", 7, "true")); run.PID != a.PID {
		t.Errorf("a was %d and is %d", a.PID, run.PID)
	}
	if err := next.Runner.Signal(next.ctx, "a", 7, unix.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	if e := next.exits("a"); !e.Unknown {
		t.Errorf("a ended with %+v, which nobody can know", e)
	}
	next.stays("a", 8) // a group of the last run, or its lock, would be in the way
	// One that ends while its supervisor does, and one that is deaf.
	if err := next.Keeper.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := next.Wait(t); code != 0 || alive(b.PID) {
		t.Errorf("exit code %d, b lives: %v", code, alive(b.PID))
	}
}

// Between the keeper's death and the take-over a run may end, and its pid be
// given to somebody else.
func TestARecycledPIDIsNotTakenOver(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.stays("a", 1)
	left := f.bequeath()
	stranger := exec.Command("/bin/sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	}()
	was := left.Runs[0].PID
	left.Runs[0].PID = stranger.Process.Pid
	left.Runs[0].StartTime-- // a tick is 10 ms: both may have started in one
	next := f.takeOver(left)
	if e := next.exits("a"); !e.Unknown {
		t.Errorf("a ended with %+v", e)
	}
	if err := next.Keeper.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next.Wait(t)
	if !alive(stranger.Process.Pid) {
		t.Error("a stranger with a run's pid was killed")
	}
	if err := unix.Kill(was, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

// The main program's end was all the predecessor still took note of.
func TestAMainProgramThatHasEndedEndsTheSuccessor(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	left := &wire.Estate{
		Stamp: f.Runner.Keeper().Stamp, Runtime: []byte(f.Keeper.Runtime),
		Runs: []wire.Inherited{{
			RunInfo: wire.RunInfo{Slot: "main", Generation: 1, PID: 1 << 21, Main: true, Exit: &wire.Exit{Code: 6}},
			LogFD:   -1, NotifyFD: -1, LockFD: -1,
		}},
	}
	f.bequeath()
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{Runtime: f.Keeper.Runtime, Estate: left})
	if code := k.Wait(t); code != 6 {
		t.Errorf("exit code %d, want the main program's 6", code)
	}
}

// The kernel passes 253 descriptors in one message; a thousand runs have more.
func TestAThousandRunsAreListed(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	left := f.bequeath()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer wire.CloseFDs(pipe[:]...)
	const total = 1000
	for i := range total { // exits that nobody forgot: they have their descriptors
		left.Runs = append(left.Runs, wire.Inherited{
			RunInfo: wire.RunInfo{Slot: "s" + strconv.Itoa(i), Generation: 1, PID: 1<<21 + i, Exit: &wire.Exit{}},
			LogFD:   pipe[0], NotifyFD: pipe[1], LockFD: -1,
		})
	}
	next := f.takeOver(left)
	left.Runs = nil // the descriptors are ours
	runs := next.runs()
	if len(runs) != total {
		t.Fatalf("List has %d runs, want %d", len(runs), total)
	}
	for slot, r := range runs {
		if r.Log < 0 || r.Notify < 0 {
			t.Fatalf("%s has the log %d and the notify socket %d", slot, r.Log, r.Notify)
		}
	}
}

// TestAnEstateOfManyRuns is one of a large fleet: nobody waits for it.
func TestAnEstateOfManyRuns(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	left := f.bequeath()
	const total = 5000
	for i := range total { // they ended while nobody was there
		left.Runs = append(left.Runs, wire.Inherited{
			RunInfo: wire.RunInfo{Slot: "s" + strconv.Itoa(i), Generation: 1, PID: 1<<21 + i, StartTime: 1},
			LogFD:   -1, NotifyFD: -1, LockFD: -1,
		})
	}
	next := f.takeOver(left) // within its own deadline
	if runs := next.runs(); len(runs) != total {
		t.Errorf("List has %d runs, want %d", len(runs), total)
	}
}
