package holder

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv turns the test binary into a process that holds a lock; its value
// is the way it behaves.
const helperEnv = "HOLDER_TEST_BEHAVIOUR"

func TestMain(m *testing.M) {
	if how := os.Getenv(helperEnv); how != "" {
		hold(how, os.Args[1])
	}
	os.Exit(m.Run())
}

// hold takes the lock, says so, and lives until its stdin ends.
func hold(how, file string) {
	if how == "stubborn" {
		signal.Ignore(unix.SIGTERM)
	}
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil && how == "leaves" {
		// The lock lives on in a child; the process that took it ends.
		child := exec.Command(os.Args[0], file)
		child.Env = append(os.Environ(), helperEnv+"=idle")
		child.Stdin = os.Stdin
		child.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), file)}
		err = child.Start()
	}
	if how == "idle" {
		err = nil
	}
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	if how == "leaves" {
		os.Stdout.WriteString("held\n")
		os.Exit(0)
	}
	if how != "idle" {
		os.Stdout.WriteString("held\n")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// start runs a helper on file and returns it once it holds the lock.
func start(t *testing.T, how, file string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, file)
	// The race detector would make every helper wait a second at its end.
	cmd.Env = append(os.Environ(), helperEnv+"="+how, "GORACE=atexit_sleep_ms=0")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the helper said %q, %v", line, err)
	}
	return cmd
}

func TestFree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.lock")
	if _, err := Of(file); !errors.Is(err, ErrFree) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"pid":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(file); !errors.Is(err, ErrFree) {
		t.Errorf("a file that names a living pid, not locked: %v", err)
	}
}

func TestHolderIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.lock")
	cmd := start(t, "plain", file)
	h, err := Of(file)
	if err != nil || h.PID != cmd.Process.Pid {
		t.Errorf("got %+v, %v, want pid %d", h, err, cmd.Process.Pid)
	}
	if _, err := Of(file + "-other"); !errors.Is(err, ErrFree) {
		t.Errorf("another file: %v", err)
	}
}

func TestEndTerminates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.lock")
	cmd := start(t, "plain", file)
	h, err := Of(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.End(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the helper ended with %v, want SIGTERM", err)
	}
	if _, err := Of(file); !errors.Is(err, ErrFree) {
		t.Errorf("after End: %v", err)
	}
	if err := h.End(t.Context(), time.Second); err != nil {
		t.Errorf("End of a holder that is gone: %v", err)
	}
}

func TestEndKillsWhatIgnoresSIGTERM(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.lock")
	cmd := start(t, "stubborn", file)
	h, err := Of(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.End(t.Context(), 150*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the helper ended with %v, want SIGKILL", err)
	}
}

// A pid that no longer holds the lock is a stranger by now.
func TestEndLeavesStrangersAlone(t *testing.T) {
	dir := t.TempDir()
	mine, other := filepath.Join(dir, "a.lock"), filepath.Join(dir, "b.lock")
	start(t, "plain", mine)
	stranger := start(t, "plain", other)
	h, err := Of(mine)
	if err != nil {
		t.Fatal(err)
	}
	h.PID = stranger.Process.Pid
	if err := h.End(t.Context(), time.Second); !errors.Is(err, ErrHidden) {
		t.Errorf("got %v, want ErrHidden", err)
	}
	if err := stranger.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the stranger was ended: %v", err)
	}
}

// The kernel names the process that took the lock, even after it left the lock
// to a child: nobody is proven then.
func TestInheritedLockIsHidden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.lock")
	cmd := start(t, "leaves", file)
	_, _ = cmd.Process.Wait()
	if h, err := Of(file); !errors.Is(err, ErrHidden) {
		t.Errorf("got %+v, %v, want ErrHidden", h, err)
	}
}

func TestLinksAndFIFOsAreRefused(t *testing.T) {
	dir := t.TempDir()
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(link); err == nil || errors.Is(err, ErrFree) {
		t.Errorf("a link: %v", err)
	}
	if _, err := Of(fifo); !errors.Is(err, ErrFree) { // and it did not hang
		t.Errorf("a FIFO: %v", err)
	}
}

func TestFindLock(t *testing.T) {
	const table = `1: POSIX  ADVISORY  WRITE 11 fd:01:9 0 EOF
2: OFDLCK ADVISORY  WRITE -1 fd:01:9 0 EOF
3: FLOCK  ADVISORY  WRITE 33 fd:01:99 0 EOF
3: -> FLOCK  ADVISORY  WRITE 44 fd:01:9 0 EOF
4: FLOCK  ADVISORY  WRITE 55 fd:01:9 0 EOF
`
	for id, want := range map[lockID]int{"fd:01:9": 55, "fd:01:99": 33, "fd:01:1": 0, "fe:01:9": 0} {
		if got := findLock(table, id); got != want {
			t.Errorf("%s: got %d, want %d", id, got, want)
		}
	}
}

func FuzzFindLock(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 33 fd:01:99 0 EOF\n")
	f.Add("1: FLOCK\n2:\n\x00")
	f.Fuzz(func(t *testing.T, table string) {
		if findLock(table, "fd:01:99") < 0 {
			t.Error("a negative pid")
		}
	})
}
