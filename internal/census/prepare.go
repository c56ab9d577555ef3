package census

import (
	"log/slog"
	"os"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// Preparation is what a boot asks of a home before it looks at it.
type Preparation struct {
	// Wanted are profiles there have to be; Create makes those there are not.
	Wanted []profile.Name
	Create bool
	// Owner is who gateways run as. In a container who owns the home's files is
	// hermes's business, as far as it is root.
	Owner     config.Identity
	Container bool
	Log       *slog.Logger
}

// Prepare makes of the home what a boot needs.
func Prepare(home *store.Home, o Preparation) error {
	if _, err := home.EnsureDefault(); err != nil {
		o.Log.Warn("default profile not completed", "error", err) // a full disk keeps no gateway down
	}
	if err := home.EnsureLogs(); err != nil {
		o.Log.Warn("no directory for logs", "error", err)
	}
	for _, n := range o.Wanted {
		if err := ensure(home, n, o.Create); err != nil {
			return err
		}
	}
	if os.Getuid() != 0 || !o.Container {
		return nil
	}
	refused, err := home.ChownFixed(int(o.Owner.UID), int(o.Owner.GID))
	for _, r := range refused {
		o.Log.Warn("owner not changed", "path", r.Path, "reason", r.Reason)
	}
	return err
}

// ensure makes a wanted profile if that was allowed.
func ensure(home *store.Home, n profile.Name, create bool) error {
	p, err := home.Profile(n)
	if err == nil {
		return p.Close()
	}
	if fault.CodeOf(err) != fault.GatewayNotRegistered || !create {
		return err
	}
	_, err = home.CreateProfile(n)
	return err
}
