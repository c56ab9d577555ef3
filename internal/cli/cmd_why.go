package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/amount"
	"hermes/internal/profile"
)

func newWhyCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why [PROFILE]",
		Short: "Explain why a gateway is as it is, and what happens next",
		Long: "Explain a gateway: who wants it running or stopped and since when, how its last runs ended,\n" +
			"what it said last, and what happens next.",
		Args: takes(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			names, err := at.names(args)
			if err != nil {
				return err
			}
			why, err := e.why(cmd.Context(), at, names[0])
			if err != nil {
				return err
			}
			if asJSON {
				return e.json(why)
			}
			e.explanation(why)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *env) why(ctx context.Context, at place, name profile.Name) (api.Why, error) {
	c, err := client.Find(at.home)
	if err == nil {
		return c.Why(ctx, string(name))
	}
	if !client.IsNoSupervisor(err) {
		return api.Why{}, err
	}
	return e.aloneWhy(at, name)
}

// explanation prints the answer of `why`; what to type is part of it.
func (e *env) explanation(why api.Why) {
	g := why.Gateway
	e.printf("%s %s%s%s\n", g.Slot, g.State, e.runDetails(g, e.now()), url(g))
	g.LastExit = nil // the list below has it
	e.facts(g)
	if len(why.Exits) > 0 {
		e.printf("last exits, newest first:\n")
	}
	for _, x := range why.Exits {
		e.printf("  %s  %s%s\n", x.At.UTC().Format(time.RFC3339), oneLine(exitWords(x)), ran(x))
	}
	if len(why.Log) > 0 {
		e.printf("last log lines:\n")
	}
	for _, line := range why.Log {
		e.printf("  | %s\n", oneLine(line))
	}
	if why.Next != "" {
		e.printf("next: %s\n", oneLine(why.Next))
	}
	if why.Hint != "" {
		e.printf("hint: %s\n", oneLine(e.address(why.Hint)))
	}
}

// ran is how long a run lasted.
func ran(x api.Exit) string {
	if x.Started.IsZero() || x.At.Before(x.Started) {
		return ""
	}
	return ", after " + amount.Span(x.At.Sub(x.Started))
}
