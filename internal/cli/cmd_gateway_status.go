package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/internal/amount"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func newGatewayStatusCmd(e *env) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show one gateway, or with --all every gateway",
		Long: "Show one gateway, or with --all every gateway.\n\n" +
			"Exit status: 0 it is running, 3 it is not, 4 there is no such gateway.\n" +
			"With --all: 0 every gateway that is meant to run is running, else 3.",
		Args: takes(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && (len(args) > 0 || e.flags.profile != "") {
				return usage(cmd, "--all and a name exclude each other")
			}
			at, err := e.place()
			if err != nil {
				return err
			}
			if all {
				return e.statusOfAll(cmd.Context(), at, asJSON)
			}
			names, err := at.names(args)
			if err != nil {
				return err
			}
			return e.statusOfOne(cmd.Context(), at, names[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every gateway")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *env) statusOfAll(ctx context.Context, at place, asJSON bool) error {
	well, err := e.showFleet(ctx, at, asJSON, e.fleetTable)
	if err == nil && !well {
		return &exitError{fault.ExitNotRunning}
	}
	return err
}

func (e *env) statusOfOne(ctx context.Context, at place, name profile.Name, asJSON bool) error {
	fleet, err := e.fleet(ctx, at)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(fleet.Gateways, func(g api.Gateway) bool { return g.Profile == string(name) })
	if i < 0 {
		missing := fault.NotRegistered(string(name))
		if string(name) == profile.DashboardSlot && fleet.Dashboard != nil {
			missing = fault.DashboardIsNoGateway()
		}
		e.render(missing)
		return &exitError{fault.ExitNoGateway}
	}
	g := fleet.Gateways[i]
	if asJSON {
		fleet.Gateways = []api.Gateway{g}
		err = e.json(fleet)
	} else {
		e.card(fleet, g)
	}
	if err == nil && g.State != string(profile.StateRunning) {
		return &exitError{fault.ExitNotRunning}
	}
	return err
}

// card shows one gateway, a fact per line, only those that are known.
func (e *env) card(fleet api.Fleet, g api.Gateway) {
	e.printf("%s %s%s%s\n", g.Slot, g.State, e.runDetails(g, e.now()), url(g))
	e.facts(g)
	e.printf("  manager: %s\n", fleet.Manager)
}

// facts are the lines of a gateway under its headline.
func (e *env) facts(g api.Gateway) {
	fact := func(key, value string) {
		if value != "" {
			e.printf("  %s: %s\n", key, oneLine(value))
		}
	}
	fact("intent", e.intent(g))
	fact("health", g.Health)
	fact("status", g.Status)
	fact("reason", g.Reason)
	fact("next retry", e.until(g.NextRetryAt))
	if g.LastExit != nil {
		fact("last exit", fmt.Sprintf("%s, %s ago", exitWords(*g.LastExit), e.age(&g.LastExit.At)))
	}
	if g.Restarts > 0 {
		fact("restarts", fmt.Sprint(g.Restarts))
	}
	if g.Port > 0 {
		fact("port", fmt.Sprint(g.Port))
	}
	fact("memory", amount.Bytes(g.MemoryBytes))
	fact("log lost", e.logLost(g))
	if g.StdoutLost > 0 {
		fact("stdout lost", fmt.Sprintf("%d lines, the log has them", g.StdoutLost))
	}
}

// logLost is what is not in the log, since when nothing was, and why; "" if
// nothing is missing.
func (e *env) logLost(g api.Gateway) string {
	if g.LogLost == 0 {
		return ""
	}
	text := amount.Bytes(g.LogLost)
	if g.LogLostLines > 0 {
		text += fmt.Sprintf(", %d lines", g.LogLostLines)
	}
	if age := e.age(g.LogLostAt); age != "" {
		text += ", the last " + age + " ago"
	}
	if g.LogDropped > 0 {
		text += ", " + amount.Bytes(g.LogDropped) + " of it while no engine ran"
	}
	if g.LogError != "" {
		text += ": " + g.LogError
	}
	if g.LogError != "" && !g.LogFailing {
		text += " (it is written again)"
	}
	return text
}

// intent is who wants what, and since when.
func (e *env) intent(g api.Gateway) string {
	text := g.Intent
	if text == "" {
		return ""
	}
	if g.IntentBy != "" {
		text += ", by " + g.IntentBy
	}
	if age := e.age(g.IntentAt); age != "" {
		text += ", " + age + " ago"
	}
	return text
}

func newGatewayListCmd(e *env) *cobra.Command {
	return newFleetCmd(e, "list", "List the gateways", e.fleetTable)
}
