package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/logfile"
	"hermes/internal/profile"
)

// lastLines is how many lines of its log a failed start shows.
const lastLines = 5

// success prints the line of a gateway that did as it was told.
func (e *env) success(a action, res api.ActionResult, began time.Time) {
	g := res.Gateway
	state := g.State
	if a.verb == "stop" && !a.noWait {
		state = string(profile.StateStopped)
	}
	e.printf("✓ %s %s%s%s\n", g.Slot, state, e.runDetails(g, began), url(g))
	for _, h := range res.Hints {
		e.note("hint: %s\n", h)
	}
}

// fellOver is the error about a gateway that did start and has failed since,
// before anybody was told.
func (e *env) fellOver(a action, res api.ActionResult) error {
	g := res.Gateway
	switch profile.State(g.State) {
	case profile.StateBackoff, profile.StateParked:
	case profile.StateStopped, profile.StateStarting, profile.StateRunning, profile.StateStopping:
		return nil
	}
	if a.verb == "stop" {
		return nil
	}
	return fault.New(fault.GatewayFailed, "%s is %s: %s", g.Slot, g.State, cmp.Or(g.Reason, "it ended at once")).
		WithHint("%s", cmp.Or(g.Hint, e.base()+" why "+g.Profile))
}

// runDetails is what is known of a run: " (pid 12, ready in 1.2s)". A run that
// is older than the command has been running all along.
func (e *env) runDetails(g api.Gateway, began time.Time) string {
	var facts []string
	if g.PID > 0 {
		facts = append(facts, fmt.Sprintf("pid %d", g.PID))
	}
	if g.State == string(profile.StateRunning) && g.Since != nil {
		switch ready := g.Since.Sub(began); {
		case ready < 0:
			facts = append(facts, "for "+e.age(g.Since))
		case g.Health != string(profile.HealthUnknown):
			facts = append(facts, fmt.Sprintf("ready in %.1fs", ready.Seconds()))
		}
	}
	if len(facts) == 0 {
		return ""
	}
	return " (" + strings.Join(facts, ", ") + ")"
}

// url is " http://…" for a gateway that is known to serve: one that only was
// executed may not use its port at all.
func url(g api.Gateway) string {
	if g.Port == 0 || g.State != string(profile.StateRunning) || g.Health == "" || g.Health == string(profile.HealthUnknown) {
		return ""
	}
	return fmt.Sprintf(" http://127.0.0.1:%d", g.Port)
}

// failure prints why a gateway did not do as it was told: the reason, what it
// said last, and what to type next.
func (e *env) failure(ctx context.Context, c *client.Client, name profile.Name, err error) {
	msg, hint, _ := e.explain(err)
	e.note("✗ %s\n", lines(msg))
	if ended(err) {
		if why, err := c.Why(ctx, string(name)); err == nil {
			e.logTail(why.Log)
		}
		if hint == "" {
			hint = e.base() + " why " + string(name)
		}
	}
	if hint != "" {
		e.note("hint: %s\n", hint)
	}
}

// ended reports a failure of the gateway itself, about which its log may tell.
func ended(err error) bool {
	switch codeOf(err) {
	case fault.GatewayFailed, fault.GatewayTimeout:
		return true
	default:
		return false
	}
}

func (e *env) logTail(log []string) {
	for _, line := range log[max(0, len(log)-lastLines):] {
		e.note("  | %s\n", logfile.Printable(line))
	}
}
