package recipe

import (
	"errors"

	"hermes/internal/fault"
	"hermes/internal/holder"
	"hermes/internal/store"
)

// clearForeground looks for a gateway of the profile that runs in the
// foreground. The built-in one replaces it, port and all; a foreign command
// cannot, and would be a second copy.
func clearForeground(p *store.Profile, builtIn bool) (replaces bool, err error) {
	if builtIn {
		for _, file := range p.LockFiles() {
			if _, err := holder.Of(file); err == nil || errors.Is(err, holder.ErrHidden) {
				return true, nil
			}
		}
		return false, nil
	}
	const started = "; it then starts by itself"
	slot := p.Name().Slot()
	switch h, err := holder.Of(p.ForegroundLock()); {
	case errors.Is(err, holder.ErrFree):
		return false, nil
	case errors.Is(err, holder.ErrHidden):
		return false, fault.New(fault.GatewayHeld, "cannot start %s: it runs in the foreground, out of sight: %s is locked", slot, p.ForegroundLock()).
			WithHint("end it where it runs, or what it left running: find /proc/[0-9]*/fd -lname '%s'%s", p.ForegroundLock(), started)
	case err != nil:
		return false, fault.Wrap(fault.GatewayHeld, err, "cannot start %s: cannot tell whether it runs in the foreground", slot)
	default:
		return false, fault.New(fault.GatewayHeld, "cannot start %s: it runs in the foreground, pid %d", slot, h.PID).
			WithHint("kill %d%s", h.PID, started)
	}
}
