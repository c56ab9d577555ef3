package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/internal/fault"
)

// dashboardFlags are those of `hermes dashboard`.
type dashboardFlags struct {
	host    string
	port    int
	restart bool
	timeout time.Duration
}

func newDashboardCmd(e *env) *cobra.Command {
	var f dashboardFlags
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve the fleet's page, or restart the supervised one",
		Long: "Serve the fleet's page in the foreground, as a client of the home's supervisor; it may start before it.\n\n" +
			"On 127.0.0.1, the default, whoever is on this machine may use it. Any other address needs a user and a\n" +
			"password, or a token: see docs/dashboard.md. Without, this ends with exit status 78.\n\n" +
			"With HERMES_DASHBOARD=1 a supervisor runs it by itself. --restart restarts that one, and is how one that\n" +
			"is parked starts again once what was wrong is corrected.",
		Annotations: longLived(),
		Args:        takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			if f.restart {
				return e.restartDashboard(cmd.Context(), at, f.timeout)
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			return e.dashboard(ctx, at, func(s *dashboardSettings) { f.override(cmd, s) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.host, "host", "", "the address to listen on (default: $HERMES_DASHBOARD_HOST, else 127.0.0.1)")
	flags.IntVar(&f.port, "port", 0, "the port, 0 for any free one (default: $HERMES_DASHBOARD_PORT, else 9119)")
	flags.BoolVar(&f.restart, "restart", false, "restart the dashboard that the supervisor runs")
	flags.DurationVar(&f.timeout, "timeout", 0, "with --restart: how long to wait (default: until it is ready or has failed)")
	return cmd
}

// check reports flags that contradict each other.
func (f *dashboardFlags) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
	case f.restart && (changed("host") || changed("port")):
		return usage(cmd, "--restart excludes --host and --port: the supervised dashboard has them from its settings")
	case !f.restart && changed("timeout"):
		return usage(cmd, "--timeout needs --restart")
	case f.timeout < 0:
		return usage(cmd, "--timeout %s is negative", f.timeout)
	case f.port < 0 || f.port > 65535:
		return usage(cmd, "--port %d is not a port", f.port)
	}
	return nil
}

// override has the flags win over the settings.
func (f *dashboardFlags) override(cmd *cobra.Command, s *dashboardSettings) {
	if cmd.Flags().Changed("host") {
		s.Host = f.host
	}
	if cmd.Flags().Changed("port") {
		s.Port = f.port
	}
}

// restartDashboard restarts the one that a supervisor runs.
func (e *env) restartDashboard(ctx context.Context, at place, timeout time.Duration) error {
	c, err := e.find(at.home)
	if err != nil {
		return err
	}
	c.By = "cli"
	d, err := c.RestartDashboard(ctx, api.ActionRequest{TimeoutMS: timeout.Milliseconds()})
	if err != nil {
		return err
	}
	e.printf("✓ %s %s (pid %d) %s\n", d.Slot, d.State, d.PID, d.URL)
	return nil
}

// dashboard serves the page until ctx ends. Settings that can never work are
// exit 78, by which a supervisor knows not to try again.
func (e *env) dashboard(ctx context.Context, at place, override func(*dashboardSettings)) error {
	s, err := e.dashboardSettings(ctx, at, override)
	if err == nil {
		err = e.serveDashboard(ctx, at, s)
	}
	switch codeOf(err) {
	case fault.InvalidConfig, fault.Unreadable:
		e.render(err)
		return &exitError{fault.ExitConfig}
	default:
		return err
	}
}
