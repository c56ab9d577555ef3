package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/amount"
	"hermes/internal/fault"
	"hermes/internal/logfile"
	"hermes/internal/profile"
)

func newWhyCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why [PROFILE | dashboard]",
		Short: "Explain why a gateway is as it is, and what happens next",
		Long: "Explain a gateway: who wants it running or stopped and since when, how its last runs ended,\n" +
			"what it said last, and what happens next. Where no profile is called dashboard, that is the supervised dashboard.",
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
	c, err := e.find(at.home)
	if err == nil {
		why, err := c.Why(ctx, string(name))
		if meansDashboard(name, err) {
			return whyDashboard(ctx, c, at)
		}
		return why, err
	}
	if !client.IsNoSupervisor(err) {
		return api.Why{}, err
	}
	why, aloneErr := e.aloneWhy(at, name)
	if meansDashboard(name, aloneErr) {
		return api.Why{}, err // only a supervisor has one
	}
	return why, aloneErr
}

// meansDashboard says whether a name that is no profile's, by err, is the
// dashboard's.
func meansDashboard(name profile.Name, err error) bool {
	return string(name) == profile.DashboardSlot && codeOf(err) == fault.GatewayNotRegistered
}

// whyDashboard explains the supervised dashboard in the words for a gateway.
func whyDashboard(ctx context.Context, c *client.Client, at place) (api.Why, error) {
	fleet, err := c.Fleet(ctx)
	if err != nil {
		return api.Why{}, err
	}
	d := fleet.Dashboard
	if d == nil {
		return api.Why{}, fault.NoDashboard()
	}
	why := api.Why{
		Gateway: api.Gateway{
			Slot: d.Slot, Intent: string(profile.Running), IntentBy: "HERMES_DASHBOARD", State: d.State, Health: d.Health, PID: d.PID, Since: d.Since,
			Restarts: d.Restarts, NextRetryAt: d.NextRetryAt, Reason: d.Reason, Hint: d.Hint, LastExit: d.LastExit, MemoryBytes: d.MemoryBytes,
		},
		Exits: []api.Exit{}, Log: []string{}, Hint: d.Hint,
	}
	if d.LastExit != nil {
		why.Exits = append(why.Exits, *d.LastExit)
	}
	if log, err := logfile.Tail(dashboardLogDir(at.home), whyLines); err == nil {
		why.Log = append(why.Log, log...)
	}
	why.Next = dashboardNext(d)
	return why, nil
}

// dashboardNext says what follows.
func dashboardNext(d *api.Dashboard) string {
	switch profile.State(d.State) {
	case profile.StateRunning:
		return "nothing: it runs as wanted, at " + d.URL
	case profile.StateStarting:
		return "it is starting"
	case profile.StateStopping:
		return "it is about to be down"
	case profile.StateBackoff:
		return "it failed and is started again by itself"
	default: // stopped, parked
		return "nothing until what is wrong is corrected and it is restarted"
	}
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
