package keeper_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
	"hermes/internal/testkit"
)

func TestNoSignalKillsPID1(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{PID1: true})
	if pid := f.Runner.Keeper().PID; pid != 1 {
		t.Fatalf("the keeper is process %d", pid)
	}
	var script strings.Builder
	for sig := unix.Signal(1); sig <= 31; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP: // pid 1 gets neither from inside
		case unix.SIGTERM, unix.SIGINT: // these ask it to stop
		default:
			fmt.Fprintf(&script, "kill -%d 1 || exit 1; ", sig)
		}
	}
	f.spawn(f.sh("a", 1, script.String()+script.String()))
	if e := f.exits("a"); e.Code != 0 {
		t.Errorf("the sender ended with %+v", e)
	}
	if f.Ended() {
		t.Fatalf("the keeper is dead:\n%s", f.Output())
	}
	// An orphan of pid 1 is reaped like any other.
	f.spawn(f.sh("b", 1, "setsid sleep 0.05 & exit 0"))
	f.exits("b")
	enginetest.Until(t, "only the engine is left", func() bool { return len(enginetest.Processes(t, f.PID)) == 1 })
	run := f.stays("c", 1)
	f.spawn(f.sh("d", 1, "kill -TERM 1; exec sleep 1000")) // from inside, as docker stop is not
	f.awaitShutdown()
	if code := f.Wait(t); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0 (run %d)\n%s", code, run.PID, f.Output())
	}
}

func TestTerminalOfTheMainProgram(t *testing.T) {
	t.Parallel()
	master, tty := terminal(t)
	defer master.Close()
	f := start(t, enginetest.KeeperOptions{TTY: tty})
	spec := f.sh("main", 1, `
		cut -d' ' -f5,8 /proc/$$/stat >groups
		kill -TSTP $$
		echo continued >after
		read line; echo "$line" >typed
		trap "" TERM; trap "exit 4" HUP; echo >up
		while :; do sleep 0.05; done`)
	spec.Main, spec.Lock = true, ""
	run := f.spawn(spec)
	if got, want := f.file("groups"), fmt.Sprintf("%d %d\n", run.PID, run.PID); got != want {
		t.Errorf("its group and the foreground's are %q, want %q", got, want)
	}
	f.file("after") // it was stopped, and nobody but the keeper could continue it
	if _, err := master.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	if got := f.file("typed"); got != "hello\n" {
		t.Errorf("it read %q", got)
	}
	f.file("up")
	f.engine.Stop(t)
	f.term()
	if code := f.Wait(t); code != 4 {
		t.Errorf("exit code %d, want that of its SIGHUP handler", code)
	}
}

// terminal opens a pseudo terminal.
func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		testkit.Unavailable(t, "there are no pseudo terminals: %v", err)
	}
	master = os.NewFile(uintptr(fd), "master")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return master, tty
}
