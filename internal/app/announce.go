package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// announce tells who started hermes what became of each gateway that is
// wanted, as it becomes known.
func (a *app) announce(ctx context.Context) {
	wanted := a.fleet.Outcomes(ctx, func(r api.ActionResult) {
		if r.Error != nil {
			fmt.Fprintf(a.Stderr, "✗ %s\n", r.Error.Message)
			if r.Error.Hint != "" {
				fmt.Fprintf(a.Stderr, "hint: %s\n", a.Address(r.Error.Hint))
			}
			return
		}
		g := r.Gateway
		if s := profile.State(g.State); s == profile.StateBackoff || s == profile.StateParked { // it was up, for a moment
			fmt.Fprintf(a.Stderr, "✗ %s is %s: %s\nhint: %s\n", g.Slot, g.State,
				cmp.Or(g.Reason, "it ended at once"), a.Address(cmp.Or(g.Hint, "hermes why "+g.Profile)))
			return
		}
		fmt.Fprintf(a.Stderr, "✓ %s %s (pid %d)%s\n", g.Slot, g.State, g.PID, address(g))
	})
	a.announceDashboard(ctx)
	if wanted == 0 && len(a.Commands) == 0 { // the container's own command may be one, in the foreground
		fmt.Fprintf(a.Stderr, "no gateway is wanted up\nhint: %s\n", a.Address("hermes gateway start default"))
	}
}

// announceDashboard tells what became of the dashboard.
func (a *app) announceDashboard(ctx context.Context) {
	wanted, err := a.fleet.DashboardUp(ctx)
	f, _ := errors.AsType[*fault.Error](err)
	switch d := a.fleet.Dashboard(); {
	case !wanted, err != nil && f == nil: // the engine leaves
	case err != nil:
		fmt.Fprintf(a.Stderr, "✗ %s\nhint: %s\n", f.Msg, a.Address(f.Hint))
	default:
		fmt.Fprintf(a.Stderr, "✓ %s %s (pid %d) %s\n", d.Slot, d.State, d.PID, d.URL)
	}
}

func address(g api.Gateway) string {
	if g.Health == "unknown" || g.Port == 0 {
		return "" // nothing says that it listens
	}
	return fmt.Sprintf(" http://127.0.0.1:%d", g.Port)
}
