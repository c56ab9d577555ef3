package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hermes/api"
)

// probed is what each probe of a container says.
type probed struct {
	live, ready   int // exit codes of hermes health
	livez, readyz int // statuses
	docker        string
}

func (d *docker) probes(addr string) (p probed, notReady []string, err error) {
	d.t.Helper()
	_, _, p.live = d.hermes("health", "--live")
	stdout, stderr, code := d.hermes("health", "--ready")
	p.ready = code
	var h api.Health
	if p.livez, _, err = health(addr, "/livez"); err == nil {
		p.readyz, h, err = health(addr, "/readyz")
	}
	for _, c := range h.Conditions {
		notReady = append(notReady, c.Profile)
		if !strings.Contains(stdout+stderr, c.Message) {
			err = fmt.Errorf("health --ready does not say %q: %s%s", c.Message, stdout, stderr)
		}
	}
	p.docker = d.docker("inspect", "--format", "{{.State.Health.Status}}", d.name)
	return p, notReady, err
}

// TestProbes: one parked bot of three takes the fleet from what is ready, and
// nothing from what lives: Docker, which restarts what is unhealthy, finds
// nothing wrong. An engine that hangs for good is another matter.
func TestProbes(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	d.probe("anna", "-notify")
	d.probe("bert")
	d.probe("carl", "-exit", "78")
	d.run([]string{
		"--publish", "127.0.0.1::9120", "--env", "HERMES_HTTP_ADDR=:9120",
		"--health-interval", "1s", "--health-start-period", "1s", "--health-timeout", "8s", "--health-retries", "2",
	}, "up", "anna", "bert", "carl")
	addr, _, _ := strings.Cut(d.docker("port", d.name, "9120/tcp"), "\n")
	is := func(want probed, down ...string) func() error {
		return func() error {
			got, notReady, err := d.probes(addr)
			if err == nil && (got != want || !slices.Equal(notReady, down)) {
				err = fmt.Errorf("%+v, not ready: %q", got, notReady)
			}
			return err
		}
	}
	parked := probed{live: 0, ready: 1, livez: http.StatusOK, readyz: http.StatusServiceUnavailable, docker: "healthy"}
	d.eventually("one is parked, the container is healthy", is(parked, "carl"))
	d.shows(addr, `hermes_gateway_state{profile="carl",state="parked"}`, 1)
	// It stays so, however often Docker asks.
	for range 3 {
		before := d.asked()
		d.eventually("Docker asks again", func() error {
			if now := d.asked(); now == before {
				return fmt.Errorf("it asked at %s", now)
			}
			return nil
		})
	}
	if err := is(parked, "carl")(); err != nil {
		t.Error(err)
	}

	d.configure("carl")
	d.must("gateway", "start", "carl")
	d.eventually("all is well", is(probed{livez: http.StatusOK, readyz: http.StatusOK, docker: "healthy"}))

	f, err := d.fleet()
	if err != nil {
		t.Fatal(err)
	}
	d.signal("STOP", f.EnginePID)
	d.eventually("Docker says unhealthy", d.health("unhealthy"))
	if _, _, err := health(addr, "/livez"); err == nil {
		t.Error("a stopped engine answers")
	}
	d.signal("CONT", f.EnginePID)
	d.eventually("Docker says healthy", d.health("healthy"))
	if now, err := d.fleet(); err != nil || now.EnginePID != f.EnginePID {
		t.Errorf("the engine was pid %d and is %d, %v", f.EnginePID, now.EnginePID, err)
	}
}

func (d *docker) health(want string) func() error {
	return func() error {
		if s := d.docker("inspect", "--format", "{{.State.Health.Status}}", d.name); s != want {
			return fmt.Errorf("it says %s", s)
		}
		return nil
	}
}

// asked is when Docker has asked, as far back as it remembers.
func (d *docker) asked() string {
	d.t.Helper()
	return d.docker("inspect", "--format", "{{range .State.Health.Log}}{{.Start}} {{end}}", d.name)
}

// signal signals a process in the container.
func (d *docker) signal(name string, pid int) {
	d.t.Helper()
	if _, stderr, code := d.exec(d.name, "busybox", "kill", "-"+name, strconv.Itoa(pid)); code != 0 {
		d.t.Fatalf("kill -%s %d: exit %d, %s", name, pid, code, stderr)
	}
}
