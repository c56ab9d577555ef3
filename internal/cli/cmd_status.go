package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/internal/logfile"
)

func newStatusCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show who supervises this home, and every gateway",
		Args:  takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			if asJSON {
				_, err := e.fleetJSON(cmd.Context(), at)
				return err
			}
			fleet, err := e.fleet(cmd.Context(), at)
			if err != nil {
				return err
			}
			e.fleetHead(fleet)
			e.printf("\n")
			e.fleetTable(fleet)
			e.dashboardHint(fleet)
			for _, n := range fleet.Notices {
				e.note("! %s\n", lines(n.Message))
				if n.Hint != "" {
					e.note("hint: %s\n", e.address(n.Hint))
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// fleetHead says who supervises what.
func (e *env) fleetHead(fleet api.Fleet) {
	e.printf("Manager: %s\n", fleet.Manager)
	e.printf("Home:    %s\n", fleet.Home)
	if fleet.KeeperPID > 0 {
		e.printf("Keeper:  pid %d\n", fleet.KeeperPID)
	}
	if fleet.EnginePID > 0 {
		version := ""
		if fleet.Version != "" {
			version = ", hermes " + fleet.Version
		}
		e.printf("Engine:  pid %s%s\n", strconv.Itoa(fleet.EnginePID), version)
	}
	if fleet.Dashboard != nil {
		e.printf("Dashboard: %s\n", e.dashboardLine(*fleet.Dashboard))
	}
}

// dashboardLine is "running (pid 12, for 3m) http://127.0.0.1:9119", or why it
// is not.
func (e *env) dashboardLine(d api.Dashboard) string {
	line := d.State
	if d.PID > 0 {
		line += fmt.Sprintf(" (pid %d, for %s) %s", d.PID, e.age(d.Since), d.URL)
	}
	if d.NextRetryAt != nil {
		line += fmt.Sprintf(", again in %s", max(d.NextRetryAt.Sub(e.now()), 0).Round(100*time.Millisecond))
	}
	if d.Reason != "" {
		line += ": " + logfile.Printable(d.Reason)
	}
	return line
}

// dashboardHint is what puts an end to why the dashboard is not up.
func (e *env) dashboardHint(fleet api.Fleet) {
	if d := fleet.Dashboard; d != nil && d.Hint != "" {
		e.note("hint: %s\n", e.address(d.Hint))
	}
}
