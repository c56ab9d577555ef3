package keeper_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/process"
	"hermes/internal/testkit"
)

func TestFastExitsAreNeverLost(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	before := f.fds()
	const total, slots = 1000, 10
	var done [slots]chan struct{} // a token for each exit
	var spawns sync.WaitGroup
	for i := range slots {
		done[i] = make(chan struct{}, 1)
		spawns.Go(func() {
			for g := range uint64(total / slots) {
				spec := f.sh(strconv.Itoa(i), g, "")
				spec.Path, spec.Argv = "/bin/true", []string{"true"}
				run, err := f.Spawn(f.ctx, spec)
				enginetest.CloseRuns(run)
				if err != nil {
					t.Errorf("Spawn: %v", err)
					return
				}
				<-done[i]
			}
		})
	}
	for n := range total {
		select {
		case e := <-f.Events():
			if e.Exit.Code != 0 || e.Exit.Unknown {
				t.Errorf("exit of %s %d is %+v", e.Slot, e.Generation, e.Exit)
			}
			if err := f.Forget(f.ctx, e.Slot, e.Generation); err != nil {
				t.Fatal(err)
			}
			i, _ := strconv.Atoi(e.Slot)
			done[i] <- struct{}{}
		case <-f.ctx.Done():
			t.Fatalf("%d of %d runs have ended", n, total)
		}
	}
	spawns.Wait()
	if runs := f.runs(); len(runs) != 0 {
		t.Errorf("List has %v", runs)
	}
	enginetest.Until(t, "the keeper's descriptors are as before", func() bool { return f.fds() == before })
	enginetest.Until(t, "only the engine is left", func() bool { return len(enginetest.Processes(t, f.PID)) == 1 })
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.spawn(f.sh("a", 1, "for i in 1 2 3; do setsid sleep 0.1 & done; exit 0"))
	f.exits("a")
	enginetest.Until(t, "the orphans are gone", func() bool { return len(enginetest.Processes(t, f.PID)) == 1 })
}

func TestTheGroupDiesWithItsLeader(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	f.spawn(f.sh("a", 1, "sleep 1000 & echo $! >member; wait"))
	member, err := strconv.Atoi(strings.TrimSpace(f.file("member")))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Runner.Signal(f.ctx, "a", 1, unix.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	f.exits("a")
	enginetest.Until(t, "the member is gone", func() bool { return !alive(member) })
	f.stays("a", 2) // its lock is free
}

func TestWhatARunIsGiven(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	run := f.spawn(f.sh("a", 3, `
		cat /proc/self/fdinfo/1 /proc/self/fdinfo/2 >flags
		readlink /proc/self/fd/0 >stdin
		ls /proc/self/fd | wc -l >count
		ps -o sid= -p $$ >sid 2>/dev/null || cut -d' ' -f6 /proc/$$/stat >sid
		pwd >cwd
		exec sleep 1000`))
	for line := range strings.SplitSeq(f.file("flags"), "\n") {
		octal, ok := strings.CutPrefix(line, "flags:\t")
		if !ok {
			continue
		}
		if flags, err := strconv.ParseInt(octal, 8, 64); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("its output has flags %s, want a blocking pipe", octal)
		}
	}
	if got := f.file("stdin"); got != "/dev/null\n" {
		t.Errorf("its stdin is %q", got)
	}
	if got := strings.TrimSpace(f.file("count")); got != "5" { // 0-3, and ls's own
		t.Errorf("it has %s descriptors", got)
	}
	adj := func(pid int) int {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return n
	}
	if own, got := adj(f.PID), adj(run.PID); got != min(own+200, 1000) {
		t.Errorf("its oom_score_adj is %d, the keeper's %d", got, own)
	}
	if got := strings.TrimSpace(f.file("sid")); got != strconv.Itoa(run.PID) {
		t.Errorf("its session is %s, its pid %d", got, run.PID)
	}
	f.file("cwd")
	lock := f.sh("a", 3, "").Lock
	record, err := os.ReadFile(lock)
	want := fmt.Sprintf("a 3 %d %d %s %d\n", run.PID, run.StartTime, process.BootID(), process.PIDNamespace())
	if err != nil || string(record) != want {
		t.Errorf("its record is %q (%v), want %q", record, err, want)
	}
	if !held(t, lock) {
		t.Error("its lock is not held")
	}
	if err := f.Runner.Signal(f.ctx, "a", 3, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	f.exits("a")
	if held(t, lock) {
		t.Error("its lock is held after its end")
	}
}

// held reports whether the OFD lock of a file is.
func held(t *testing.T, path string) bool {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}) != nil
}

func TestSpawnFailures(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	before := f.fds()
	holder := f.sh("held", 1, "").Lock
	fd, err := unix.Open(holder, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*engine.Spec)
		stage  string
		errno  unix.Errno
	}{
		"no directory": {func(s *engine.Spec) { s.Dir = "/nowhere" }, "chdir", unix.ENOENT},
		"not a program": {func(s *engine.Spec) {
			s.Path = filepath.Join(f.dir, "data")
			_ = os.WriteFile(s.Path, []byte("data"), 0o700)
		}, "exec", unix.ENOEXEC},
		"not executable":       {func(s *engine.Spec) { s.Path = "/etc/passwd" }, "exec", unix.EACCES},
		"notify in no place":   {func(s *engine.Spec) { s.Notify = "/nowhere/n" }, "notify", unix.ENOENT},
		"lock in no place":     {func(s *engine.Spec) { s.Lock = "/nowhere/l" }, "lock", unix.ENOENT},
		"lock held by another": {func(s *engine.Spec) { s.Lock = holder }, "lock", unix.EAGAIN},
	} {
		t.Run(name, func(t *testing.T) {
			spec := f.sh("a", 1, "exit 0")
			c.change(&spec)
			_, err := f.Spawn(f.ctx, spec)
			failed, ok := errors.AsType[*engine.SpawnError](err)
			if !ok || failed.Stage != c.stage || failed.Errno != c.errno {
				t.Errorf("Spawn: %v, want %s and %v", err, c.stage, c.errno)
			}
		})
	}
	for _, slot := range []string{"", "..", "a/b"} {
		if _, err := f.Spawn(f.ctx, f.sh(slot, 1, "exit 0")); err == nil {
			t.Errorf("slot %q is accepted", slot)
		}
	}
	enginetest.Until(t, "the keeper's descriptors are as before", func() bool { return f.fds() == before })
	f.stays("a", 2)
}

func TestAStrayOfTheLastRunIsKilled(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	// The stray leaves the group, and keeps the lock with descriptor 3.
	f.spawn(f.sh("a", 1, `setsid sh -c 'echo $$ >stray; exec sleep 1000' & while [ ! -s stray ]; do sleep 0.01; done`))
	stray, err := strconv.Atoi(strings.TrimSpace(f.file("stray")))
	if err != nil {
		t.Fatal(err)
	}
	f.exits("a")
	f.stays("a", 2)
	if alive(stray) {
		t.Errorf("the stray %d lives beside the second run", stray)
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root can give another identity")
	}
	f := start(t, enginetest.KeeperOptions{})
	spec := f.sh("a", 1, "id -u; id -g; id -G")
	spec.Dir = "/"
	spec.Credential = &engine.Credential{UID: 10000, GID: 10001, Groups: []uint32{10002}}
	run, err := f.Spawn(f.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer enginetest.CloseRuns(run)
	f.exits("a")
	out := make([]byte, 100)
	n, err := unix.Read(run.Log, out)
	if err != nil || !bytes.Equal(out[:n], []byte("10000\n10001\n10001 10002\n")) {
		t.Errorf("it is %q (%v)", out[:max(n, 0)], err)
	}
}
