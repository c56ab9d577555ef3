package supervisor

import (
	"cmp"
	"context"
	"errors"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// Create makes a profile and its slot, down. That the slot could not be made
// is a warning: the profile is there, and its slot follows.
func (f *Fleet) Create(ctx context.Context, name profile.Name, by string) (api.Profile, error) {
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	path, err := f.home.CreateProfile(name)
	if err != nil {
		return api.Profile{}, err
	}
	out := api.Profile{Name: string(name), Path: path}
	err = f.writeIntent(name, profile.IntentRecord{
		Version: profile.IntentVersion, Intent: profile.Stopped, Generation: 1, ChangedAt: time.Now().UTC(), ChangedBy: by,
	})
	if err == nil { // a slot of that name is one whose profile was removed a moment ago
		err = f.unregister(ctx, name, "", "its profile was removed and made anew")
	}
	if err == nil {
		err = f.discover(ctx, name)
	}
	if err != nil {
		out.Warning = "its slot is not registered yet: " + err.Error()
	}
	out.Port = f.ports.of(name)
	return out, nil
}

// Delete stops the gateway, makes sure of it, removes the slot and then the
// profile with all that is in it.
func (f *Fleet) Delete(ctx context.Context, name profile.Name, by string) error {
	if name == profile.Default {
		return fault.New(fault.Usage, "cannot delete profile 'default': it is the home itself").
			WithHint("hermes gateway stop default")
	}
	if _, err := f.lookup(ctx, name); err != nil {
		return err
	}
	if _, err := f.Stop(ctx, name, profile.Request{By: by}); err != nil {
		return err
	}
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	if err := f.unregister(ctx, name, "", "its profile was deleted by "+by); err != nil {
		return err
	}
	if err := f.home.DeleteProfile(name); err != nil {
		return errors.Join(err, f.look(ctx)) // what is still there keeps its slot
	}
	return nil
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
	if _, err := f.lookup(ctx, from); err != nil {
		return api.Profile{}, err
	}
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	if f.get(to) != nil {
		return api.Profile{}, fault.New(fault.ProfileExists, "cannot rename profile '%s': '%s' exists", from, to)
	}
	if err := f.unregister(ctx, from, to, "renamed to "+string(to)); err != nil {
		return api.Profile{}, err
	}
	err := f.home.RenameProfile(from, to)
	if err != nil {
		f.forsake("its profile could not be renamed to " + string(to))
	}
	if lookErr := f.look(ctx); err == nil {
		err = lookErr
	}
	if err != nil {
		return api.Profile{}, err
	}
	return api.Profile{Name: string(to), Path: f.home.ProfilePath(to), Port: f.ports.of(to)}, nil
}

// List names the profiles that have a slot.
func (f *Fleet) List(context.Context) ([]api.Profile, error) {
	f.rescanIfBlind()
	all := []api.Profile{}
	for _, s := range f.slots() {
		all = append(all, api.Profile{Name: string(s.name), Path: f.home.ProfilePath(s.name), Port: s.shown.Load().gateway.Port})
	}
	return all, nil
}

// unregister stops the slot's run, waits for its end, and removes the slot, if
// there is one. The intent stays as it is; nothing is written where the profile
// was. The slot of to, if there is one, is to follow it. A run that does not end
// keeps its slot: the error is a gateway_timeout fault, or ctx's.
func (f *Fleet) unregister(ctx context.Context, name, to profile.Name, why string) error {
	s := f.get(name)
	if s == nil {
		return nil
	}
	patience := s.shown.Load().stopTimeout + runnerTimeout
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.post(func() {
		if s.dirty {
			s.write() // the history goes where the profile goes
		}
		s.gone = true
	})
	if s.down(bounded) {
		s.end(bounded)
	}
	if bounded.Err() != nil {
		s.post(func() { s.gone = false })
		return cmp.Or(ctx.Err(), error(fault.New(fault.GatewayTimeout, "%s does not stop in %s", s.name.Slot(), patience)))
	}
	f.log.Info("slot removed", "profile", string(name), "reason", why)
	if row := s.story.Row; to != "" { // its loop has ended
		f.bequeath(row, to)
	} else {
		f.tellRemoved(row, why)
	}
	f.notices.drop(name)
	f.ports.drop(name)
	f.configs.drop(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byName, name)
	f.sorted = nil
	return nil
}
