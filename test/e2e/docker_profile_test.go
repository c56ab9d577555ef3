package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestProfileMadeInAContainer is the first thing an operator does there: a
// profile made while the container is up starts, without another boot, and
// serves nobody without its key.
func TestProfileMadeInAContainer(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
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
	})
}

// TestKeyOfTheContainer: a key said for the container is the key; none is made
// up beside it.
func TestKeyOfTheContainer(t *testing.T) {
	t.Parallel()
	const key = "the-key-of-the-container"
	d := newDocker(t)
	d.run([]string{"--env", "API_SERVER_KEY=" + key, "--publish", "127.0.0.1::8642"}, "gateway", "run")
	d.eventually("the key opens", func() error {
		status, body, err := get(d.published()+"/v1/models", key)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return err
	})
	if env := strings.Join(d.lines("default", ".env"), "\n"); strings.Contains(env, "API_SERVER_KEY=") {
		t.Errorf("a key in .env: %q", env)
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
