package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/internal/logfile"
)

func newStatusCmd(e *env) *cobra.Command {
	return newFleetCmd(e, "status", "Show who supervises this home, and every gateway", e.fleetPage)
}

// newFleetCmd is a command that shows the whole fleet, as JSON or by show.
func newFleetCmd(e *env, use, short string, show func(api.Fleet)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			_, err = e.showFleet(cmd.Context(), at, asJSON, show)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// showFleet shows every gateway, as JSON or by show, and says whether all is
// well: whether every gateway that is meant to run runs.
func (e *env) showFleet(ctx context.Context, at place, asJSON bool, show func(api.Fleet)) (well bool, err error) {
	if asJSON {
		return e.fleetJSON(ctx, at)
	}
	fleet, err := e.fleet(ctx, at)
	if err != nil {
		return false, err
	}
	show(fleet)
	return fleet.Down() == 0, nil
}

// fleetPage is who supervises what, every gateway, and what there is to know.
func (e *env) fleetPage(fleet api.Fleet) {
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
