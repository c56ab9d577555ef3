package app

import (
	"context"
	"fmt"

	"hermes/api"
)

// announce tells who started hermes what became of each gateway that is
// wanted, as it becomes known.
func (a *app) announce(ctx context.Context) {
	wanted := a.fleet.Outcomes(ctx, func(r api.ActionResult) {
		if r.Error != nil {
			fmt.Fprintf(a.Stderr, "✗ %s\n", r.Error.Message)
			if r.Error.Hint != "" {
				fmt.Fprintf(a.Stderr, "hint: %s\n", r.Error.Hint)
			}
			return
		}
		g := r.Gateway
		fmt.Fprintf(a.Stderr, "✓ %s %s (pid %d)%s\n", g.Slot, g.State, g.PID, address(g))
	})
	if wanted == 0 {
		fmt.Fprintf(a.Stderr, "no gateway is wanted up\nhint: hermes gateway start default\n")
	}
}

func address(g api.Gateway) string {
	if g.Health == "unknown" || g.Port == 0 {
		return "" // nothing says that it listens
	}
	return fmt.Sprintf(" http://127.0.0.1:%d", g.Port)
}
