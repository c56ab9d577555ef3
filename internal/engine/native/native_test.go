package native_test

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
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
