package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/profile"
)

// fleet is every gateway of the home, from its supervisor or its files.
func (e *env) fleet(ctx context.Context, at place) (api.Fleet, error) {
	c, err := client.Find(at.home)
	if err == nil {
		return c.Fleet(ctx)
	}
	if !client.IsNoSupervisor(err) {
		return api.Fleet{}, err
	}
	return e.aloneFleet(at)
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
	return "in " + span(d.Round(time.Second))
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
	return text
}
