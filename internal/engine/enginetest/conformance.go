package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
)

// programEnv tells a [Fake] what a program of the suite does.
const programEnv = "ENGINETEST_PROGRAM"

// deadline bounds every wait of a test, far beyond what it should take.
const deadline = 30 * time.Second

// Run is the conformance suite: what every Runner promises. start returns a
// Runner without runs, which start itself disposes of at the test's end.
func Run(t *testing.T, start func(t *testing.T) engine.Runner) {
	for name, test := range map[string]func(*testing.T, suite){
		"exit code":                  testExitCode,
		"end by a signal":            testSignal,
		"only SIGKILL ends the deaf": testDeaf,
		"spawn is idempotent":        testIdempotent,
		"a slot runs one at a time":  testBusy,
		"no such program":            testMissing,
		"unknown runs":               testUnknown,
		"list and forget":            testForget,
		"list is complete":           testManyRuns,
		"log pipe":                   testLog,
		"notify socket":              testNotify,
		"a context that has ended":   testContext,
		"calls from everywhere":      testConcurrent,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			t.Cleanup(cancel)
			test(t, suite{start(t), ctx, t.TempDir()})
		})
	}
}

type suite struct {
	engine.Runner
	ctx context.Context
	dir string
}

// spec is a run of a shell script; program says the same to a Fake.
func (s suite) spec(slot string, generation uint64, script, program string) engine.Spec {
	return engine.Spec{
		Slot: slot, Generation: generation, Path: "/bin/sh", Argv: []string{"sh", "-c", script},
		Env: []string{"PATH=/usr/bin:/bin", programEnv + "=" + program}, Dir: s.dir,
		Plan: engine.Plan{Signal: unix.SIGTERM, Grace: time.Second},
		Lock: filepath.Join(s.dir, slot+".lock"),
	}
}

func (s suite) exits(slot string, generation uint64, code int) engine.Spec {
	return s.spec(slot, generation, fmt.Sprintf("exit %d", code), fmt.Sprintf("exit %d", code))
}

func (s suite) stays(slot string, generation uint64) engine.Spec {
	return s.spec(slot, generation, "exec sleep 1000", "stay")
}

func (s suite) spawn(t *testing.T, spec engine.Spec) engine.Run {
	t.Helper()
	run, err := s.Spawn(s.ctx, spec)
	if err != nil {
		t.Fatalf("Spawn(%s, %d): %v", spec.Slot, spec.Generation, err)
	}
	t.Cleanup(func() {
		CloseRuns(run)
		_ = s.Signal(context.Background(), spec.Slot, spec.Generation, unix.SIGKILL, true)
	})
	return run
}

// exited waits for the exit of a run.
func (s suite) exited(t *testing.T, slot string, generation uint64) engine.Exit {
	t.Helper()
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				t.Fatal("the channel of events was closed")
			}
			if e.Kind == engine.Exited && e.Slot == slot && e.Generation == generation {
				return e.Exit
			}
		case <-s.ctx.Done():
			t.Fatalf("run (%s, %d) did not end", slot, generation)
		}
	}
}

func (s suite) list(t *testing.T) []engine.Run {
	t.Helper()
	runs, err := s.List(s.ctx)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	t.Cleanup(func() { CloseRuns(runs...) })
	return runs
}

// CloseRuns closes the descriptors of runs.
func CloseRuns(runs ...engine.Run) {
	for _, r := range runs {
		for _, fd := range []int{r.Log, r.Notify} {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
		}
	}
}

func testExitCode(t *testing.T, s suite) {
	run := s.spawn(t, s.exits("a", 1, 78))
	if run.Slot != "a" || run.Generation != 1 || run.PID <= 1 || run.StartTime == 0 || run.Started.IsZero() {
		t.Errorf("Spawn returned %+v", run)
	}
	e := s.exited(t, "a", 1)
	if e.Code != 78 || e.Signal != 0 || e.Unknown || e.At.Before(run.Started.Add(-time.Second)) {
		t.Errorf("exit is %+v, want code 78", e)
	}
}

func testSignal(t *testing.T, s suite) {
	s.spawn(t, s.stays("a", 1))
	for _, sig := range []unix.Signal{0, unix.SIGCONT, unix.SIGTERM} {
		if err := s.Signal(s.ctx, "a", 1, sig, sig == unix.SIGTERM); err != nil {
			t.Fatalf("Signal(%v): %v", sig, err)
		}
	}
	if e := s.exited(t, "a", 1); e.Code != -1 || e.Signal != unix.SIGTERM {
		t.Errorf("exit is %+v, want SIGTERM", e)
	}
	if err := s.Signal(s.ctx, "a", 1, unix.SIGTERM, true); !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("Signal to a run that has ended: %v, want ErrNoRun", err)
	}
}

func testDeaf(t *testing.T, s suite) {
	// The program says when its trap is set, by a file; a Fake needs none.
	ready := filepath.Join(s.dir, "ready")
	s.spawn(t, s.spec("a", 1, `trap "" TERM; : >ready; while :; do sleep 1; done`, "deaf"))
	if _, fake := s.Runner.(*Fake); !fake {
		Until(t, "the program is ready", func() bool { _, err := os.Stat(ready); return err == nil })
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := s.Signal(s.ctx, "a", 1, sig, true); err != nil {
			t.Fatalf("Signal(%v): %v", sig, err)
		}
	}
	if e := s.exited(t, "a", 1); e.Signal != unix.SIGKILL {
		t.Errorf("exit is %+v, want SIGKILL", e)
	}
}

func testIdempotent(t *testing.T, s suite) {
	first := s.spawn(t, s.stays("a", 7))
	again := s.spawn(t, s.stays("a", 7))
	if again.PID != first.PID || again.StartTime != first.StartTime || again.Exit != nil {
		t.Errorf("a repeated Spawn returned %+v, the first %+v", again, first)
	}
	if err := s.Signal(s.ctx, "a", 7, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	s.exited(t, "a", 7)
	ended := s.spawn(t, s.stays("a", 7))
	if ended.PID != first.PID || ended.Exit == nil || ended.Exit.Signal != unix.SIGKILL {
		t.Errorf("Spawn of a run that has ended returned %+v, the first %+v", ended, first)
	}
}

func testBusy(t *testing.T, s suite) {
	s.spawn(t, s.stays("a", 1))
	if _, err := s.Spawn(s.ctx, s.stays("a", 2)); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("Spawn of a second run: %v, want ErrBusy", err)
	}
	s.spawn(t, s.stays("b", 1)) // another slot is another matter
	if err := s.Signal(s.ctx, "a", 1, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	s.exited(t, "a", 1)
	s.spawn(t, s.stays("a", 2)) // not forgotten, but no longer in the way
	if n := len(s.list(t)); n != 3 {
		t.Errorf("List has %d runs, want the living two and the ended one", n)
	}
}

func testMissing(t *testing.T, s suite) {
	spec := s.spec("a", 1, "", "missing")
	spec.Path = filepath.Join(s.dir, "no-such-program")
	run, err := s.Spawn(s.ctx, spec)
	if run.Log != -1 || run.Notify != -1 {
		t.Errorf("with an error Spawn returned the descriptors %d and %d", run.Log, run.Notify)
	}
	failed, ok := errors.AsType[*engine.SpawnError](err)
	if !ok || failed.Stage != "exec" || failed.Path != spec.Path || !errors.Is(err, unix.ENOENT) {
		t.Fatalf("Spawn of a missing program: %v, want exec and ENOENT", err)
	}
	if runs := s.list(t); len(runs) != 0 {
		t.Errorf("List has %+v, want nothing of a run that never was", runs)
	}
	s.spawn(t, s.stays("a", 2))
}

func testUnknown(t *testing.T, s suite) {
	if err := s.Signal(s.ctx, "a", 1, unix.SIGTERM, true); !errors.Is(err, engine.ErrNoRun) {
		t.Errorf("Signal: %v, want ErrNoRun", err)
	}
	if err := s.Forget(s.ctx, "a", 1); err != nil {
		t.Errorf("Forget: %v, want nil", err)
	}
}

func testForget(t *testing.T, s suite) {
	s.spawn(t, s.stays("a", 1))
	s.spawn(t, s.exits("b", 4, 3))
	s.exited(t, "b", 4)
	if err := s.Forget(s.ctx, "a", 1); err != nil {
		t.Errorf("Forget of a living run: %v, want nil and no effect", err)
	}
	for range 2 {
		runs := s.list(t)
		if len(runs) != 2 {
			t.Fatalf("List has %d runs, want 2", len(runs))
		}
		for _, r := range runs {
			if ended := r.Exit != nil; ended != (r.Slot == "b") || ended && r.Exit.Code != 3 {
				t.Errorf("List has %+v (exit %+v)", r, r.Exit)
			}
		}
	}
	for range 2 {
		if err := s.Forget(s.ctx, "b", 4); err != nil {
			t.Errorf("Forget: %v", err)
		}
	}
	if runs := s.list(t); len(runs) != 1 || runs[0].Slot != "a" {
		t.Errorf("List has %+v, want only the living run", runs)
	}
}

func testManyRuns(t *testing.T, s suite) {
	const n = 230 // more than one page of any list, more descriptors than one message takes
	want := make(map[string]int)
	for i := range n {
		slot := fmt.Sprintf("s%d", i)
		want[slot] = s.spawn(t, s.stays(slot, uint64(i))).PID
	}
	for _, r := range s.list(t) {
		if want[r.Slot] != r.PID {
			t.Errorf("List has %s with pid %d, want %d", r.Slot, r.PID, want[r.Slot])
		}
		delete(want, r.Slot)
	}
	if len(want) != 0 {
		t.Errorf("List lacks %v", want)
	}
}

func testLog(t *testing.T, s suite) {
	if _, fake := s.Runner.(*Fake); fake {
		return // its programs write nothing by themselves
	}
	run := s.spawn(t, s.spec("a", 1, "echo out; echo err >&2", "exit 0"))
	flags, err := unix.FcntlInt(uintptr(run.Log), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the log's flags are %#x (%v), want O_NONBLOCK", flags, err)
	}
	log := os.NewFile(uintptr(dup(t, run.Log)), "log")
	defer log.Close()
	if err := log.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(log)
	if err != nil || string(got) != "out\nerr\n" {
		t.Errorf("the log is %q (%v)", got, err)
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testNotify(t *testing.T, s suite) {
	spec := s.stays("a", 1)
	spec.Notify = filepath.Join(shortDir(t), "a")
	run := s.spawn(t, spec)
	if run.Notify < 0 {
		if _, fake := s.Runner.(*Fake); !fake {
			t.Error("the run has no notify socket")
		}
		return // a Fake may be made without descriptors
	}
	Datagram(t, spec.Notify, "READY=1")
	if got := ReadDatagram(t, run.Notify); got != "READY=1" {
		t.Errorf("the notify socket got %q", got)
	}
}

func testContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Spawn(ctx, s.stays("a", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Spawn: %v, want the context's error", err)
	}
	if _, err := s.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v, want the context's error", err)
	}
	s.spawn(t, s.stays("a", 1)) // whatever came of the first, it can be repeated
}

func testConcurrent(t *testing.T, s suite) {
	const slots, rounds = 8, 5
	errs := make(chan error, slots)
	for i := range slots {
		go func() { errs <- s.churn(fmt.Sprintf("s%d", i), rounds) }()
	}
	for range slots {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if runs := s.list(t); len(runs) != 0 {
		t.Errorf("List has %d runs, want none", len(runs))
	}
}

// churn starts and ends runs of a slot without the help of events.
func (s suite) churn(slot string, rounds uint64) error {
	for g := range rounds {
		run, err := s.Spawn(s.ctx, s.stays(slot, g))
		if err != nil {
			return fmt.Errorf("Spawn(%s, %d): %w", slot, g, err)
		}
		CloseRuns(run)
		if err := s.Signal(s.ctx, slot, g, unix.SIGKILL, true); err != nil {
			return fmt.Errorf("Signal(%s, %d): %w", slot, g, err)
		}
		for {
			run, err = s.Spawn(s.ctx, s.stays(slot, g)) // the same run, until it has ended
			if err != nil {
				return fmt.Errorf("Spawn(%s, %d) again: %w", slot, g, err)
			}
			CloseRuns(run)
			if run.Exit != nil {
				break
			}
		}
		if err := s.Forget(s.ctx, slot, g); err != nil {
			return fmt.Errorf("Forget(%s, %d): %w", slot, g, err)
		}
	}
	return nil
}
