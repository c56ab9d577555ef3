package s6fleet

import (
	"cmp"
	"context"
	"errors"
	"time"

	"hermes/api"
	"hermes/internal/census"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// meet registers the slot of a profile that has none, up if that is wanted.
func (f *Fleet) meet(ctx context.Context, p *store.Profile) error {
	release, err := f.lock(ctx, "")
	if err != nil {
		return err
	}
	defer release()
	if f.registered(p.Name().Slot()) {
		return nil // another command was first
	}
	return f.register(ctx, p)
}

// register makes a profile's slot, down unless it is wanted up. The caller has
// the lock of the scan directory, so that no two profiles get one port.
func (f *Fleet) register(ctx context.Context, p *store.Profile) error {
	last, state, err := p.Supervision()
	if state == store.Unreadable {
		return fault.Wrap(fault.Unreadable, err, "cannot register %s", p.Name().Slot()).WithHint("ls -l %s", p.Path())
	}
	if last.Port == 0 {
		ports, _ := census.Ports(f.home, f.o.Settings) // a clash is told by the start it prevents
		if last.Port = ports[p.Name()]; last.Port != 0 {
			last.Version = profile.SupervisionVersion
			last.State = cmp.Or(last.State, profile.StateStopped)
			if err := p.WriteSupervision(last); err != nil {
				return err
			}
		}
	}
	intent, _, _ := p.Intent() // unknown: down
	return f.scandir.Register(ctx, GatewaySlot(f.home.Path(), p, f.o.Settings, f.o.Self, intent.Intent != profile.Running))
}

// Create makes a profile and its slot, down. That the slot could not be made
// is a warning: the profile is there, and its slot follows.
func (f *Fleet) Create(ctx context.Context, name profile.Name, by string) (api.Profile, error) {
	release, err := f.lock(ctx, "")
	if err != nil {
		return api.Profile{}, err
	}
	defer release()
	path, err := f.home.CreateProfile(name)
	if err != nil {
		return api.Profile{}, err
	}
	out := api.Profile{Name: string(name), Path: path}
	if err := f.settle(ctx, name, by); err != nil {
		out.Warning = "its slot is not registered yet: " + err.Error()
	}
	out.Port = f.portOf(name)
	return out, nil
}

// settle gives a new profile its intent and its slot.
func (f *Fleet) settle(ctx context.Context, name profile.Name, by string) error {
	p, err := f.open(name)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.WriteIntent(profile.IntentRecord{
		Version: profile.IntentVersion, Intent: profile.Stopped, Generation: 1, ChangedAt: time.Now().UTC(), ChangedBy: by,
	}); err != nil {
		return err
	}
	if f.registered(name.Slot()) { // of a profile that was removed by other means
		if err := f.scandir.Unregister(ctx, name.Slot()); err != nil {
			return err
		}
	}
	return f.register(ctx, p)
}

// portOf is a profile's port, 0 if it has none.
func (f *Fleet) portOf(name profile.Name) int {
	ports, _ := census.Ports(f.home, f.o.Settings)
	return ports[name]
}

// Delete stops the gateway, makes sure of it, removes the slot and then the
// profile with all that is in it.
func (f *Fleet) Delete(ctx context.Context, name profile.Name, by string) error {
	if name == profile.Default {
		return fault.New(fault.Usage, "cannot delete profile 'default': it is the home itself").
			WithHint("hermes gateway stop default")
	}
	p, err := f.open(name)
	if err != nil {
		return err
	}
	defer p.Close()
	release, err := f.lock(ctx, "")
	if err != nil {
		return err
	}
	defer release()
	if err := f.want(p, profile.Stopped, by, false); err != nil {
		return err
	}
	if err := f.unregister(ctx, p); err != nil {
		return err
	}
	return f.home.DeleteProfile(name)
}

// unregister stops a profile's run and removes its slot, if there is one. The
// intent stays as it is.
func (f *Fleet) unregister(ctx context.Context, p *store.Profile) error {
	slot := p.Name().Slot()
	release, err := f.lock(ctx, slot)
	if fault.CodeOf(err) == fault.GatewayNotRegistered && err != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	if err := f.refreshGrace(p); err != nil {
		return err
	}
	if err := f.scandir.Unregister(ctx, slot); err != nil && !gone(err) {
		return err
	}
	return nil
}

// gone says that there was no such slot.
func gone(err error) bool {
	_, ok := errors.AsType[*s6.NotRegisteredError](err)
	return ok
}

// Rename gives a profile another name. Its intent and port go with it; a
// running gateway is stopped first and started under the new name.
func (f *Fleet) Rename(ctx context.Context, from, to profile.Name, _ string) (api.Profile, error) {
	if from == profile.Default {
		return api.Profile{}, fault.New(fault.Usage, "cannot rename profile 'default': it is the home itself")
	}
	if _, err := profile.ParseNew(string(to)); err != nil { // before a gateway is stopped for it
		return api.Profile{}, &fault.Error{Code: fault.InvalidName, Msg: err.Error(), Err: err}
	}
	p, err := f.open(from)
	if err != nil {
		return api.Profile{}, err
	}
	defer p.Close()
	release, err := f.lock(ctx, "")
	if err != nil {
		return api.Profile{}, err
	}
	defer release()
	if other, err := f.open(to); err == nil {
		_ = other.Close()
		return api.Profile{}, fault.New(fault.ProfileExists, "cannot rename profile '%s': '%s' exists", from, to)
	}
	if err := f.unregister(ctx, p); err != nil {
		return api.Profile{}, err
	}
	if err := f.home.RenameProfile(from, to); err != nil {
		return api.Profile{}, errors.Join(err, f.register(ctx, p)) // what is still there keeps its slot
	}
	out := api.Profile{Name: string(to), Path: f.home.ProfilePath(to)}
	renamed, err := f.open(to)
	if err == nil {
		defer renamed.Close()
		err = f.register(ctx, renamed)
	}
	if err != nil {
		out.Warning = "its slot is not registered yet: " + err.Error()
	}
	out.Port = f.portOf(to)
	return out, nil
}

// List names the profiles.
func (f *Fleet) List(context.Context) ([]api.Profile, error) {
	scan, err := f.home.Scan()
	if err != nil {
		return nil, err
	}
	ports, _ := census.Ports(f.home, f.o.Settings)
	all := []api.Profile{}
	for _, e := range scan.Entries {
		all = append(all, api.Profile{Name: string(e.Name), Path: e.Path, Port: ports[e.Name]})
	}
	return all, nil
}
