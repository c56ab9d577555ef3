package supervisor

import (
	"errors"
	"strings"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

func (f *Fleet) writeIntent(name profile.Name, rec profile.IntentRecord) error {
	p, err := f.home.Profile(name)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.WriteIntent(rec)
}

// errReplaced is a profile whose name is another directory's, and nobody has
// looked yet.
var errReplaced = errors.New("the profile has another directory than the one its gateway was started in")

// writeSupervision files a slot's observation with its profile, and not with
// one that got its name meanwhile.
func (s *slot) writeSupervision() error {
	f := s.fleet
	p, err := f.home.Profile(s.name)
	if err != nil {
		return err
	}
	defer p.Close()
	f.mu.Lock()
	id := s.id
	f.mu.Unlock()
	if unknown := (reconcile.ID{}); id != unknown && id != reconcile.ID(p.ID()) {
		return errReplaced
	}
	return p.WriteSupervision(s.last)
}

func (f *Fleet) legacy(name profile.Name) (store.Legacy, bool) {
	p, err := f.home.Profile(name)
	if err != nil {
		return store.Legacy{}, false
	}
	defer p.Close()
	legacy, state, _ := p.Legacy()
	return legacy, state == store.Valid
}

// setAsideLegacy gives a gateway_state.json that makes no sense another name.
func (f *Fleet) setAsideLegacy(p *store.Profile) {
	if _, err := p.SetAsideLegacy(); err != nil {
		f.log.Warn("state file not set aside", "profile", string(p.Name()), "error", err)
	}
}

// prepareProfile does to a profile what a start, now or later, asks for, and
// returns what its configuration says; one that cannot be read is reported when
// its gateway is started. What a gateway left behind is removed unless it runs.
func (f *Fleet) prepareProfile(name profile.Name, runs bool) setup {
	p, err := f.home.Profile(name)
	if err != nil {
		return f.defaults()
	}
	defer p.Close()
	if !runs {
		f.removeStale(p)
	}
	if at := f.options.Settings; config.BeyondLoopback(at.APIServerHost) && at.APIServerKey == "" {
		// A gateway that serves other machines needs a key. One in .env would
		// win over the container's.
		if _, err := p.EnsureAPIKey(); err != nil {
			f.log.Warn("no API key written", "profile", string(name), "error", err)
		}
	}
	file, ok := f.configs.latest(name) // it was examined a moment ago, and is read again when it starts
	if !ok {
		if file, err = f.configs.of(p); err != nil {
			return f.defaults()
		}
	}
	builtIn := len(file.Gateway.Command) == 0 && len(f.options.Settings.GatewayCommand) == 0
	return f.setupOf(file.Gateway, builtIn)
}

// removeStale removes what a gateway that is gone left in the profile.
func (f *Fleet) removeStale(p *store.Profile) {
	removed, err := p.RemoveStale()
	if err != nil {
		f.log.Warn("stale files not removed", "profile", string(p.Name()), "error", err)
	}
	if len(removed) > 0 {
		f.log.Info("stale files removed", "profile", string(p.Name()), "files", strings.Join(removed, " "))
	}
}
