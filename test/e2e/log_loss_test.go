package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// silent is a host whose supervisor writes stdout and stderr to a pipe that the
// test reads as long as it likes.
func silent(t *testing.T) (h *host, r, w *os.File) {
	h = newHost(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	h.out = w
	h.probe("flood", "-rate", "1000000")
	h.probe("calm", "-rate", "10000")
	h.start("flood", "calm")
	h.state("flood", "running")
	h.state("calm", "running")
	return h, r, w
}

// fillUp leaves no room in a pipe, whose blocking flag stays as it is.
func fillUp(t *testing.T, w *os.File) {
	t.Helper()
	conn, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	own := -1
	ctlErr := conn.Control(func(fd uintptr) {
		own, err = syscall.Open(fmt.Sprintf("/proc/self/fd/%d", fd), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	})
	if err := errors.Join(ctlErr, err); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(own)
	for err == nil {
		_, err = syscall.Write(own, []byte("x"))
	}
}

// goesOn has the fleet do what it is there for while nobody reads its output:
// engines are replaced and gateways restarted, logs grow, and what stdout does
// not have is counted.
func goesOn(t *testing.T, h *host) {
	t.Helper()
	calm := h.gateway("calm").PID
	lost := func(name string) func() error {
		return func() error {
			if n := h.gateway(name).StdoutLost; n == 0 {
				return errors.New("nothing is counted as lost")
			}
			return nil
		}
	}
	h.eventually("stdout's loss is counted", lost("flood"))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		old := h.fleet().EnginePID
		h.kill(old, sig)
		h.eventually("the engine was replaced", func() error {
			if f := h.fleet(); f.EnginePID == old {
				return fmt.Errorf("still %d", old)
			}
			return nil
		})
	}
	h.must("gateway", "restart", "flood")
	h.state("flood", "running")
	h.eventually("the next engine counts too", lost("flood"))
	if g := h.gateway("calm"); g.PID != calm || g.State != "running" {
		t.Errorf("calm was pid %d, now %+v", calm, g)
	}
	if out := h.must("gateway", "status", "flood"); !strings.Contains(out, "stdout lost: ") {
		t.Errorf("gateway status:\n%s", out)
	}
	if out := h.must("why", "flood"); !strings.Contains(out, "stdout lost: ") {
		t.Errorf("why:\n%s", out)
	}
	_, stderr, _ := h.run("status")
	if !strings.Contains(stderr, "lines of the gateways are not on standard output") {
		t.Errorf("status says %q", stderr)
	}
	current := filepath.Join(h.home, "logs/gateways/calm/current")
	size := func() int64 {
		info, err := os.Stat(current)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	h.eventually("the log grows", func() error {
		if n := size(); n <= before {
			return fmt.Errorf("still %d bytes", n)
		}
		return nil
	})
	if g := h.gateway("calm"); g.LogLost != 0 {
		t.Errorf("the log lost %d bytes", g.LogLost)
	}
	h.noDoubles(map[string]int{"flood": 2, "calm": 1})
}

// TestOutputNobodyReads: the reader of stdout and stderr is gone, as when a
// container's log driver died.
func TestOutputNobodyReads(t *testing.T) {
	t.Parallel()
	h, r, _ := silent(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	goesOn(t, h)
	h.stop()
}

// TestOutputThatStopsBeingRead: the reader is there and does not read, as a log
// driver that hangs.
func TestOutputThatStopsBeingRead(t *testing.T) {
	t.Parallel()
	h, _, w := silent(t)
	fillUp(t, w)
	goesOn(t, h)
	began := time.Now()
	h.stop()
	t.Logf("stopped in %v", time.Since(began))
}
