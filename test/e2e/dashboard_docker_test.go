package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dashboardAt is the address of the container's port 9119 on this host.
func (d *docker) dashboardAt() string {
	d.t.Helper()
	return "http://" + strings.Split(d.docker("port", d.name, "9119/tcp"), "\n")[0]
}

// TestDashboardInDocker: parked without credentials, with the container healthy
// and nobody affected; with some in .env it serves, as the gateways' uid, and
// comes back with the container.
func TestDashboardInDocker(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.run([]string{"--publish", "127.0.0.1::9119", "--env", "HERMES_DASHBOARD=1", "--env", "HERMES_DASHBOARD_HOST=0.0.0.0"}, "gateway", "run")
		d.eventually("the dashboard is parked", func() error {
			f, err := d.fleet()
			if err == nil && (f.Dashboard == nil || f.Dashboard.State != "parked" || !strings.Contains(f.Dashboard.Reason, "HERMES_DASHBOARD_TOKEN")) {
				err = fmt.Errorf("%+v", f.Dashboard)
			}
			return err
		})
		d.eventually("the gateway is ready", func() error { _, err := d.healthy("--ready"); return err })
		pause(2 * time.Second)
		if n := strings.Count(d.logs(), "[dashboard] ✗ cannot serve the dashboard"); n != 1 {
			t.Errorf("it was tried %d times:\n%s", n, d.logs())
		}
		if !strings.Contains(d.logs(), "the dashboard is supervised alongside") {
			t.Errorf("the breadcrumb says nothing of it:\n%s", d.logs())
		}
		d.append(".env", "HERMES_DASHBOARD_TOKEN="+dashboardToken+"\n")
		d.must("dashboard", "--restart")
		d.serves()
		f, err := d.fleet()
		if err != nil {
			t.Fatal(err)
		}
		if _, stderr, code := d.exec("--user", "10000", d.name, "hermes", "dashboard"); code != 1 || !strings.Contains(stderr, fmt.Sprintf("pid %d", f.Dashboard.PID)) {
			t.Errorf("a second one: exit %d: %s", code, stderr)
		}
		for line := range strings.SplitSeq(d.docker("top", d.name, "-eo", "pid,uid,args"), "\n") {
			if strings.HasSuffix(line, "hermes dashboard") && strings.Fields(line)[1] == "0" {
				t.Errorf("it runs as root: %s", line)
			}
		}
		d.docker("restart", d.name)
		d.serves()
		d.docker("stop", d.name)
		if code := d.exitCode(); code != "0" {
			t.Errorf("exit code %s", code)
		}
	})
}

// append adds to a file of the home, whose owner stays who it is.
func (d *docker) append(file, text string) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.home, file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		d.t.Fatal(err)
	}
}

// healthy asks for a health.
func (d *docker) healthy(flag string) (string, error) {
	stdout, stderr, code := d.hermes("health", flag)
	if code != 0 {
		return "", fmt.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	return stdout, nil
}

// serves waits until the dashboard answers from outside, who has the token alone.
func (d *docker) serves() {
	d.t.Helper()
	d.eventually("it serves", func() error {
		code, _, err := get(d.dashboardAt(), dashboardToken)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("with the token: %d", code)
		}
		return err
	})
	if code, _, err := get(d.dashboardAt(), ""); err != nil || code != http.StatusUnauthorized {
		d.t.Errorf("without the token: %d, %v", code, err)
	}
}

// TestDashboardAsCommand: it is the container's main program, the fleet boots,
// and no slot runs a second one.
func TestDashboardAsCommand(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.probe("works", "-notify")
		d.write("works", "gateway_intent.json", `{"version":1,"intent":"running","generation":1,"changed_at":"2026-01-01T00:00:00Z","changed_by":"test"}`)
		d.run([]string{
			"--publish", "127.0.0.1::9119", "--env", "HERMES_DASHBOARD=1", "--env", "HERMES_DASHBOARD_TOKEN=" + dashboardToken,
		}, "dashboard", "--host", "0.0.0.0")
		d.serves()
		d.eventually("the fleet has booted", d.expect("works running"))
		f, err := d.fleet()
		if err != nil || f.Dashboard != nil {
			t.Errorf("%v: the supervisor runs one, too: %+v", err, f.Dashboard)
		}
		if n := matching(d.processes(), `^hermes dashboard`); n != 1 {
			t.Errorf("%d dashboards in %q", n, d.processes())
		}
		d.docker("stop", d.name)
		if code := d.exitCode(); code != "0" {
			t.Errorf("exit code %s\n%s", code, d.logs())
		}
		d.docker("rm", d.name)
		d.run(nil, "dashboard", "--host", "0.0.0.0")
		if code := d.exitCode(); code != "78" || !strings.Contains(d.logs(), "HERMES_DASHBOARD_TOKEN") {
			t.Errorf("without credentials: exit code %s\n%s", code, d.logs())
		}
	})
}
