package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/census"
	"hermes/internal/store"
)

func newBootCmd(e *env) *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "boot --dry-run",
		Short: "Show what a boot would do now, a line per profile",
		Long: "Show what a boot would do now, in the lines of logs/container-boot.log. Nothing is written or started.\n" +
			"The boot itself is part of `hermes up` and `hermes init`.",
		Args: takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !dryRun {
				return usage(cmd, "a boot is part of `hermes up` and `hermes init`: say --dry-run to see what it would do")
			}
			at, err := e.place()
			if err != nil {
				return err
			}
			plan, err := e.bootDryRun(cmd.Context(), at)
			if err != nil {
				return err
			}
			if asJSON {
				return e.json(plan)
			}
			for _, line := range plan.Lines {
				e.printf("%s\n", line)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *env) bootDryRun(ctx context.Context, at place) (api.Plan, error) {
	c, err := e.find(at.home)
	if err == nil {
		lines, err := c.Plan(ctx)
		return api.Plan{Lines: lines}, err
	}
	if !client.IsNoSupervisor(err) {
		return api.Plan{}, err
	}
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return api.Plan{}, err
	}
	defer home.Close()
	lines, err := census.Plan(home, nil)
	return api.Plan{Lines: lines}, err
}
