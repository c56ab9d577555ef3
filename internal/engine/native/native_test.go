package native_test

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
	"hermes/internal/wire"
)

func TestMain(m *testing.M) {
	enginetest.Roles()
	goleak.VerifyTestMain(m)
}

// dial is the engine of k until the test ends.
func dial(t testing.TB, k *enginetest.Keeper) (*native.Runner, *enginetest.Engine) {
	t.Helper()
	e := k.Connect(t)
	r, err := native.Dial(e.FD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, e
}

func TestConforms(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Runner {
		r, _ := dial(t, enginetest.StartKeeper(t, enginetest.KeeperOptions{}))
		return r
	})
}

func TestKeeperInfo(t *testing.T) {
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{})
	r, _ := dial(t, k)
	info := r.Keeper()
	if info.PID != k.PID || info.Runtime != k.Runtime || info.Version != 1 || info.Stamp == "" {
		t.Errorf("the keeper is %+v, want pid %d, runtime %s", info, k.PID, k.Runtime)
	}
	stamp, err := os.ReadFile(k.Runtime + "/stamp")
	if err != nil || string(stamp) != info.Stamp+"\n" {
		t.Errorf("the runtime's stamp is %q (%v), the keeper's %q", stamp, err, info.Stamp)
	}
}

// What a keeper that was killed leaves is all that its engine knew of.
func TestBequeath(t *testing.T) {
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{})
	r, _ := dial(t, k)
	ctx := context.Background()
	spawn := func(slot, script string) engine.Run {
		run, err := r.Spawn(ctx, engine.Spec{
			Slot: slot, Generation: 4, Path: "/bin/sh", Argv: []string{"sh", "-c", script},
			Plan: engine.Plan{Signal: unix.SIGINT, Grace: 3 * time.Second}, Notify: k.Runtime + "/n/" + slot,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { enginetest.CloseRuns(run) }) // after Bequeath, as an engine does
		return run
	}
	lives := spawn("lives", "echo said; exec sleep 1000")
	t.Cleanup(func() { _ = unix.Kill(lives.PID, unix.SIGKILL) }) // it outlives its keeper
	spawn("forgotten", "exit 3")
	spawn("ended", "exit 5")
	for range 2 {
		if e := <-r.Events(); e.Slot == "forgotten" {
			if err := r.Forget(ctx, e.Slot, e.Generation); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.Gone()
	estate := r.Bequeath()
	left := map[string]wire.Inherited{}
	for _, run := range estate.Runs {
		defer wire.CloseFDs(run.LogFD, run.NotifyFD)
		left[run.Slot] = run
	}
	if estate.Stamp != r.Keeper().Stamp || string(estate.Runtime) != k.Runtime || len(left) != 2 {
		t.Fatalf("left are %+v", estate)
	}
	l := left["lives"]
	if l.PID != lives.PID || l.StartTime != lives.StartTime || l.Exit != nil || l.Child || l.Signal != int(unix.SIGINT) || l.Grace != 3*time.Second {
		t.Errorf("the living run is %+v, was %+v", l, lives)
	}
	buf := make([]byte, 16)
	enginetest.Until(t, "its log can be read", func() bool {
		n, err := unix.Read(l.LogFD, buf)
		return err == nil && string(buf[:n]) == "said\n"
	})
	if _, err := unix.FcntlInt(uintptr(l.NotifyFD), unix.F_GETFD, 0); err != nil {
		t.Errorf("its notify socket: %v", err)
	}
	if e := left["ended"].Exit; e == nil || e.Code != 5 {
		t.Errorf("the ended run is %+v", left["ended"])
	}
}

// BenchmarkSpawn starts runs, eight at a time, as a boot does.
func BenchmarkSpawn(b *testing.B) {
	r, _ := dial(b, enginetest.StartKeeper(b, enginetest.KeeperOptions{}))
	ctx := context.Background()
	next := make(chan int)
	done := make(chan error)
	const workers = 8
	for range workers {
		go func() {
			var failed error
			for i := range next {
				run, err := r.Spawn(ctx, engine.Spec{
					Slot: "s" + strconv.Itoa(i), Path: "/bin/sleep", Argv: []string{"sleep", "1000"},
				})
				enginetest.CloseRuns(run)
				if err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	b.ResetTimer()
	for i := range b.N {
		next <- i
	}
	close(next)
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// BenchmarkForkExec is the floor: the same program by a bare loop.
func BenchmarkForkExec(b *testing.B) {
	var pids []int
	for b.Loop() {
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, &syscall.ProcAttr{
			Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
}
