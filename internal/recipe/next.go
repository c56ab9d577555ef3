package recipe

import (
	"cmp"
	"fmt"
	"time"

	"hermes/api"
	"hermes/internal/profile"
)

// Next says in words what follows, and what an operator can do. A gateway that
// is down for a reason with a remedy needs that first.
func Next(g api.Gateway, now time.Time) (sentence, hint string) {
	start := cmp.Or(g.Hint, "hermes gateway start "+g.Profile)
	switch profile.State(g.State) {
	case profile.StateRunning:
		if g.Health == string(profile.HealthDegraded) {
			return "it runs, but says that it is degraded", "hermes -p " + g.Profile + " gateway logs"
		}
		return "nothing: it runs as wanted", ""
	case profile.StateStarting:
		return "it is starting", "hermes -p " + g.Profile + " gateway logs -f"
	case profile.StateStopping:
		return "it was told to stop and is killed when its grace is over", ""
	case profile.StateBackoff:
		wait := "soon"
		if g.NextRetryAt != nil {
			wait = "in " + max(g.NextRetryAt.Sub(now), 0).Round(100*time.Millisecond).String()
		}
		return fmt.Sprintf("it failed and is started again %s", wait), start
	case profile.StateParked:
		return "nothing until its configuration is corrected and it is started", start
	case profile.StateStopped:
	}
	if g.Intent == string(profile.Running) {
		return "nothing: it stays down although it is wanted", start
	}
	return "nothing: it stays down until it is started", start
}
