package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/holder"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// actAlone is an action where nothing supervises: a stop ends what runs in the
// foreground and is remembered; a start would have nobody to carry it out, so
// nothing is written.
func (e *env) actAlone(ctx context.Context, a action, at place, names []profile.Name) error {
	if a.verb != "stop" {
		if a.all {
			names = nil
		}
		if err := unknown(at, names); err != nil {
			return err
		}
		return fault.New(fault.NoSupervisor, "no supervisor here: nothing supervises %s", at.home).
			WithHint("%s", e.startHint(names))
	}
	home, err := store.Open(at.home)
	if err != nil {
		return err
	}
	defer home.Close()
	if a.all {
		scan, err := home.Scan()
		if err != nil {
			return err
		}
		names = nil
		for _, entry := range scan.Entries {
			if !isStopped(home, entry.Name) {
				names = append(names, entry.Name)
			}
		}
	}
	done, failed := 0, 0
	for _, name := range names {
		if err := e.stopAlone(ctx, home, a, name); err != nil {
			failed++
			e.render(err)
			continue
		}
		done++
		e.success(a, api.ActionResult{Gateway: api.Gateway{Profile: string(name), Slot: name.Slot(), State: string(profile.StateStopped)}}, e.now())
	}
	if a.all {
		return e.count(a, done, failed)
	}
	if failed > 0 {
		return &exitError{fault.ExitFailed}
	}
	return nil
}

// unknown is the error about the first name that is no profile of the home. A
// home that cannot be looked at is not what keeps a gateway from starting.
func unknown(at place, names []profile.Name) error {
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return nil
	}
	defer home.Close()
	for _, name := range names {
		p, err := home.Profile(name)
		switch {
		case err == nil:
			_ = p.Close()
		case fault.CodeOf(err) == fault.GatewayNotRegistered:
			return err
		}
	}
	return nil
}

// isStopped reports a gateway that `stop --all` has nothing to do for: it does
// not run, and is not meant to.
func isStopped(home *store.Home, name profile.Name) bool {
	p, err := home.Profile(name)
	if err != nil {
		return false // to be reported
	}
	defer p.Close()
	intent, state, _ := p.Intent()
	_, err = holderOf(p)
	return state == store.Valid && intent.Intent == profile.Stopped && errors.Is(err, holder.ErrFree)
}

// stopAlone writes the intent, first: whatever interrupts the rest, the next
// supervisor leaves the gateway down. Then it ends the holders of the locks.
func (e *env) stopAlone(ctx context.Context, home *store.Home, a action, name profile.Name) error {
	p, err := home.Profile(name)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := e.wantStopped(p); err != nil {
		return err
	}
	file, _ := p.Config() // a wrong file does not keep a gateway from being stopped
	grace := e.grace(file)
	if a.timeout > 0 {
		grace = a.timeout
	}
	if pid, err := endHolders(ctx, p, grace); err != nil {
		return stopFault(name, pid, err)
	}
	switch h, err := holderOf(p); {
	case errors.Is(err, holder.ErrFree):
		return nil
	case errors.Is(err, holder.ErrHidden):
		return fault.Wrap(fault.GatewayHeld, err, "cannot stop %s", name.Slot()).WithHint("%s", hiddenHint(p))
	case err != nil:
		return fault.Wrap(fault.Unreadable, err, "cannot stop %s", name.Slot())
	default:
		return fault.New(fault.GatewayHeld, "cannot stop %s: it was started again, pid %d", name.Slot(), h.PID).
			WithHint("%s gateway stop %s", e.base(), name)
	}
}

func stopFault(name profile.Name, pid int, err error) error {
	f := fault.Wrap(fault.GatewayFailed, err, "cannot stop %s", name.Slot())
	if errors.Is(err, os.ErrPermission) {
		f.Code = fault.SupervisorDenied
		return f.WithHint("run it as root, or as the owner of process %d", pid)
	}
	return f
}

// wantStopped writes the intent unless it says so already.
func (e *env) wantStopped(p *store.Profile) error {
	old, state, err := p.Intent()
	switch {
	case state == store.Unreadable:
		return fault.Wrap(fault.Unreadable, err, "cannot stop %s", p.Name().Slot())
	case state == store.Valid && old.Intent == profile.Stopped:
		return nil
	}
	return p.WriteIntent(profile.IntentRecord{
		Version:    profile.IntentVersion,
		Intent:     profile.Stopped,
		Generation: old.Generation + 1,
		ChangedAt:  e.now().UTC(),
		ChangedBy:  fmt.Sprintf("cli uid %d", os.Geteuid()),
	})
}
