package keeper_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/testkit"
)

// hangingProgram is a copy of sleep whose exec hangs until release is called.
func hangingProgram(t *testing.T) (path string, release func()) {
	t.Helper()
	return hangingCopy(t, "/bin/sleep")
}

// hangingCopy is a copy of a program whose exec hangs until release is called: a
// write lease makes whoever opens it wait.
func hangingCopy(t *testing.T, program string) (path string, release func()) {
	t.Helper()
	from, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path = filepath.Join(t.TempDir(), "sleep")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "no child that was being forked has the file open", func() bool {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
		return err != unix.EAGAIN
	})
	if err != nil {
		_ = unix.Close(fd)
		testkit.Unavailable(t, "this file system has no leases: %v", err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			_ = unix.Close(fd)
		}
	}
	t.Cleanup(release)
	return path, release
}

// hang starts a spawn that hangs, and returns once its fork is in flight.
func (f *fleet) hang(slot string, generation uint64, path string) <-chan error {
	f.t.Helper()
	before := len(enginetest.Processes(f.t, f.PID))
	spec := f.sh(slot, generation, "")
	spec.Path, spec.Argv = path, []string{"sleep", "1000"}
	done := make(chan error, 1)
	go func() {
		run, err := f.Spawn(f.ctx, spec)
		enginetest.CloseRuns(run)
		done <- err
	}()
	enginetest.Until(f.t, "the child hangs in its exec", func() bool {
		return len(enginetest.Processes(f.t, f.PID)) > before
	})
	return done
}

func TestAHungExecStallsNothingElse(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	other := f.stays("other", 1)
	path, release := hangingProgram(t)
	var hung []<-chan error
	for _, slot := range []string{"h1", "h2", "h3", "h4", "h5", "h6"} {
		hung = append(hung, f.hang(slot, 1, path))
	}
	began := time.Now()
	if _, err := f.Spawn(f.ctx, f.sh("h1", 2, "true")); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("a second run of the slot: %v, want ErrBusy", err)
	}
	if err := f.Runner.Signal(f.ctx, "other", 1, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	f.exits("other")
	f.stays("other", 2) // although children that hang hold copies of its lock
	for _, slot := range []string{"a", "b", "c"} {
		f.spawn(f.sh(slot, 1, "setsid sleep 0.01 & exit 3"))
		f.exits(slot)
	}
	f.killEngine()
	f.connect()
	if r := f.runs()["other"]; r.Generation != 2 || r.PID == other.PID || r.Exit != nil {
		t.Errorf("the other is %+v", r)
	}
	if d := time.Since(began); d > 10*time.Second { // the hang is longer, a busy machine's second is not
		t.Errorf("all that took %v beside a hung exec", d)
	}
	select {
	case err := <-hung[0]:
		if !errors.Is(err, engine.ErrGone) && !errors.Is(err, unix.ETIMEDOUT) {
			t.Errorf("the hung spawn returned %v", err)
		}
	default:
		t.Error("the hung spawn was not ended with its connection")
	}
	release()
	// They land: each as a run, or killed at once where that took the 5 s in
	// which somebody waits for it.
	enginetest.Until(t, "all have landed", func() bool {
		landed := 0
		for slot := range f.living() {
			if strings.HasPrefix(slot, "h") {
				landed++
			}
		}
		const others = 2 // the engine and the second run
		nothingHangs := len(enginetest.Processes(t, f.PID)) == others+landed
		return nothingHangs && (landed == len(hung) || time.Since(began) > 5*time.Second)
	})
}

func TestASpawnThatIsTooLateIsUndone(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	path, release := hangingProgram(t)
	err := <-f.hang("a", 1, path)
	if failed, ok := errors.AsType[*engine.SpawnError](err); !ok || failed.Errno != unix.ETIMEDOUT {
		t.Fatalf("Spawn: %v, want ETIMEDOUT", err)
	}
	if _, err := f.Spawn(f.ctx, f.sh("a", 2, "true")); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("Spawn while the first may yet come: %v, want ErrBusy", err)
	}
	release()
	enginetest.Until(t, "the slot is free", func() bool {
		run, err := f.Spawn(f.ctx, f.sh("a", 2, "exec sleep 1000"))
		enginetest.CloseRuns(run)
		return err == nil
	})
	if r := f.runs()["a"]; len(f.runs()) != 1 || r.Generation != 2 {
		t.Errorf("List has %+v, want only the second run", f.runs())
	}
	enginetest.Until(t, "the first is gone", func() bool { return len(enginetest.Processes(t, f.PID)) == 2 })
}

func TestAHungExecDoesNotDelayShutdown(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	path, _ := hangingProgram(t)
	hung := f.hang("a", 1, path)
	f.engine.Stop(t)
	began := time.Now()
	if err := f.Keeper.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-time.After(100 * time.Millisecond) // or the two would be one
	if err := f.Keeper.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := f.Wait(t); code != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("the keeper ended with %d after %v", code, time.Since(began))
	}
	<-hung
}

func TestAHungEngineDoesNotDelayShutdown(t *testing.T) {
	t.Parallel()
	path, _ := hangingProgram(t)
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{EnginePath: path})
	enginetest.Until(t, "the engine hangs in its exec", func() bool {
		return len(enginetest.Processes(t, k.PID)) == 1
	})
	began := time.Now()
	if err := k.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := k.Wait(t); code != 0 || time.Since(began) > 4*time.Second {
		t.Errorf("the keeper ended with %d after %v", code, time.Since(began))
	}
}

// A collection stops the world, and a thread inside a fork does not stop: one
// that hangs would take everything with it.
func TestNothingIsCollectedWhileAForkIsInFlight(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{GCTrace: true})
	collections := func() int { return strings.Count(f.Output(), "(forced)") }
	litter := func() { // far more than the heap may grow, then a fork
		spec := f.sh("..", 1, "")
		spec.Env = []string{"V=" + strings.Repeat("x", 180<<10)}
		for range 200 {
			if _, err := f.Spawn(f.ctx, spec); err == nil {
				t.Fatal("slot .. is accepted")
			}
		}
		f.stays("other", 1)
		if err := f.Runner.Signal(f.ctx, "other", 1, unix.SIGKILL, true); err != nil {
			t.Fatal(err)
		}
		f.exits("other")
		if err := f.Forget(f.ctx, "other", 1); err != nil {
			t.Fatal(err)
		}
	}
	path, release := hangingProgram(t)
	hung := f.hang("h", 1, path)
	before := collections() // on a machine with many processes its start leaves enough
	litter()
	if n := collections(); n != before {
		t.Errorf("%d collections with a fork in flight", n-before)
	}
	release()
	<-hung
	enginetest.Until(t, "the heap is collected", func() bool {
		litter()
		return collections() > before
	})
}

func TestTheKeeperLivesAtTheProcessLimit(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{Unprivileged: true})
	spec := func(slot string) engine.Spec {
		s := f.sh(slot, 1, "exec sleep 1000")
		s.Dir = "/"
		return s
	}
	limit, err := f.Spawn(f.ctx, enginetest.Limit("limit"))
	if err != nil {
		t.Fatal(err)
	}
	defer enginetest.CloseRuns(limit)
	if got := enginetest.ReadDatagram(t, limit.Log); got != "limited\n" {
		t.Fatalf("the limit could not be set: %s", got)
	}
	var spawns sync.WaitGroup
	for i := range 30 { // each call blocks a thread for a moment
		spawns.Go(func() {
			run, err := f.Spawn(f.ctx, spec(fmt.Sprintf("s%d", i)))
			enginetest.CloseRuns(run)
			if !errors.Is(err, unix.EAGAIN) {
				t.Errorf("Spawn: %v, want EAGAIN", err)
			}
		})
	}
	spawns.Wait()
	if runs := f.runs(); len(runs) != 1 {
		t.Errorf("List has %v", runs)
	}
	if err := f.Runner.Signal(f.ctx, "limit", 0, unix.SIGTERM, true); err != nil {
		t.Fatal(err)
	}
	if e := f.exits("limit"); e.Code != 0 {
		t.Fatalf("the limit could not be lifted: %+v", e)
	}
	f.spawn(spec("a"))
}
