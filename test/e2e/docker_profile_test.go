package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestProfileMadeInAContainer is the first thing an operator does there: a
// profile made while the container is up starts, without another boot, and
// serves nobody without its key.
func TestProfileMadeInAContainer(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	d.run(nil)
	d.eventually("the supervisor answers", d.expect())
	d.must("profile", "create", "coder")
	if out := d.must("-p", "coder", "gateway", "start"); !strings.Contains(out, "✓ gateway-coder running") {
		t.Errorf("start said %q", out)
	}
	stdout, _, _ := d.exec(d.name, "busybox", "wget", "-qO-", fmt.Sprintf("http://127.0.0.1:%d/health", portOf(d, "coder")))
	if !strings.Contains(stdout, `"profile":"coder"`) {
		t.Errorf("health: %q", stdout)
	}
	if env := strings.Join(d.lines("coder", ".env"), "\n"); !strings.Contains(env, "\nAPI_SERVER_KEY=") {
		t.Errorf("no key in .env: %q", env)
	}
}

func portOf(d *docker, name string) int {
	d.t.Helper()
	f, err := d.fleet()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, g := range f.Gateways {
		if g.Profile == name {
			return g.Port
		}
	}
	d.t.Fatalf("no gateway %s", name)
	return 0
}
