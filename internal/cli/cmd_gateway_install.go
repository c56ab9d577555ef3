package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hermes/client"
	"hermes/internal/fault"
)

func newGatewayInstallCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Say how gateways come to run for good here",
		Long: "Say how gateways come to run for good here. It installs nothing: where a supervisor runs, each profile has its\n" +
			"gateway already. On a host without one it prints a systemd unit that runs the supervisor for this home, and how\n" +
			"to install it.",
		Args: takes(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			supervised, err := e.isSupervised(at)
			switch {
			case err != nil:
				return err
			case supervised:
				e.printf("nothing to install: the supervisor runs a gateway for every profile\n")
				e.note("hint: %s profile create NAME, then %s -p NAME gateway start\n", e.base(), e.base())
			case inContainer(""):
				e.printf("nothing to install in a container: the container's runtime starts it again, and its command supervises\n")
				e.note("hint: docker run -d --restart unless-stopped … gateway run\n")
			default:
				return e.printUnit(at)
			}
			return nil
		},
	}
}

func newGatewayUninstallCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Say how gateways are taken away here",
		Long: "Say how gateways are taken away here. It removes nothing: where a supervisor runs, a gateway goes with its\n" +
			"profile; on a host, whoever installed a service removes it.",
		Args: takes(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			supervised, err := e.isSupervised(at)
			switch {
			case err != nil:
				return err
			case supervised:
				e.printf("nothing to uninstall: the supervisor runs a gateway for every profile, and it goes with the profile\n")
				e.note("hint: %s profile delete NAME, or to keep the profile: %s -p NAME gateway stop\n", e.base(), e.base())
			case inContainer(""):
				e.printf("nothing to uninstall in a container: it goes with the container\n")
				e.note("hint: docker rm -f CONTAINER\n")
			default:
				e.printf("nothing to uninstall: hermes installs no service; one that was made of `hermes gateway install` is systemd's\n")
				e.note("hint: sudo systemctl disable --now hermes && sudo rm %s\n", unitPath)
			}
			return nil
		},
	}
}

// isSupervised says whether somebody supervises the home, answering or not.
func (e *env) isSupervised(at place) (bool, error) {
	_, err := e.find(at.home)
	if client.IsNoSupervisor(err) {
		return false, nil
	}
	return err == nil, err
}

const unitPath = "/etc/systemd/system/hermes.service"

// unit is what a systemd unit needs to know.
type unit struct {
	user, home, program string
	// own says that systemd makes the home, for a user of the service's own.
	own bool
}

func (e *env) printUnit(at place) error {
	self, err := os.Executable()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	u := unit{home: at.home, program: self}
	who, err := user.Current()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot tell who this is")
	}
	u.user = who.Username
	if who.Uid == "0" && e.flags.home == "" && !e.settings.HomeSet {
		u = unit{user: "hermes", home: "/var/lib/hermes", program: self, own: true}
	}
	e.note("# A systemd unit; nothing was installed. It runs `hermes up` as %s, on %s.\n", u.user, u.home)
	if u.own {
		e.note("hint: sudo useradd --system --home-dir %s %s\n", u.home, u.user)
	}
	e.note("hint: %s gateway install | sudo tee %s && sudo systemctl enable --now hermes\n", e.base(), unitPath)
	e.printf("%s", u.text())
	return nil
}

// text is the unit, as docs/host.md has it.
func (u unit) text() string {
	state := ""
	if u.own {
		state = "StateDirectory=" + filepath.Base(u.home) + "\n"
	}
	return `[Unit]
Description=hermes, a fleet of agent gateways
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
User=` + unitWord(u.user) + `
Environment=` + unitWord("HERMES_HOME="+u.home) + `
` + state + `RuntimeDirectory=hermes
Environment=HERMES_RUNTIME_DIR=/run/hermes
ExecStart=` + strings.ReplaceAll(unitWord(u.program), "$", "$$") + ` up
# After an upgrade: the new binary, the same gateways.
ExecReload=/bin/kill -HUP $MAINPID
# SIGTERM to the keeper alone: it stops its gateways itself, in parallel.
KillMode=mixed
# More than the longest stop_timeout of a gateway, and two seconds.
TimeoutStopSec=20
Restart=on-failure

[Install]
WantedBy=multi-user.target
`
}

// unitWord writes a word so that systemd takes it for one, and expands nothing.
func unitWord(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`).Replace(s) + `"`
}
