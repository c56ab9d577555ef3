package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"hermes/internal/holder"
	"hermes/internal/store"
)

// holderOf is who holds a lock of the profile's gateway; the errors are those
// of [holder.Of]. One that is proven comes before one that cannot be seen, and
// the holder of gateway.lock, who says how it is, before the one of
// foreground.lock.
func holderOf(p *store.Profile) (holder.Holder, error) {
	result := holder.ErrFree
	for _, file := range slices.Backward(p.LockFiles()) {
		h, err := holder.Of(file)
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, holder.ErrFree) {
			result = err
		}
	}
	return holder.Holder{}, result
}

// rivalOf is [holderOf] for a gateway about to run: a command that leads back
// to hermes is no rival of the process that it was started in.
func rivalOf(p *store.Profile, isChild bool) (holder.Holder, error) {
	if isChild {
		if h, err := holder.Of(p.ForegroundLock()); err == nil && slices.Contains(ancestry(os.Getpid()), h.PID) {
			return holder.Of(p.GatewayLock())
		}
	}
	return holderOf(p)
}

// endHolders ends every process that is proven to hold one of the locks, the
// one that was started first before what it started.
func endHolders(ctx context.Context, p *store.Profile, grace time.Duration) (pid int, err error) {
	for _, file := range p.LockFiles() {
		h, err := holder.Of(file)
		if err != nil {
			continue // free, or to be reported by who asks again
		}
		if err := h.End(ctx, grace); err != nil {
			return h.PID, err
		}
	}
	return 0, nil
}

// hiddenHint is what to do about a holder that cannot be seen. Behind
// foreground.lock it may be of this very place: it inherited the lock.
func hiddenHint(p *store.Profile) string {
	const elsewhere = "stop it where it runs: another container or host that uses this home"
	if _, err := holder.Of(p.ForegroundLock()); errors.Is(err, holder.ErrHidden) {
		return fmt.Sprintf("see what it left running: find /proc/[0-9]*/fd -lname '%s'; if that is nothing, %s", p.ForegroundLock(), elsewhere)
	}
	return elsewhere
}
