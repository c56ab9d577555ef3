package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/amount"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/stray"
)

// fleet is every gateway of the home, from its supervisor or its files.
func (e *env) fleet(ctx context.Context, at place) (api.Fleet, error) {
	c, err := e.find(at.home)
	if err == nil {
		return c.Fleet(ctx)
	}
	if !client.IsNoSupervisor(err) {
		return api.Fleet{}, err
	}
	return e.aloneFleet(at)
}

// fleetJSON prints the same as JSON and says whether all is well: whether every
// gateway that is meant to run runs. What a supervisor sent is shown as it is.
func (e *env) fleetJSON(ctx context.Context, at place) (well bool, err error) {
	c, err := e.find(at.home)
	if client.IsNoSupervisor(err) {
		fleet, err := e.aloneFleet(at)
		if err != nil {
			return false, err
		}
		return fleet.Down() == 0, e.json(fleet)
	}
	if err != nil {
		return false, err
	}
	raw, down, err := c.FleetJSON(ctx)
	if err != nil {
		return false, err
	}
	if down < 0 { // an engine from before the header
		var fleet api.Fleet
		if err := json.Unmarshal(raw, &fleet); err != nil {
			return false, fault.Wrap(fault.Internal, err, "cannot read the supervisor's answer")
		}
		down = fleet.Down()
	}
	return down == 0, e.indent(raw)
}

// fleetTable prints the gateways, one row each; the reason comes last because
// it may be long.
func (e *env) fleetTable(fleet api.Fleet) {
	if len(fleet.Gateways) == 0 {
		e.printf("no gateways\n")
		e.note("hint: %s profile create NAME\n", e.base())
		return
	}
	rows := make([][]string, 0, len(fleet.Gateways))
	for _, g := range fleet.Gateways {
		rows = append(rows, []string{
			g.Profile, g.State, number(g.PID), e.age(g.Since), g.Intent, g.Health,
			number(g.Port), fmt.Sprint(g.Restarts), oneLine(e.remark(g)),
		})
	}
	table(e.out, []string{"PROFILE", "STATE", "PID", "SINCE", "INTENT", "HEALTH", "PORT", "RESTARTS", "REASON"}, rows)
}

// remark is why a gateway is as it is, in a table's last column.
func (e *env) remark(g api.Gateway) string {
	var parts []string
	if g.Reason != "" {
		parts = append(parts, g.Reason)
	}
	if g.State == string(profile.StateBackoff) && g.NextRetryAt != nil {
		parts = append(parts, "next retry "+e.until(g.NextRetryAt))
	}
	if g.LogLost > 0 {
		parts = append(parts, "log lost "+amount.Bytes(g.LogLost))
	}
	if g.StdoutLost > 0 {
		parts = append(parts, fmt.Sprintf("stdout lost %d lines", g.StdoutLost))
	}
	return strings.Join(parts, "; ")
}

// until is "in 12s" for a time to come, "now" for one that has passed.
func (e *env) until(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	d := t.Sub(e.now())
	if d <= 0 {
		return "now"
	}
	return "in " + amount.Span(d.Round(time.Second))
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// exitWords is how a run ended: "exit 78", "SIGKILL", "stopped as asked (SIGTERM)".
func exitWords(x api.Exit) string {
	text := "unknown"
	switch {
	case x.Signal != "":
		text = x.Signal
	case x.Code != nil:
		text = fmt.Sprintf("exit %d", *x.Code)
	}
	if x.Asked {
		text = "stopped as asked (" + text + ")"
	}
	if x.Reason != "" {
		text += ": " + x.Reason
	}
	return text + strayWords(x)
}

// strayWords say what an exit had left.
func strayWords(x api.Exit) string {
	var ended, alive []string
	for _, s := range x.Strays {
		words := fmt.Sprintf("%s (pid %d)", s.Name, s.PID)
		switch s.End {
		case stray.Alive:
			alive = append(alive, words)
		case stray.Killed:
			ended = append(ended, words+", killed")
		default:
			ended = append(ended, words)
		}
	}
	if x.MoreStrays > 0 {
		ended = append(ended, fmt.Sprintf("%d more", x.MoreStrays))
	}
	text := ""
	if len(ended) > 0 {
		text += "; ended what it left running: " + strings.Join(ended, ", ")
	}
	if len(alive) > 0 {
		text += "; cannot end what it left running: " + strings.Join(alive, ", ")
	}
	return text
}
