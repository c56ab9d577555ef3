package keeper_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
)

// renew has the keeper take up its binary anew, and is its next engine.
func (f *fleet) renew() {
	f.t.Helper()
	before := f.image()
	if err := f.Keeper.Signal(unix.SIGHUP); err != nil {
		f.t.Fatal(err)
	}
	for range f.Runner.Events() { // ends with the engine
	}
	enginetest.Until(f.t, "the keeper has been replaced", func() bool { return f.image() != before })
	f.connect()
}

// image tells one execution of the keeper's process from the next: exec places
// its stack, and so its arguments, elsewhere.
func (f *fleet) image() string {
	f.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.PID))
	if err != nil {
		f.t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return fields[45] + "-" + fields[46] // arg_start, arg_end
}

func renewable(t *testing.T) *fleet {
	t.Helper()
	return start(t, enginetest.KeeperOptions{RenewPath: "/proc/self/exe"})
}

func TestARenewedKeeperHasTheSameRuns(t *testing.T) {
	t.Parallel()
	f := renewable(t)
	spec := f.sh("a", 3, `trap "exit 7" TERM; echo said before; echo >up; while :; do sleep 0.02; done`)
	spec.Notify = filepath.Join(f.Keeper.Runtime, "n", "a")
	a := f.spawn(spec)
	f.file("up")
	b := f.stays("b", 1)
	stamp := f.Runner.Keeper().Stamp
	f.renew()
	if info := f.Runner.Keeper(); info.PID != f.PID || info.Stamp != stamp {
		t.Errorf("the keeper is %+v, want pid %d and stamp %s", info, f.PID, stamp)
	}
	runs := f.runs()
	if r := runs["a"]; r.PID != a.PID || r.StartTime != a.StartTime || r.Exit != nil || r.Log < 0 || r.Notify < 0 {
		t.Errorf("a was %+v and is %+v", a, r)
	}
	buf := make([]byte, 64)
	if n, err := unix.Read(runs["a"].Log, buf); err != nil || string(buf[:n]) != "said before\n" {
		t.Errorf("its log has %q (%v)", buf[:max(n, 0)], err)
	}
	if r := runs["b"]; r.PID != b.PID || r.Notify >= 0 {
		t.Errorf("b was %+v and is %+v", b, r)
	}
	if !held(t, spec.Lock) {
		t.Error("a's lock is free")
	}
	// It is still their parent: it knows how they end.
	if err := f.Runner.Signal(f.ctx, "a", 3, unix.SIGTERM, true); err != nil {
		t.Fatal(err)
	}
	if e := f.exits("a"); e.Code != 7 || e.Unknown {
		t.Errorf("a ended with %+v, want 7", e)
	}
	f.renew()
	if e := f.exits("a"); e.Code != 7 { // an exit nobody took note of
		t.Errorf("a ended with %+v, want 7", e)
	}
	if _, err := os.Stat(spec.Notify); err != nil {
		t.Errorf("its notify socket: %v", err)
	}
	if err := f.Forget(f.ctx, "a", 3); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(spec.Notify); err == nil {
		t.Error("its notify socket is left")
	}
	f.stays("a", 4)
}

// A stop that comes while the keeper is being replaced waits for the successor,
// and what that starts can be told to stop as well.
func TestAStopDuringARenewalIsCarriedOut(t *testing.T) {
	t.Parallel()
	hold := filepath.Join(t.TempDir(), "go")
	f := start(t, enginetest.KeeperOptions{RenewPath: "/proc/self/exe", Hold: hold})
	f.spawn(f.sh("a", 1, obedient))
	f.file("up")
	hang := func() {
		if err := f.Keeper.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		enginetest.Until(t, "the successor is there", func() bool {
			_, err := os.Stat(hold + ".waits")
			return err == nil
		})
	}
	goOn := func() {
		if err := errors.Join(os.Remove(hold+".waits"), os.WriteFile(hold, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	hang()
	goOn()
	f.connect()
	f.spawn(f.sh("b", 1, "grep ^Sig[BI] /proc/self/status >masks; exec sleep 1000"))
	for line := range strings.Lines(f.file("masks")) { // ignored or blocked, SIGTERM were not heard
		_, hex, _ := strings.Cut(strings.TrimSpace(line), "\t")
		const standard = 1<<31 - 1 // 1 to 31; of the others a libc keeps some to itself
		if mask, err := strconv.ParseUint(hex, 16, 64); err != nil || mask&standard != 0 {
			t.Errorf("a run of a renewed keeper has %s (%v)", line, err)
		}
	}
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	hang()
	f.term()
	goOn()
	if code := f.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := f.file("said"); strings.TrimSpace(got) != "term" {
		t.Errorf("the run heard %q", got)
	}
}

// SIGHUP that comes while an engine is being started has no engine to ask.
func TestARenewalAskedForWhileTheEngineStartsIsCarriedOut(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path, release := hangingCopy(t, self)
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{EnginePath: path, RenewPath: "/proc/self/exe", UpWithin: 4 * patience})
	f := &fleet{Keeper: k, t: t}
	defer k.Connect(t) // not before it is up can it be told to stop
	enginetest.Until(t, "the engine hangs in its exec", func() bool { return len(enginetest.Processes(t, k.PID)) == 1 })
	image := f.image()
	if err := k.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-time.After(100 * time.Millisecond) // it has been taken note of
	release()
	enginetest.Until(t, "the keeper has been replaced", func() bool { return f.image() != image })
}

// A new binary that takes its time to say whether it would do holds up nobody's
// output.
func TestOutputIsReadWhileASuccessorIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := start(t, enginetest.KeeperOptions{RenewPath: program(t, "until [ -e "+dir+"/go ]; do sleep 0.05; done; echo it would not >&2; exit 3")})
	f.spawn(f.sh("a", 1, "until [ -e go ]; do sleep 0.01; done; head -c 300000 /dev/zero; echo >done; exec sleep 1000"))
	if err := f.Keeper.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for range f.Runner.Events() {
	}
	if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.file("done")
	if strings.Contains(f.Output(), "cannot take up") {
		t.Errorf("the check had ended by then:\n%s", f.Output())
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.connect()
	if r := f.runs()["a"]; r.LogBacklog == "" || r.LogDropped != 0 {
		t.Errorf("a has the backlog %q, %d bytes dropped", r.LogBacklog, r.LogDropped)
	}
	if !strings.Contains(f.Output(), "it would not\n") {
		t.Errorf("the binary's own reason is not told:\n%s", f.Output())
	}
}

func TestRenewUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	f := renewable(t)
	before := f.fds()
	quiet := f.stays("quiet", 1)
	const slots, rounds = 8, 4
	for round := range uint64(rounds) {
		var spawns sync.WaitGroup
		started := make([]bool, slots)
		for i := range slots {
			spawns.Go(func() {
				run, err := f.Spawn(f.ctx, f.sh("s"+strconv.Itoa(i), round, fmt.Sprintf("exit %d", i)))
				enginetest.CloseRuns(run)
				if err != nil && !errors.Is(err, engine.ErrGone) {
					t.Errorf("Spawn: %v", err)
				}
				started[i] = err == nil
			})
		}
		f.renew()
		spawns.Wait()
		for i := range slots {
			slot := "s" + strconv.Itoa(i)
			if _, known := f.runs()[slot]; started[i] && !known {
				t.Errorf("round %d: %s was started and is not known", round, slot)
			}
			// Started by either, it ran once and ended as it ended.
			f.spawn(f.sh(slot, round, fmt.Sprintf("exit %d", i)))
			if e := f.exits(slot); e.Code != i || e.Unknown {
				t.Errorf("round %d: %s ended with %+v", round, slot, e)
			}
			if err := f.Forget(f.ctx, slot, round); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := f.runs()["quiet"]; r.PID != quiet.PID || r.Exit != nil || !alive(quiet.PID) {
		t.Errorf("the quiet one is %+v", r)
	}
	if err := f.Runner.Signal(f.ctx, "quiet", 1, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	f.exits("quiet")
	if err := f.Forget(f.ctx, "quiet", 1); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the keeper's descriptors are as before", func() bool { return f.fds() <= before })
	enginetest.Until(t, "only the engine is left", func() bool { return len(enginetest.Processes(t, f.PID)) == 1 })
}

func TestABinaryThatWouldNotDoIsNotTakenUp(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"fails": "#!/bin/sh\nexit 3\n", "no program": "\x7fELF", "missing": "",
	} {
		path := filepath.Join(t.TempDir(), "hermes")
		if script != "" {
			if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		f := start(t, enginetest.KeeperOptions{RenewPath: path})
		a, image := f.stays("a", 1), f.image()
		if err := f.Keeper.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range f.Runner.Events() {
		}
		f.connect()
		if r := f.runs()["a"]; f.image() != image || r.PID != a.PID || r.Exit != nil {
			t.Errorf("%s: a is %+v", name, r)
		}
		if !strings.Contains(f.Output(), "cannot take up "+path) {
			t.Errorf("%s: the keeper said %q", name, f.Output())
		}
	}
}

func TestAHungForkDefersNoMoreThanTheRenewal(t *testing.T) {
	t.Parallel()
	f := renewable(t)
	a := f.stays("a", 1)
	path, release := hangingProgram(t)
	hung := f.hang("h", 1, path)
	if err := f.Keeper.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for range f.Runner.Events() {
	}
	<-hung
	f.connect() // by the keeper that was there: it said why
	if !strings.Contains(f.Output(), "a program that is being started hangs") {
		t.Errorf("the keeper said %q", f.Output())
	}
	release() // nobody waits for it any more: it ends as it lands
	enginetest.Until(t, "a and the engine are left", func() bool { return len(enginetest.Processes(t, f.PID)) == 2 })
	if r := f.runs()["a"]; r.PID != a.PID || r.Exit != nil {
		t.Errorf("a is %+v", r)
	}
}
