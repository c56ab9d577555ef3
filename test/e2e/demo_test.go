package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"hermes/api"
)

// TestDemonstrationOnHost is the sixty-second demonstration, as an ordinary
// user: three gateways; one is stopped, one breaks; the engine is killed; the
// supervisor is restarted twice in a row, then killed with everything in it;
// the same three rows come back, and nothing ever ran twice.
func TestDemonstrationOnHost(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, name := range []string{"anna", "bert", "cleo"} {
		h.probe(name)
	}
	h.start("anna", "bert", "cleo")
	h.eventually("three are running", func() error { return h.expect("anna running", "bert running", "cleo running") })
	for _, name := range []string{"anna", "bert", "cleo"} {
		h.started(name, 1)
	}

	h.must("gateway", "stop", "bert")
	h.configure("cleo", "-exit", "78", "-after", "20ms")
	h.must("gateway", "restart", "cleo")
	h.eventually("cleo is parked", func() error { return h.expect("anna running", "bert stopped", "cleo parked") })
	reason := h.gateway("cleo").Reason
	if !strings.Contains(reason, "exit 78") || !strings.Contains(reason, "probe exits with 78") {
		t.Errorf("cleo's reason is %q", reason)
	}

	before := h.fleet()
	pid := h.gateway("anna").PID
	if err := syscall.Kill(before.EnginePID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the engine is back", func() error {
		f := h.fleet()
		if f.EnginePID == before.EnginePID {
			return fmt.Errorf("still engine %d", f.EnginePID)
		}
		return h.expect("anna running", "bert stopped", "cleo parked")
	})
	if now := h.gateway("anna").PID; now != pid {
		t.Errorf("anna was pid %d and is %d", pid, now)
	}

	for restart := 1; restart <= 2; restart++ {
		h.stop()
		h.start()
		h.eventually("three rows after a restart", func() error { return h.expect("anna running", "bert stopped", "cleo parked") })
		h.started("anna", restart+1)
	}
	h.powerCut()
	h.start()
	h.eventually("three rows after a power cut", func() error { return h.expect("anna running", "bert stopped", "cleo parked") })
	h.started("anna", 4)

	if got := h.gateway("cleo").Reason; got != reason {
		t.Errorf("cleo's reason was %q and is %q", reason, got)
	}
	if got := h.gateway("bert").IntentBy; !strings.HasPrefix(got, "cli uid ") {
		t.Errorf("bert was stopped by %q", got)
	}
	h.noDoubles(map[string]int{"anna": 4, "bert": 1, "cleo": 2})
	h.stop()
	if left := h.processes(); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// expect compares "name state" pairs with the fleet, default left out.
func (h *host) expect(want ...string) error {
	return compare(h.fleet(), want)
}

func compare(f api.Fleet, want []string) error {
	var got []string
	for _, g := range f.Gateways {
		if g.Profile != "default" {
			got = append(got, g.Profile+" "+g.State)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// TestDemonstrationInDocker is the same in a container: docker restart twice
// in a row, docker kill, docker start.
func TestDemonstrationInDocker(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		for _, name := range []string{"anna", "bert", "cleo"} {
			d.probe(name)
		}
		d.run(nil)
		d.eventually("the supervisor answers", d.expect("anna stopped", "bert stopped", "cleo stopped"))
		d.must("gateway", "start", "anna", "bert", "cleo")
		d.eventually("three are running", d.expect("anna running", "bert running", "cleo running"))
		for _, name := range []string{"anna", "bert", "cleo"} {
			d.started(name, 1)
		}

		d.must("gateway", "stop", "bert")
		d.configure("cleo", "-exit", "78", "-after", "20ms")
		d.must("gateway", "restart", "cleo")
		asLeft := d.expect("anna running", "bert stopped", "cleo parked")
		d.eventually("cleo is parked", asLeft)

		if !d.s6 {
			d.engineKilled(asLeft)
		}
		for restart := 1; restart <= 2; restart++ {
			d.docker("restart", d.name)
			d.eventually("three rows after a restart", asLeft)
			d.started("anna", restart+1)
		}
		d.docker("kill", d.name)
		d.docker("start", d.name)
		d.eventually("three rows after a power cut", asLeft)
		d.started("anna", 4)

		f, err := d.fleet()
		if err != nil {
			t.Fatal(err)
		}
		if reason := f.Gateways[3].Reason; !strings.Contains(reason, "exit 78") || !strings.Contains(reason, "probe exits with 78") {
			t.Errorf("cleo's reason is %q", reason)
		}
		d.noDoubles(map[string]int{"anna": 4, "bert": 1, "cleo": 2})
		d.docker("stop", d.name)
		if code := d.docker("inspect", "--format", "{{.State.ExitCode}}", d.name); code != "0" {
			t.Errorf("docker stop: exit code %s", code)
		}
	})
}

// engineKilled kills the engine: nobody notices.
func (d *docker) engineKilled(asLeft func() error) {
	d.t.Helper()
	f, err := d.fleet()
	if err != nil {
		d.t.Fatal(err)
	}
	if f.Manager != "native (container supervisor)" || f.KeeperPID != 1 {
		d.t.Errorf("manager %q, keeper %d", f.Manager, f.KeeperPID)
	}
	pid := f.Gateways[1].PID
	if _, stderr, code := d.exec(d.name, "busybox", "kill", "-9", strconv.Itoa(f.EnginePID)); code != 0 {
		d.t.Fatal(stderr)
	}
	d.eventually("the engine is back", func() error {
		now, err := d.fleet()
		if err == nil && now.EnginePID == f.EnginePID {
			err = errors.New("the old engine answers")
		}
		if err == nil && now.Gateways[1].PID != pid {
			d.t.Errorf("anna was pid %d and is %d", pid, now.Gateways[1].PID)
		}
		return errors.Join(err, asLeft())
	})
}
