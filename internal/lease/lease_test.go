package lease

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

// TestMain lets the test binary be another supervisor ("hold") or a reader of
// another uid ("read").
func TestMain(m *testing.M) {
	home := os.Getenv("LEASE_TEST_HOME")
	switch os.Getenv("LEASE_TEST_ROLE") {
	case "hold":
		l, err := Take(home, testRecord(), TakeOptions{})
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("held " + strconv.Itoa(l.Record().PID) + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until killed, or the test is gone
		os.Exit(0)
	case "inherit": // descriptor 3 is the locked one
		l := Adopt(3, home)
		os.Stdout.WriteString("adopted " + l.Record().Socket + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	case "read":
		rec, status, err := Read(home)
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString(strconv.Itoa(int(status)) + " " + rec.Socket + "\n")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testRecord() Record {
	r := Self(time.Now())
	r.Socket, r.Manager = "/run/hermes/01234567/control.sock", "native (host supervisor)"
	return r
}

// inRole runs this binary in a role and returns its first line of output.
func inRole(t *testing.T, role, home string, set func(*exec.Cmd)) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "LEASE_TEST_ROLE="+role, "LEASE_TEST_HOME="+home)
	if _, err := cmd.StdinPipe(); err != nil { // closed, and so read, when we end
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if set != nil {
		set(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s said nothing: %v", role, err)
	}
	return cmd, strings.TrimSpace(line)
}

func take(t *testing.T, home string) *Lease {
	t.Helper()
	l, err := Take(home, testRecord(), TakeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantStatus(t *testing.T, home string, want Status) Record {
	t.Helper()
	rec, got, err := Read(home)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("status %d, want %d", got, want)
	}
	return rec
}

func TestTakeReadClose(t *testing.T) {
	home := t.TempDir()
	if rec := wantStatus(t, home, Free); rec != (Record{}) {
		t.Errorf("a home without a file has the record %+v", rec)
	}
	l := take(t, home)
	if l.Remote() {
		testkit.Unavailable(t, "the temporary directory is remote")
	}
	rec := wantStatus(t, home, Held)
	if !rec.Same(l.Record()) || rec.Socket != testRecord().Socket || rec.PID != os.Getpid() {
		t.Errorf("read %+v, took with %+v", rec, l.Record())
	}
	if _, err := Take(home, testRecord(), TakeOptions{TakeOver: true}); err == nil {
		t.Error("a held lock was taken over")
	} else if held, ok := errors.AsType[*HeldError](err); !ok || held.Record.PID != os.Getpid() || !held.Expires.IsZero() {
		t.Errorf("refused with %v", err)
	}
	st, err := os.Stat(filepath.Join(home, File))
	if err != nil || st.Mode().Perm() != fileMode {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rec := wantStatus(t, home, Free); rec.PID != os.Getpid() {
		t.Errorf("the last holder is forgotten: %+v", rec)
	}
}

func TestModeDespiteUmask(t *testing.T) {
	home := t.TempDir()
	old := unix.Umask(0o077)
	l := take(t, home)
	unix.Umask(old)
	defer l.Close()
	if st, err := os.Stat(filepath.Join(home, File)); err != nil || st.Mode().Perm() != fileMode {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// A shorter record must not leave a reader with the tail of a longer one.
func TestUpdateShrinks(t *testing.T) {
	home := t.TempDir()
	l := take(t, home)
	defer l.Close()
	rec := l.Record()
	rec.Manager, rec.Socket = "", ""
	if err := l.Update(rec); err != nil {
		t.Fatal(err)
	}
	if got := wantStatus(t, home, Held); got.Socket != "" || !got.Same(rec) {
		t.Errorf("read %+v", got)
	}
	b, err := os.ReadFile(filepath.Join(home, File))
	if err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("file is %q, %v", b, err)
	}
}

func TestReleaseWipesTheRecord(t *testing.T) {
	home := t.TempDir()
	if err := take(t, home).Release(); err != nil {
		t.Fatal(err)
	}
	if rec := wantStatus(t, home, Free); rec != (Record{}) {
		t.Errorf("left %+v", rec)
	}
}

func TestUnprintableRecordIsNotWritten(t *testing.T) {
	rec := testRecord()
	rec.Manager = "a\nb"
	if l, err := Take(t.TempDir(), rec, TakeOptions{}); err == nil {
		l.Close()
		t.Error("taken with a record of two lines")
	}
}

func TestOtherProcessHolds(t *testing.T) {
	home := t.TempDir()
	cmd, line := inRole(t, "hold", home, nil)
	if want := "held " + strconv.Itoa(cmd.Process.Pid); line != want {
		t.Fatalf("%q, want %q", line, want)
	}
	_, err := Take(home, testRecord(), TakeOptions{})
	held, ok := errors.AsType[*HeldError](err)
	if !ok || held.Record.PID != cmd.Process.Pid {
		t.Fatalf("refused with %v", err)
	}
	if !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("%q does not name the holder", err)
	}
	if rec := wantStatus(t, home, Held); rec.PID != cmd.Process.Pid {
		t.Errorf("read %+v", rec)
	}

	// Killed, it is free at once: without waiting for anything but its end.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wantStatus(t, home, Free)
	l := take(t, home)
	defer l.Close()
	if rec := wantStatus(t, home, Held); rec.PID != os.Getpid() {
		t.Errorf("the dead holder's record stands: %+v", rec)
	}
}

// Two supervisors that start at the same instant: one wins.
func TestRace(t *testing.T) {
	home := t.TempDir()
	const n = 16
	got := make(chan *Lease, n)
	for range n {
		go func() {
			l, err := Take(home, testRecord(), TakeOptions{})
			if _, held := errors.AsType[*HeldError](err); err != nil && !held {
				t.Errorf("refused with %v", err)
			}
			got <- l
		}()
	}
	winners := 0
	for range n {
		if l := <-got; l != nil {
			winners++
			defer l.Close()
		}
	}
	if winners != 1 {
		t.Errorf("%d took it", winners)
	}
}

// An OFD lock, unlike a POSIX one, is not dropped when the process closes
// another descriptor of the file; and a duplicate holds it on.
func TestLockIsOfTheDescription(t *testing.T) {
	home := t.TempDir()
	l := take(t, home)
	for range 3 {
		f, err := os.Open(filepath.Join(home, File))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	wantStatus(t, home, Held)
	dup, err := unix.Dup(l.FD())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantStatus(t, home, Held)
	l = Adopt(dup, home)
	if l.Record().Socket != testRecord().Socket {
		t.Errorf("adopted with %+v", l.Record())
	}
	if flags, err := unix.FcntlInt(uintptr(dup), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %d, %v", flags, err)
	}
	l.Close()
	wantStatus(t, home, Free)
}

// The engine holds the lease on when the keeper is gone.
func TestInheritedByAnotherProcess(t *testing.T) {
	home := t.TempDir()
	l := take(t, home)
	cmd, line := inRole(t, "inherit", home, func(c *exec.Cmd) {
		dup, err := unix.FcntlInt(uintptr(l.FD()), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), File)
		c.ExtraFiles = []*os.File{f}
		t.Cleanup(func() { f.Close() })
	})
	if line != "adopted "+testRecord().Socket {
		t.Fatalf("engine said %q", line)
	}
	l.Close()
	// Our duplicate is the test's third holder; it must go as well.
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	wantStatus(t, home, Held)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	wantStatus(t, home, Free)
}

// A lock file that is replaced between its opening and its locking must not
// make two owners.
func TestTakeLocksWhatThePathNames(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, File)
	fd, err := openForTake(home, path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := lockAs(fd, home, path); !errors.Is(err, errReplaced) {
		t.Errorf("a removed file: %v", err)
	}
	l := take(t, home)
	defer l.Close()
	if err := lockAs(fd, home, path); !errors.Is(err, errReplaced) {
		t.Errorf("a replaced file: %v", err)
	}
}

func TestUnprivilegedRead(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "needs root, to be somebody else")
	}
	home := t.TempDir()
	for _, d := range []string{home, filepath.Dir(home)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l := take(t, home)
	defer l.Close()
	_, line := inRole(t, "read", home, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	})
	if want := strconv.Itoa(int(Held)) + " " + testRecord().Socket; line != want {
		t.Errorf("another uid read %q, want %q", line, want)
	}
}

// Root makes the file for the home's owner, who may supervise next.
func TestFileBelongsToTheHomesOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "needs root")
	}
	home := t.TempDir()
	if err := os.Chown(home, 12345, 12346); err != nil {
		t.Fatal(err)
	}
	l := take(t, home)
	defer l.Close()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(home, File), &st); err != nil || st.Uid != 12345 || st.Gid != 12346 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
}
