package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDescriptorLimits: keeper and engine take all the descriptors they may
// have, three for each gateway; a gateway gets the limit hermes was started
// with, which programs that use select(2) or close all descriptors depend on.
func TestDescriptorLimits(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.profile("anna")
	h.write("anna", "config.yaml", "gateway:\n  command: sleep 1000\n") // the probe, in Go, would raise its own
	h.wrap = []string{"sh", "-c", `ulimit -Sn 300 && ulimit -Hn 5000 && exec "$0" "$@"`}
	h.start("anna")
	h.state("anna", "running")
	f := h.fleet()
	for who, pid := range map[string]int{"keeper": f.KeeperPID, "engine": f.EnginePID} {
		if soft, hard := descriptorLimits(t, pid); soft != "4999" || hard != "5000" { // the runtime of Go leaves one
			t.Errorf("the %s may have %s descriptors of %s", who, soft, hard)
		}
	}
	check := func(when string) {
		t.Helper()
		if soft, hard := descriptorLimits(t, h.gateway("anna").PID); soft != "300" || hard != "5000" {
			t.Errorf("%s the gateway may have %s descriptors of %s, want 300 of 5000", when, soft, hard)
		}
	}
	check("at first")
	h.killEngine()
	h.must("gateway", "restart", "anna")
	check("under the next engine")
}

func descriptorLimits(t *testing.T, pid int) (soft, hard string) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			f := strings.Fields(rest)
			return f[0], f[1]
		}
	}
	t.Fatalf("no limit in %s", limits)
	return "", ""
}
