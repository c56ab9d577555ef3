package slotlock

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
)

func FuzzParseRecord(f *testing.F) {
	r := Record{Slot: "gateway-a", Generation: 3, PID: 42, Birth: 99, Place: Here()}
	for _, s := range []string{r.String() + "\n", r.String(), "", "\n", "a 1 2 3 - 4\n", "a 1 1 3 - 4\n", "a 1 -2 3 - 4\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRecord(b)
		if !ok {
			return
		}
		if r.PID <= 1 || r.Slot == "" {
			t.Fatalf("%q is accepted: %+v", b, r)
		}
		if again, ok := parseRecord([]byte(r.String() + "\n")); !ok || again != r {
			t.Fatalf("%+v was written, %+v read (%v)", r, again, ok)
		}
	})
}

func TestParseRecord(t *testing.T) {
	r := Record{Slot: "gateway-a", Generation: 3, PID: 42, Birth: 99, Place: Place{"b", 7}}
	if got, ok := parseRecord([]byte(r.String() + "\n")); !ok || got != r {
		t.Errorf("read %+v (%v), want %+v", got, ok, r)
	}
	if _, ok := parseRecord([]byte(r.String())); ok {
		t.Error("a record cut short is accepted")
	}
}

// A POSIX lock is gone as soon as any descriptor of the file is closed in its
// process; ours is the open description's, until its last copy is closed.
func TestAnUnrelatedCloseKeepsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway-a"+Suffix)
	open := func() int {
		fd, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	held, other := open(), open()
	defer unix.Close(other)
	if err := Try(held); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := unix.Close(open()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := Try(other); err == nil {
		t.Fatal("the lock was lost with a descriptor that had nothing to do with it")
	}
	dup, err := unix.FcntlInt(uintptr(held), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(held)
	if err := Try(other); err == nil {
		t.Error("the lock was lost although a copy of its descriptor is open")
	}
	_ = unix.Close(dup)
	if err := Try(other); err != nil {
		t.Errorf("the lock is held by nobody, and not to be had: %v", err)
	}
}

func TestKillGroupOf(t *testing.T) {
	leader := exec.Command("/bin/sh", "-c", "sleep 1000 & echo $!; wait")
	leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := leader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	member, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	birth, err := process.StartTime(leader.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if killGroupOf(leader.Process.Pid, birth+1) {
		t.Error("a process of another birth was killed")
	}
	if st, err := process.ReadStat(leader.Process.Pid); err != nil || st.State == 'Z' || st.State == 'T' {
		t.Fatalf("it was touched: %c %v", st.State, err)
	}
	if !killGroupOf(leader.Process.Pid, birth) {
		t.Error("the process on record was not killed")
	}
	_ = leader.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		if st, err := process.ReadStat(member); err != nil || st.State == 'Z' {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a member of its group lives")
		}
	}
}

func TestOFDLock(t *testing.T) {
	const head = "pos:\t0\nflags:\t02100002\nmnt_id:\t29\nino:\t77\n"
	for info, want := range map[string]uint64{
		head + "lock:\t1: OFDLCK ADVISORY  WRITE -1 fd:01:1234 0 EOF\n":                                                1234,
		head + "lock:\t1: POSIX  ADVISORY  WRITE 9 fd:01:5 0 EOF\nlock:\t2: OFDLCK ADVISORY  WRITE -1 fd:01:6 0 EOF\n": 6,
		head + "lock:\t1: FLOCK  ADVISORY  WRITE 9 fd:01:1234 0 EOF\n":                                                 0,
		head + "lock:\t1: OFDLCK ADVISORY  READ  -1 fd:01:1234 0 EOF\n":                                                0,
		head: 0,
		"lock:\t1: OFDLCK ADVISORY  WRITE -1 fd:01:": 0,
	} {
		if got, ok := ofdLock([]byte(info)); got != want || ok != (want != 0) {
			t.Errorf("%q: got %d, %v, want %d", info, got, ok, want)
		}
	}
}

func FuzzOFDLock(f *testing.F) {
	f.Add([]byte("lock:\t1: OFDLCK ADVISORY  WRITE -1 fd:01:1234 0 EOF\n"))
	f.Add([]byte("lock:\t\nlock: OFDLCK WRITE\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := ofdLock(b); !ok && n != 0 {
			t.Errorf("an inode %d of no lock", n)
		}
	})
}

// TestHeld: by whoever has the locked descriptor, as the inode it has.
func TestHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	fd, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	wanted := func(p string) bool { return p == path }
	if held := Held(os.Getpid(), wanted); len(held) > 0 {
		t.Errorf("held without a lock: %v", held)
	}
	if err := Try(fd); err != nil {
		t.Fatal(err)
	}
	inode, err := Inode(path)
	if held := Held(os.Getpid(), wanted); err != nil || len(held) != 1 || held[0] != (File{path, inode}) {
		t.Errorf("held %v, want inode %d (%v)", held, inode, err)
	}
	if held := Held(os.Getpid(), func(string) bool { return false }); len(held) > 0 {
		t.Errorf("held %v although nothing is wanted", held)
	}
	if _, err := Inode(path + "x"); err == nil {
		t.Error("a file that is not there has an inode")
	}
}
