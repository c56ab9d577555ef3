package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/internal/fault"
)

func newHealthCmd(e *env) *cobra.Command {
	var live, ready, asJSON bool
	cmd := &cobra.Command{
		Use:   "health --live|--ready",
		Short: "Answer a health probe: exit 0 is healthy",
		Long: "Answer a health probe within 5 seconds.\n\n" +
			"  --live   the supervisor works\n" +
			"  --ready  every gateway that is meant to run is ready\n\n" +
			"Exit status: 0 yes, 1 no.",
		Args: takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if live == ready {
				return usage(cmd, "say --live or --ready")
			}
			at, err := e.place()
			if err != nil {
				return err
			}
			h := e.probe(cmd.Context(), at, ready)
			if asJSON {
				err = e.json(h)
			} else {
				e.health(h)
			}
			if err == nil && !h.OK {
				return &exitError{fault.ExitFailed}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "the supervisor works")
	cmd.Flags().BoolVar(&ready, "ready", false, "every gateway that is meant to run is ready")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// probe asks the supervisor; that it cannot be asked is an answer too.
func (e *env) probe(ctx context.Context, at place, ready bool) api.Health {
	h, err := func() (api.Health, error) {
		c, err := e.find(at.home)
		if err != nil {
			return api.Health{}, err
		}
		if ready {
			return c.Ready(ctx)
		}
		return c.Live(ctx)
	}()
	if err == nil {
		return h
	}
	msg, hint, _ := e.explain(err)
	return api.Health{Conditions: []api.Condition{{Code: string(codeOf(err)), Message: msg, Hint: hint}}}
}

func (e *env) health(h api.Health) {
	if h.OK {
		e.printf("ok\n")
	}
	for _, c := range h.Conditions {
		e.note("✗ %s\n", lines(c.Message))
		if c.Hint != "" {
			e.note("hint: %s\n", e.address(c.Hint))
		}
	}
}
