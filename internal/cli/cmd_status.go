package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"hermes/api"
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
			fleet, err := e.fleet(cmd.Context(), at)
			if err != nil {
				return err
			}
			if asJSON {
				return e.json(fleet)
			}
			e.fleetHead(fleet)
			e.printf("\n")
			e.fleetTable(fleet)
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
}
