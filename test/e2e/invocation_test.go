package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedInvocations are the five ways in which people start the
// original's image, and what each does here. More of each is tested by itself.
func TestDocumentedInvocations(t *testing.T) {
	for name, invocation := range map[string]func(*docker){
		"gateway run":                (*docker).gatewayRun,
		"HERMES_DASHBOARD=1":         (*docker).withDashboard,
		"gateway run no-supervise":   (*docker).unsupervised,
		"-it setup":                  (*docker).setup,
		"a program, such as a shell": (*docker).program,
	} {
		t.Run(name, func(t *testing.T) {
			inBothImages(t, func(_ *testing.T, d *docker) { invocation(d) })
		})
	}
}

// gatewayRun: supervised, so that it comes back when it is killed; beside it
// other profiles; nothing ends with it but by `docker stop`.
func (d *docker) gatewayRun() {
	d.run(nil, "gateway", "run")
	d.comesBack("default", "running")
	d.must("profile", "create", "coder")
	d.must("-p", "coder", "gateway", "start")
	d.docker("stop", d.name)
	if code := d.exitCode(); code != "0" {
		d.t.Errorf("exit code %s", code)
	}
}

// withDashboard: the same with the dashboard, supervised as the gateway is.
func (d *docker) withDashboard() {
	d.run([]string{"--env", "HERMES_DASHBOARD=1"}, "gateway", "run")
	d.comesBack("default", "running")
	d.comesBack("dashboard", "running")
}

// comesBack waits until a gateway, or the dashboard, is in the state, kills it,
// and waits until another is.
func (d *docker) comesBack(name, state string) {
	d.t.Helper()
	was := 0
	is := func() error {
		f, err := d.fleet()
		pid, got := 0, ""
		if f.Dashboard != nil && name == "dashboard" {
			pid, got = f.Dashboard.PID, f.Dashboard.State
		}
		for _, g := range f.Gateways {
			if g.Profile == name {
				pid, got = g.PID, g.State
			}
		}
		if err == nil && (got != state || pid == was) {
			err = fmt.Errorf("%s, pid %d", got, pid)
		}
		if err == nil {
			was = pid
		}
		return err
	}
	d.eventually(name+" is "+state, is)
	d.inside("kill", "-9", strconv.Itoa(was))
	d.eventually("another "+name+" is "+state, is)
}

// unsupervised: the gateway is the main program, and its exit code the
// container's.
func (d *docker) unsupervised() {
	d.run([]string{"--env", "HERMES_GATEWAY_COMMAND=/bin/probe -exit 3 -after 10ms"}, "gateway", "run", "--no-supervise")
	if code := d.exitCode(); code != "3" {
		d.t.Errorf("exit code %s", code)
	}
	if n := len(d.lines("default", "starts")); n != 1 {
		d.t.Errorf("%d starts", n)
	}
}

// setup: it asks, and boots nothing.
func (d *docker) setup() {
	terminal, cmd := d.at("run", "-it", "--rm", "--name", d.name, "--volume", d.home+":/opt/data", d.image, "setup")
	terminal.Type("echo\n")
	if err := cmd.Wait(); err != nil {
		d.t.Errorf("%v\n%s", err, terminal.Shown())
	}
	terminal.Expect("✓ set up profile 'default'", 1)
	if _, err := os.Stat(filepath.Join(d.home, "logs")); !errors.Is(err, os.ErrNotExist) {
		d.t.Errorf("a fleet was booted: %v", err)
	}
}

// program: the fleet boots, the program runs beside it, and its exit code is
// the container's.
func (d *docker) program() {
	out, err := exec.Command("docker", "run", "--name", d.name, "--volume", d.home+":/opt/data", d.image,
		"sh", "-c", "hermes profile create coder && hermes -p coder gateway start && exit 5").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 5 || !strings.Contains(string(out), "✓ gateway-coder running") {
		d.t.Errorf("%v\n%s", err, out)
	}
}
