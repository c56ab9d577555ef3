package supervisor

import (
	"context"
	"errors"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
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
	if err == nil {
		err = f.look(ctx)
	}
	if err != nil {
		out.Warning = "its slot is not registered yet: " + err.Error()
	}
	out.Port = f.port(name)
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
	if _, err := f.Stop(ctx, name, Request{By: by}); err != nil {
		return err
	}
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	f.unregister(name, "deleted")
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
	if _, err := f.lookup(ctx, from); err != nil {
		return api.Profile{}, err
	}
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	if f.get(to) != nil {
		return api.Profile{}, fault.New(fault.ProfileExists, "cannot rename profile '%s': '%s' exists", from, to)
	}
	f.unregister(from, "renamed to "+string(to))
	err := f.home.RenameProfile(from, to)
	if lookErr := f.look(ctx); err == nil {
		err = lookErr
	}
	if err != nil {
		return api.Profile{}, err
	}
	return api.Profile{Name: string(to), Path: f.home.ProfilePath(to), Port: f.port(to)}, nil
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

// rename is a directory that got another name: the old slot's run is stopped
// before the new one starts.
func (f *Fleet) rename(a reconcile.Action) {
	f.unregister(a.From, "its directory is now "+string(a.Name))
	f.register(a, nil)
}

// unregister stops the slot's run, waits for its end, and removes the slot.
// The intent stays as it is; nothing is written where the profile was.
func (f *Fleet) unregister(name profile.Name, why string) {
	s := f.get(name)
	if s == nil {
		return
	}
	f.log.Info("slot removed", "profile", string(name), "reason", why)
	var down <-chan error
	if s.call(func() {
		s.write() // the history goes where the profile goes
		s.gone = true
		down = s.shutdown()
	}) {
		select {
		case <-down:
		case <-s.ended:
		}
	}
	s.end()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byName, name)
}

// idle says whether the slot has neither a run nor one coming.
func (s *slot) idle() bool { return !s.state.HasRun() && s.state != lifecycle.Queued }
