package keeper_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
)

// obedient says in a file that SIGTERM reached it, and ends.
const obedient = `trap "echo term >>said; exit 0" TERM; echo >up; while :; do sleep 0.05; done`

// deaf ignores SIGTERM.
const deaf = `trap "" TERM; echo >up-deaf; while :; do sleep 0.05; done`

func (f *fleet) awaitShutdown() {
	f.t.Helper()
	for {
		select {
		case e, ok := <-f.Events():
			if !ok {
				f.t.Fatalf("the keeper is gone\n%s", f.Output())
			}
			if e.Kind == engine.Shutdown {
				return
			}
		case <-f.ctx.Done():
			f.t.Fatal("no shutdown was asked for")
		}
	}
}

func (f *fleet) term() {
	f.t.Helper()
	if err := f.Keeper.Signal(unix.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
}

func TestShutdownByTheEngine(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.spawn(f.sh("a", 1, obedient))
	f.file("up")
	f.term()
	f.awaitShutdown()
	if err := f.AckShutdown(f.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Spawn(f.ctx, f.sh("b", 1, "true")); !errors.Is(err, unix.ESHUTDOWN) {
		t.Errorf("Spawn during the shutdown: %v, want ESHUTDOWN", err)
	}
	<-time.After(700 * time.Millisecond) // longer than an engine that is silent gets
	if f.Ended() || f.runs()["a"].Exit != nil {
		t.Error("the keeper stopped the run although the engine had taken it on")
	}
	if err := f.Runner.Signal(f.ctx, "a", 1, unix.SIGTERM, true); err != nil {
		t.Fatal(err)
	}
	f.exits("a")
	if err := f.Exit(f.ctx, 5); err != nil {
		t.Fatal(err)
	}
	if code := f.Wait(t); code != 0 {
		t.Errorf("exit code %d, want 0 after a stop from outside", code)
	}
}

func TestShutdownWithoutTheEngine(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*fleet){
		"stopped": func(f *fleet) { f.engine.Stop(f.t) },
		"silent":  func(*fleet) {},
		"dead":    func(f *fleet) { f.killEngine() },
		"dies midway": func(f *fleet) {
			f.term()
			f.awaitShutdown()
			if err := f.AckShutdown(f.ctx); err != nil {
				f.t.Fatal(err)
			}
			f.killEngine()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, enginetest.KeeperOptions{})
			f.spawn(f.sh("good", 1, obedient))
			spec := f.sh("deaf", 1, deaf)
			spec.Plan = engine.Plan{Signal: unix.SIGTERM, Grace: 800 * time.Millisecond}
			deafRun := f.spawn(spec)
			f.file("up")
			f.file("up-deaf")
			began := time.Now()
			lose(f)
			if name != "dies midway" {
				f.term()
			}
			if code := f.Wait(t); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			if d := time.Since(began); d < 800*time.Millisecond || d > 6*time.Second {
				t.Errorf("it took %v, want the grace of the deaf one and little more", d)
			}
			if got := f.file("said"); strings.TrimSpace(got) != "term" {
				t.Errorf("the obedient one heard %q", got)
			}
			if alive(deafRun.PID) {
				t.Error("the deaf one lives")
			}
		})
	}
}

func TestSecondStopKills(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	run := f.spawn(f.sh("a", 1, deaf)) // its grace is 10 s
	f.file("up-deaf")
	f.term()
	f.awaitShutdown()
	began := time.Now()
	if err := f.Keeper.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := f.Wait(t); code != 0 || time.Since(began) > 4*time.Second || alive(run.PID) {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
}

func TestExitUnasked(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	run := f.stays("a", 1) // forgotten by the engine
	if err := f.Exit(f.ctx, 78); err != nil {
		t.Fatal(err)
	}
	if code := f.Wait(t); code != 78 || alive(run.PID) {
		t.Errorf("exit code %d, want 78 and nothing left", code)
	}
}

func TestMainProgram(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		zero   bool // MainZeroOnStop
		stop   bool
		want   int
	}{
		"exits":                           {"exit 3", false, false, 3},
		"exits, though a stop would be 0": {"exit 3", true, false, 3},
		"ends by a signal":                {"kill -USR1 $$", false, false, 128 + int(unix.SIGUSR1)},
		"is stopped":                      {obedient, false, true, 0},
		"is stopped, and fails":           {`trap "exit 9" TERM; echo >up; while :; do sleep 0.05; done`, false, true, 9},
		"is stopped, and fails, 0":        {`trap "exit 9" TERM; echo >up; while :; do sleep 0.05; done`, true, true, 0},
		"is stopped without a terminal":   {`trap "exit 9" HUP; trap "exit 8" TERM; echo >up; while :; do sleep 0.05; done`, false, true, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, enginetest.KeeperOptions{MainZeroOnStop: c.zero})
			gateway := f.stays("gateway", 1)
			spec := f.sh("main", 1, c.script)
			spec.Main, spec.Lock = true, ""
			run, err := f.Spawn(f.ctx, spec)
			if err != nil {
				t.Fatal(err)
			}
			if run.Log != -1 || run.Notify != -1 {
				t.Errorf("the main program has descriptors: %+v", run)
			}
			if c.stop {
				f.file("up")
				f.engine.Stop(t)
				f.term()
			}
			if code := f.Wait(t); code != c.want {
				t.Errorf("exit code %d, want %d\n%s", code, c.want, f.Output())
			}
			if alive(gateway.PID) {
				t.Error("the gateway outlived the main program")
			}
		})
	}
}

func TestStraysDoNotOutliveTheKeeper(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.spawn(f.sh("a", 1, `setsid sh -c 'echo $$ >stray; exec sleep 1000' & exec sleep 1000`))
	var stray int
	if _, err := fmt.Sscan(f.file("stray"), &stray); err != nil {
		t.Fatal(err)
	}
	f.engine.Stop(t)
	f.term()
	if code := f.Wait(t); code != 0 || alive(stray) {
		t.Errorf("exit code %d, the stray lives: %v", code, alive(stray))
	}
}
