package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// afterPowerCut starts a supervisor again after keeper and engine were killed,
// and checks that the gateway that lived on was ended first.
func (h *host) afterPowerCut(name string) {
	h.t.Helper()
	h.state(name, "running")
	h.started(name, 1)
	h.powerCut()
	h.start()
	h.state(name, "running")
	h.started(name, 2)
	h.noDoubles(map[string]int{name: 2})
	if !strings.Contains(h.output.String(), "ended what an earlier supervisor left running: gateway-"+name) {
		h.t.Errorf("it was not said that %s was ended", name)
	}
}

// TestNoDoubleInAnotherRuntimeDirectory: the next supervisor has another
// environment, and so another runtime directory.
func TestNoDoubleInAnotherRuntimeDirectory(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.start("anna")
	other := h.runtime + "-2"
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	h.give(other)
	for i, kv := range h.env {
		if strings.HasPrefix(kv, "HERMES_RUNTIME_DIR=") {
			h.env[i] = "HERMES_RUNTIME_DIR=" + other
		}
	}
	h.afterPowerCut("anna")
}

// TestNoDoubleWithoutTheLockDescriptor: a gateway that closes every descriptor
// it did not open is found by the record.
func TestNoDoubleWithoutTheLockDescriptor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.write("anna", "config.yaml", fmt.Sprintf("gateway:\n  command: [/bin/sh, -c, %q]\n", "exec 3>&-; exec "+binaries().probe))
	h.start("anna")
	h.afterPowerCut("anna")
}

// TestMovedHomeKeepsItsGateways: a home is moved while it is supervised, and
// another is made and supervised at its path.
func TestMovedHomeKeepsItsGateways(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.start("anna")
	h.started("anna", 1)
	pid := h.gateway("anna").PID
	moved := h.home + ".old"
	if err := os.Rename(h.home, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.home, 0o755); err != nil {
		t.Fatal(err)
	}
	h.give(h.home)
	h.refused(1, []string{"uses it"}, "up")
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("anna, pid %d: %v", pid, err)
	}
	if err := os.RemoveAll(h.home); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, h.home); err != nil {
		t.Fatal(err)
	}
	h.noDoubles(map[string]int{"anna": 1})
}

// TestFullDiskKeepsNoGatewayDown: the home has no room for a byte.
func TestFullDiskKeepsNoGatewayDown(t *testing.T) {
	if os.Getuid() != 0 {
		unavailable(t, "only root can mount a small tmpfs")
	}
	h := newHost(t)
	if err := syscall.Mount("tmpfs", h.home, "tmpfs", 0, "size=256k,mode=755"); err != nil {
		unavailable(t, fmt.Sprintf("cannot mount a tmpfs: %v", err))
	}
	t.Cleanup(func() {
		h.endAll()
		if err := syscall.Unmount(h.home, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h.give(h.home)
	h.probe("anna")
	h.start("anna")
	h.started("anna", 1)
	h.stop()
	fill := filepath.Join(h.home, "fill")
	if err := os.WriteFile(fill, bytes.Repeat([]byte("x"), 1<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	h.start()
	h.state("anna", "running")
	if got := h.intent("anna"); got != "running" {
		t.Errorf("intent %s", got)
	}
	h.refused(1, []string{"no space left on device"}, "gateway", "stop", "anna")
	h.state("anna", "running")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	h.must("gateway", "stop", "anna")
}

// TestUnopenableProfileIsShown: a profile that belongs to somebody else keeps
// its row, down, with the reason.
func TestUnopenableProfileIsShown(t *testing.T) {
	if os.Getuid() != 0 {
		unavailable(t, "only root can make a directory that is another uid's")
	}
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	if err := os.Chmod(h.dir("anna"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(h.dir("anna"), 0, 0); err != nil {
		t.Fatal(err)
	}
	h.start()
	g := h.gateway("anna")
	if g.State != "stopped" || !strings.Contains(g.Reason, "permission denied") {
		t.Errorf("%+v", g)
	}
	h.refused(1, []string{"permission denied"}, "gateway", "start", "anna")
}
