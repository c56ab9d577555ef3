package keeper_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
	"hermes/internal/keeper"
)

func TestSweepKillsWhatSurvived(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	a, b := f.stays("a", 1), f.stays("b", 1)
	f.spawn(f.sh("strayed", 1, `setsid sh -c 'echo $$ >stray; exec sleep 1000' & while [ ! -s stray ]; do sleep 0.01; done`))
	f.file("stray")
	for _, pid := range []int{f.PID, f.engine.PID} {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	f.Wait(t)
	if !alive(a.PID) || !alive(b.PID) {
		t.Fatal("the runs did not survive the keeper")
	}
	swept, err := keeper.Sweep(f.Keeper.Runtime)
	if err != nil || len(swept) != 3 {
		t.Fatalf("Sweep: %+v, %v, want three slots", swept, err)
	}
	if alive(a.PID) || alive(b.PID) {
		t.Error("a run survived the sweep")
	}
	for _, dir := range []string{"slots", "n", "backlog"} {
		if left, err := os.ReadDir(filepath.Join(f.Keeper.Runtime, dir)); err != nil || len(left) != 0 {
			t.Errorf("%s has %v (%v)", dir, left, err)
		}
	}
	again := start(t, enginetest.KeeperOptions{Runtime: f.Keeper.Runtime})
	again.stays("a", 1)
}

// Not parallel: a child this process forks meanwhile has a copy of the locked
// descriptor until its exec, and would be taken for the run it is proven to be.
func TestSweepNamesWhatItCannotProve(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "slots", "gateway-x.lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	// The holder is this process, which no sweep takes for a run; the record
	// names another boot's process 2.
	for _, record := range []string{"", "gateway-x 1 2 3 other-boot 4\n"} {
		if _, err := unix.Pwrite(fd, []byte(record), 0); err != nil {
			t.Fatal(err)
		}
		swept, err := keeper.Sweep(dir)
		if err == nil || !strings.Contains(err.Error(), "gateway-x") || len(swept) != 0 {
			t.Errorf("Sweep: %+v, %v, want an error that names the slot", swept, err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the lock is gone: %v", err)
	}
}

func TestSweepOfNothing(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if swept, err := keeper.Sweep(dir); err != nil || swept != nil {
			t.Errorf("Sweep: %+v, %v", swept, err)
		}
	}
}
