package process

import (
	"bufio"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leader starts a shell that leads a group with one more member in it.
func leader(t *testing.T) (cmd *exec.Cmd, birth uint64, member int) {
	t.Helper()
	cmd = exec.Command("/bin/sh", "-c", "sleep 1000 & echo $!; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(member, unix.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if member, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	if birth, err = StartTime(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return cmd, birth, member
}

func living(pid int) bool {
	st, err := ReadStat(pid)
	return err == nil && st.State != 'Z'
}

func gone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); living(pid); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("process %d lives", pid)
		}
	}
}

func TestARecycledPIDIsNobody(t *testing.T) {
	cmd, birth, _ := leader(t)
	for _, other := range []uint64{0, birth - 1, birth + 1} {
		if h, err := Open(cmd.Process.Pid, other); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Open(born at %d): %v, %v, want ESRCH", other, h, err)
		}
	}
	h, err := Open(cmd.Process.Pid, birth)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
	}
	_ = cmd.Wait()
	if err := h.Signal(unix.SIGKILL, false); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Signal after it was reaped: %v, want ESRCH", err)
	}
}

func TestAGroupIsSignalledThroughItsLeader(t *testing.T) {
	cmd, birth, member := leader(t)
	h, err := Open(cmd.Process.Pid, birth)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Signal(unix.SIGKILL, true); err != nil {
		t.Errorf("Signal: %v", err)
	}
	gone(t, cmd.Process.Pid)
	gone(t, member)
}

// The descriptor's number may be another's by then, even another process's.
func TestAClosedHandleSignalsNobody(t *testing.T) {
	cmd, birth, member := leader(t)
	h, err := Open(cmd.Process.Pid, birth)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- h.Wait() }()
	h.Close()
	if err := <-waited; err == nil {
		t.Error("Wait says that the process ended")
	}
	other, err := Open(member, func() uint64 { b, _ := StartTime(member); return b }()) // has the number now
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, group := range []bool{false, true} {
		if err := h.Signal(unix.SIGKILL, group); err == nil {
			t.Error("a closed handle signals")
		}
	}
	h.Close()
	if !living(cmd.Process.Pid) || !living(member) {
		t.Error("a process was signalled through a closed handle")
	}
}
