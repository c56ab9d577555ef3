package launch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDashboard: it is run as who types the command, for the home of the
// supervisor, and answers for nobody else.
func TestDashboard(t *testing.T) {
	cmd := Dashboard(DashboardInput{
		Home: "/opt/data", Self: self, UserName: "hermes", UserHome: "/home/hermes", Notify: "/run/n", SlotID: "dashboard.1@x",
		Environ: []string{
			"PATH=/bin", "HERMES_HOME=/else", "HOME=/root", "HERMES_DASHBOARD_TOKEN=t", "HERMES_DASHBOARD_HOST=::",
			"HERMES_PROFILE=coder", "HERMES_SUPERVISED_CHILD=coder", "HERMES_S6_SUPERVISED_CHILD=1",
			"NOTIFY_SOCKET=/systemd", "HERMES_SLOT_ID=other", "WATCHDOG_USEC=1", "LISTEN_FDS=1", "PWD=/x", "=odd", "odd",
		},
	})
	want := map[string]string{
		"PATH": "/bin", "HERMES_HOME": "/opt/data", "HOME": "/home/hermes", "USER": "hermes", "LOGNAME": "hermes",
		"HERMES_DASHBOARD_TOKEN": "t", "HERMES_DASHBOARD_HOST": "::", "NOTIFY_SOCKET": "/run/n", "HERMES_SLOT_ID": "dashboard.1@x",
	}
	if diff := cmp.Diff(want, envMap(t, cmd.Env)); diff != "" {
		t.Error(diff)
	}
	if cmd.Path != self || strings.Join(cmd.Argv, " ") != "hermes dashboard" || cmd.Dir != "/opt/data" {
		t.Errorf("%+v", cmd)
	}
}

// TestGatewaysCannotOpenTheDashboard: what an agent runs finds no key to the
// fleet in its environment.
func TestGatewaysCannotOpenTheDashboard(t *testing.T) {
	cmd := build(t, Input{
		Profile: "coder", Dir: "/p",
		Environ: []string{"HERMES_DASHBOARD_TOKEN=t", "HERMES_DASHBOARD_BASIC_AUTH_USERNAME=u", "HERMES_DASHBOARD_PORT=1"},
		Dotenv:  map[string]string{"HERMES_DASHBOARD_BASIC_AUTH_PASSWORD": "p"},
		Env:     map[string]string{"HERMES_DASHBOARD_BASIC_AUTH_SECRET": "s"},
	})
	env := envMap(t, cmd.Env)
	for key := range env {
		if strings.HasPrefix(key, "HERMES_DASHBOARD_") && key != "HERMES_DASHBOARD_PORT" {
			t.Errorf("it has %s", key)
		}
	}
	if env["HERMES_DASHBOARD_PORT"] != "1" {
		t.Error("what is no secret is gone, too")
	}
}
