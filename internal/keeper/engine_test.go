package keeper_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
)

func TestRunsSurviveTheEngine(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	pids := make(map[string]int)
	for round := range 4 {
		slot := fmt.Sprintf("s%d", round)
		spawned := make(chan error, 1)
		go func() {
			run, err := f.Spawn(f.ctx, f.sh(slot, 1, "exec sleep 1000"))
			enginetest.CloseRuns(run)
			spawned <- err
		}()
		<-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond)
		f.killEngine()
		if err := <-spawned; err != nil && !errors.Is(err, engine.ErrGone) {
			t.Fatalf("Spawn: %v", err)
		}
		f.connect()
		pids[slot] = f.stays(slot, 1).PID // started by either, started once
		runs := f.runs()
		if len(runs) != len(pids) {
			t.Fatalf("List has %d runs, want %d", len(runs), len(pids))
		}
		for slot, pid := range pids {
			if r := runs[slot]; r.PID != pid || r.Exit != nil || !alive(pid) {
				t.Fatalf("%s was process %d and is %+v", slot, pid, r)
			}
		}
	}
	if n := len(enginetest.Processes(t, f.PID)); n != len(pids)+1 {
		t.Errorf("the keeper has %d children, want the engine and %d runs", n, len(pids))
	}
}

func TestExitsAreKeptWhileTheEngineIsAway(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	a := f.stays("a", 1)
	b := f.spawn(f.sh("b", 1, `trap "exit 7" TERM; echo >up; while :; do sleep 0.02; done`))
	f.file("up")
	f.killEngine()
	for pid, sig := range map[int]unix.Signal{a.PID: unix.SIGUSR1, b.PID: unix.SIGTERM} {
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Until(t, "both have ended", func() bool { return !alive(a.PID) && !alive(b.PID) })
	f.connect()
	for range 2 { // they are kept until they are forgotten
		if e := f.exits("a"); e.Code != -1 || e.Signal != unix.SIGUSR1 {
			t.Errorf("a ended with %+v, want SIGUSR1", e)
		}
		if e := f.exits("b"); e.Code != 7 || e.Signal != 0 {
			t.Errorf("b ended with %+v, want 7", e)
		}
		f.killEngine()
		f.connect()
	}
}

func TestDatagramsAreKeptWhileTheEngineIsAway(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	spec := f.sh("a", 1, "exec sleep 1000")
	spec.Notify = filepath.Join(f.Keeper.Runtime, "n", "a")
	f.spawn(spec)
	if st, err := os.Stat(spec.Notify); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("the socket is %v (%v), want mode 0666", st, err)
	}
	f.killEngine()
	enginetest.Datagram(t, spec.Notify, "READY=1")
	f.connect()
	if got := enginetest.ReadDatagram(t, f.runs()["a"].Notify); got != "READY=1" {
		t.Errorf("got %q", got)
	}
}

func TestLogsAreKeptWhileTheEngineIsAway(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	const total, kept = 3 << 20, 1 << 20
	f.spawn(f.sh("a", 1, fmt.Sprintf("until [ -e go ]; do sleep 0.02; done; head -c %d /dev/zero; echo >done; until [ -e again ]; do sleep 0.02; done; echo again; exec sleep 1000", total)))
	quiet := f.stays("quiet", 1)
	f.killEngine()
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.file("done") // it was not blocked for ever
	f.connect()
	runs := f.runs()
	r := runs["a"]
	in := make([]byte, 1<<20)
	left := 0
	for {
		n, err := unix.Read(r.Log, in)
		if n <= 0 || err != nil {
			break
		}
		left += n
	}
	b, err := os.ReadFile(r.LogBacklog)
	if err != nil || len(b) != kept || int64(len(b))+r.LogDropped+int64(left) != total {
		t.Errorf("the backlog has %d bytes (%v), %d were dropped, %d left, want %d, and %d in all",
			len(b), err, r.LogDropped, left, kept, total)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "again"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := enginetest.ReadDatagram(t, r.Log); got != "again\n" { // by nobody else
		t.Errorf("with an engine the log has %q", got)
	}
	if q := runs["quiet"]; q.LogBacklog != "" || q.LogDropped != 0 || q.PID != quiet.PID {
		t.Errorf("the quiet one has %+v", q)
	}
	if err := os.Remove(r.LogBacklog); err != nil {
		t.Fatal(err)
	}
	if r = f.runs()["a"]; r.LogBacklog != "" || r.LogDropped == 0 {
		t.Errorf("after it was taken the backlog is %q, dropped %d", r.LogBacklog, r.LogDropped)
	}
}

// An engine that is replaced at once reads the pipe itself, from where the last
// one stopped.
func TestAShortAbsenceLeavesThePipesAlone(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.spawn(f.sh("a", 1, "until [ -e go ]; do sleep 0.01; done; echo said; echo >done; exec sleep 1000"))
	f.killEngine()
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.file("done")
	f.connect()
	r := f.runs()["a"]
	if r.LogBacklog != "" || r.LogDropped != 0 {
		t.Errorf("a has the backlog %q, %d bytes dropped", r.LogBacklog, r.LogDropped)
	}
	if got := enginetest.ReadDatagram(t, r.Log); got != "said\n" {
		t.Errorf("its pipe has %q", got)
	}
}

func TestEngineFallsBackToThePinnedBinary(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "engine")
	if err := os.WriteFile(path, []byte("#!/bin/false\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := start(t, enginetest.KeeperOptions{EnginePath: path})
	said := func() int { return strings.Count(f.Output(), "using the binary this keeper runs") }
	if said() != 1 || strings.Count(f.Output(), "starting it again") != 3 {
		t.Errorf("after three failed starts the keeper said:\n%s", f.Output())
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	f.killEngine()
	f.connect() // by the path, which is repaired
	if said() != 1 {
		t.Errorf("the repaired path was not used:\n%s", f.Output())
	}
}

// program is an executable script.
func program(t *testing.T, script string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// An engine that lives and does not greet is none: it is killed, and after
// three of them the keeper starts the binary it runs itself.
func TestAnEngineThatSaysNothingIsKilledAndReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := program(t, "echo $$ >>"+dir+"/pids; exec sleep 1000")
	f := start(t, enginetest.KeeperOptions{EnginePath: path, UpWithin: 500 * time.Millisecond})
	b, err := os.ReadFile(filepath.Join(dir, "pids"))
	pids := strings.Fields(string(b))
	if err != nil || len(pids) != 3 {
		t.Errorf("engines that said nothing are %q (%v), want three", b, err)
	}
	for _, pid := range pids {
		if n, err := strconv.Atoi(pid); err != nil || alive(n) {
			t.Errorf("engine %s lives (%v)", pid, err)
		}
	}
	if out := f.Output(); strings.Count(out, "(signal: SIGKILL), starting it again") != 3 || strings.Count(out, "3 attempts failed") != 1 {
		t.Errorf("the keeper said:\n%s", out)
	}
	f.stays("a", 1)
}

// The binary's file system is dead: each exec of it holds a P of the keeper for
// as long as it hangs, so there must not be ever more of them.
func TestAnEngineWhoseExecHangsIsReplaced(t *testing.T) {
	t.Parallel()
	path, _ := hangingProgram(t)
	f := start(t, enginetest.KeeperOptions{EnginePath: path, UpWithin: 500 * time.Millisecond})
	a := f.stays("a", 1)
	for range 10 {
		f.killEngine()
		f.connect()
	}
	if n := len(enginetest.Processes(t, f.PID)); n > 2+3 {
		t.Errorf("the keeper has %d children, want an engine, a run, and three that hang", n)
	}
	if r := f.runs()["a"]; r.PID != a.PID || r.Exit != nil {
		t.Errorf("a is %+v", r)
	}
	f.stays("b", 1)
}

func TestEngineIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	a := f.stays("a", 1)
	first := f.engine.PID
	f.engine.Leave(t)
	for range f.Runner.Events() {
	}
	f.connect()
	if f.engine.PID == first || f.runs()["a"].PID != a.PID {
		t.Errorf("engine %d follows %d; the run is %+v, was %+v", f.engine.PID, first, f.runs()["a"], a)
	}
}

func TestEngineWithoutConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	first := f.engine.PID
	f.Runner.Close() // its process lives on
	f.connect()
	if f.engine.PID == first || alive(first) {
		t.Errorf("engine %d follows %d", f.engine.PID, first)
	}
}

func TestKeeperGone(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	if err := f.Keeper.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range f.Events() {
	}
	if _, err := f.List(f.ctx); !errors.Is(err, engine.ErrGone) {
		t.Errorf("List: %v, want ErrGone", err)
	}
	if _, err := f.Spawn(f.ctx, f.sh("a", 1, "true")); !errors.Is(err, engine.ErrGone) {
		t.Errorf("Spawn: %v, want ErrGone", err)
	}
}

func TestTooLargeSpawn(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	spec := f.sh("a", 1, "exec sleep 1000")
	large := func(n int) []string {
		var env []string
		for i := range n {
			env = append(env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 1000)))
		}
		return env
	}
	spec.Env = large(200)
	_, err := f.Spawn(f.ctx, spec)
	if failed, ok := errors.AsType[*engine.SpawnError](err); !ok || failed.Errno != unix.E2BIG {
		t.Errorf("Spawn: %v, want E2BIG", err)
	}
	spec.Env = large(180)
	f.spawn(spec)
}
