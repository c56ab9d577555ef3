package logfile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleVar makes this test binary play another process: "writer 6400 100 1000000"
// writes to its stdout, 6400 bytes at a time, in lines of 100, a million bytes.
const roleVar = "HERMES_LOGFILE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := strings.Fields(os.Getenv(roleVar)); len(role) > 0 {
		if err := play(role[0], role[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// play is the main function of a role.
func play(role string, args []string) error {
	switch role {
	case "writer": // bytes per write, per line, in all
		return playWriter(args[0], args[1], args[2])
	case "rotator": // directory
		return playRotator(args[0])
	case "limited": // directory
		return playLimited(args[0])
	case "unread": // directory
		return playUnread(args[0])
	case "full": // directory
		return playFull(args[0])
	}
	return fmt.Errorf("no such role: %s", role)
}

// actor is a command that plays a role.
func actor(t testing.TB, role ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVar+"="+strings.Join(role, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

// lines100 is n bytes in lines of 100.
func lines100(n int) []byte { return linesOf(100, n) }

// linesOf is n bytes in lines of length each.
func linesOf(length, n int) []byte {
	line := append(bytes.Repeat([]byte("0123456789"), length/10+1)[:length-1], '\n')
	return bytes.Repeat(line, n/length)
}

func playWriter(per, line, all string) error {
	n, _ := strconv.Atoi(per)
	length, _ := strconv.Atoi(line)
	total, _ := strconv.Atoi(all)
	block := linesOf(length, n)
	for total > 0 {
		// As a C program does it: without Go's bookkeeping around system calls.
		m, _, errno := unix.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&block[0])), uintptr(len(block)))
		if errno != 0 {
			return errno
		}
		total -= int(m)
	}
	return nil
}

// newPipe returns a nonblocking read end and a blocking write end, as a keeper
// makes them.
func newPipe(t testing.TB) (r *Pipe, w *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	r, w = NewPipe(p[0]), os.NewFile(uintptr(p[1]), "pipe")
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// openLog opens a log that is closed with the test.
func openLog(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// write gives a log a text.
func write(t testing.TB, l *Log, text string) {
	t.Helper()
	if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write: %d of %d, %v", n, len(text), err)
	}
}

// clock is a clock that stands still.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 5, 28, 12, 42, 13, 123456789, time.UTC)} }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

// fileNames lists the archives, and current, in order of writing.
func fileNames(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries { // '@' sorts before 'c'
		_, _, ok := parseArchive(e.Name())
		if !ok && e.Name() != current {
			t.Errorf("a stray file: %s", e.Name())
		}
		names = append(names, e.Name())
	}
	return names
}

// content is the whole log, over all its files.
func content(t testing.TB, dir string) string {
	t.Helper()
	var all []byte
	for _, name := range fileNames(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// unstamped is a log's content without the stamp that every line must have.
func unstamped(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		if len(line) < stampLen {
			t.Fatalf("a line without a stamp: %q", line)
		}
		if _, err := time.Parse(stampLayout, line[:stampLen]); err != nil {
			t.Fatalf("a line without a stamp: %.60q: %v", line, err)
		}
		out.WriteString(line[stampLen:])
	}
	return out.String()
}

// eventually polls until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("not in 10 s: %s", what)
		case <-tick.C:
		}
	}
}
