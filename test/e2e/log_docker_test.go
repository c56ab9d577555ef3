package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"hermes/api"
)

// of is one gateway of the container.
func (d *docker) of(name string) (api.Gateway, error) {
	f, err := d.fleet()
	if err != nil {
		return api.Gateway{}, err
	}
	for _, g := range f.Gateways {
		if g.Profile == name {
			return g, nil
		}
	}
	return api.Gateway{}, fmt.Errorf("no gateway %s", name)
}

// loses waits until the log of anna, which keeps running, loses lines, and
// checks that people see it.
func (d *docker) loses(why string) (pid int) {
	d.t.Helper()
	d.eventually("lines are lost", func() error {
		g, err := d.of("anna")
		if err == nil && (g.LogLost == 0 || g.LogLostLines == 0 || g.LogLostAt == nil || !g.LogFailing || g.State != "running") {
			err = fmt.Errorf("%+v", g)
		}
		pid = g.PID
		return err
	})
	for _, command := range [][]string{{"gateway", "status", "anna"}, {"why", "anna"}} {
		if out := d.must(command...); !strings.Contains(out, "log lost: ") || !strings.Contains(out, why) {
			d.t.Errorf("hermes %v:\n%s", command, out)
		}
	}
	if _, stderr, _ := d.hermes("status"); !strings.Contains(stderr, "bytes of the log of gateway-anna are lost: ") || !strings.Contains(stderr, why) {
		d.t.Errorf("hermes status: %s", stderr)
	}
	if f, err := d.fleet(); err != nil || len(f.Notices) != 1 || f.Notices[0].Code != "log_unwritten" {
		d.t.Errorf("%+v, %v", f.Notices, err)
	}
	return pid
}

// TestDockerFullLogVolume: the logs are on a file system of 1 MB, which is
// full. Gateways run and restart; when there is space again the log goes on and
// says what is missing.
func TestDockerFullLogVolume(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	d.probe("anna", "-rate", "20000")
	const logs = "/opt/data/logs/gateways"
	d.run([]string{"--tmpfs", logs + ":size=1m,mode=0755"}, "up", "anna")
	d.eventually("anna runs", d.expect("anna running"))
	if _, stderr, code := d.exec(d.name, "busybox", "dd", "if=/dev/zero", "of="+logs+"/ballast", "bs=4k"); code == 0 {
		t.Fatalf("the volume took it all: %s", stderr)
	}
	pid := d.loses("no space left on device")
	d.must("gateway", "restart", "anna")
	d.eventually("anna runs again", func() error {
		g, err := d.of("anna")
		if err == nil && (g.State != "running" || g.PID == pid) {
			err = fmt.Errorf("%+v", g)
		}
		return err
	})
	if _, stderr, code := d.exec(d.name, "busybox", "rm", logs+"/ballast"); code != 0 {
		t.Fatal(stderr)
	}
	var after api.Gateway
	d.eventually("the log is written again", func() (err error) {
		if after, err = d.of("anna"); err == nil && after.LogFailing {
			err = errors.New(after.LogError)
		}
		return err
	})
	want := fmt.Sprintf("hermes: %d bytes of output lost here (%d lines, since ", after.LogLost, after.LogLostLines)
	if out, _, _ := d.exec(d.name, "busybox", "cat", logs+"/anna/current"); strings.Count(out, want) != 1 || strings.Count(out, "lost here") != 1 {
		t.Errorf("not once %q in the log:\n%.2000s", want, out)
	}
	if out := d.must("gateway", "status", "anna"); !strings.Contains(out, "(it is written again)") {
		t.Errorf("gateway status:\n%s", out)
	}
	if f, err := d.fleet(); err != nil || len(f.Notices) != 0 {
		t.Errorf("%+v, %v", f.Notices, err)
	}
}

// TestDockerReadOnlyLogVolume costs log lines and nothing else; `docker logs`
// has them.
func TestDockerReadOnlyLogVolume(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	d.probe("anna", "-rate", "20000")
	logs, err := os.MkdirTemp("", "hermes-logs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(logs) })
	d.run([]string{"--volume", logs + ":/opt/data/logs/gateways:ro"}, "up", "anna")
	d.eventually("anna runs", d.expect("anna running"))
	pid := d.loses("read-only file system")
	if g, err := d.of("anna"); err != nil || g.PID != pid || g.StdoutLost != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if out := d.docker("logs", "--tail", "5", d.name); !strings.Contains(out, "[anna] line ") {
		t.Errorf("docker logs:\n%s", out)
	}
}
