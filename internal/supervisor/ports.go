package supervisor

import (
	"maps"
	"slices"
	"sync"

	"hermes/internal/config"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

// ports are the claims of all profiles and what each was assigned. The zero
// value is ready to use, from any goroutine.
type ports struct {
	mu     sync.Mutex // guards what follows
	claims map[profile.Name]port.Claim
	book   *port.Book // nil when the next profile may change what the others have
	latest *port.Book // what was assigned, also to profiles dropped since
}

// of is the profile's port, 0 if it has none.
func (p *ports) of(name profile.Name) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.claims[name]; !known {
		return 0
	}
	return p.latest.Of(name)
}

func (p *ports) claim(name profile.Name) (c port.Claim, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok = p.claims[name]
	return c, ok
}

// replace assigns ports to these profiles and no others. The error is about
// clashes, beside which the ports are as good as they can be.
func (p *ports) replace(claims []port.Claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = make(map[profile.Name]port.Claim, len(claims))
	for _, c := range claims {
		p.claims[c.Name] = c
	}
	return p.assignLocked()
}

// add assigns a port to one profile more, or to one that claims another.
func (p *ports) add(c port.Claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claims == nil {
		p.claims = map[profile.Name]port.Claim{}
	}
	p.claims[c.Name] = c
	if p.book == nil || !p.book.Add(c) {
		return p.assignLocked()
	}
	p.recordLocked(c)
	return p.book.Problems()
}

// drop forgets a profile that is no more. Its port is for the next one who
// looks for one.
func (p *ports) drop(name profile.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.claims, name)
	p.book = nil
}

func (p *ports) assignLocked() error {
	p.book = port.NewBook(slices.Collect(maps.Values(p.claims)))
	p.latest = p.book
	for _, c := range p.claims {
		p.recordLocked(c)
	}
	return p.book.Problems()
}

// recordLocked has a profile keep the port it was assigned. One that a person
// said does not outlive its line.
func (p *ports) recordLocked(c port.Claim) {
	if c.Explicit == 0 {
		c.Recorded = p.latest.Of(c.Name)
		p.claims[c.Name] = c
	}
}

// assignPorts assigns ports to the profiles found, and leaves those that have
// one theirs. claims are of those found first; the files of the others are read
// when they are started.
func (f *Fleet) assignPorts(found []reconcile.Profile, claims []port.Claim) {
	all := make([]port.Claim, len(found))
	for i, p := range found {
		c, known := f.ports.claim(p.Name)
		switch {
		case known:
			all[i] = c
		case i < len(claims):
			all[i] = claims[i]
		default:
			all[i] = port.Claim{Name: p.Name, Recorded: p.Last.Port}
		}
	}
	f.noteClashes(f.ports.replace(all))
}

// readClaim is what the files say of a profile's port. What is wrong in them is
// reported when its gateway is started.
func (f *Fleet) readClaim(p *store.Profile, recorded int) port.Claim {
	explicit, _ := f.explicitPort(p)
	return port.Claim{Name: p.Name(), Explicit: explicit, Recorded: recorded}
}

// noteClashes shows clashes; they are not fatal.
func (f *Fleet) noteClashes(err error) {
	switch {
	case err == nil:
		f.notices.clear(portsClash, "")
	case f.notices.set(portsClash, "", err):
		f.log.Warn("ports clash", "error", err)
	}
}

// explicitPort is the port a person gave the profile, 0 if none did.
func (f *Fleet) explicitPort(p *store.Profile) (int, error) {
	file, err := f.configs.of(p)
	if err != nil {
		return 0, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return 0, err
	}
	return config.ExplicitPort(p.Name(), f.options.Settings, file.Gateway, dotenv)
}

// portFor is the port a start uses: what the files say now, else what was
// assigned, 0 if the range had none left.
func (f *Fleet) portFor(name profile.Name, g config.Gateway, dotenv map[string]string) (int, error) {
	explicit, err := config.ExplicitPort(name, f.options.Settings, g, dotenv)
	if err != nil {
		return 0, err
	}
	if c, known := f.ports.claim(name); known && c.Explicit != explicit {
		c.Explicit = explicit
		f.noteClashes(f.ports.add(c))
	}
	return f.ports.of(name), nil
}

// portOwner is another profile whose gateway is up on the port.
func (f *Fleet) portOwner(name profile.Name, number int) (profile.Name, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.byName {
		g := &s.shown.Load().gateway
		if s.name != name && g.PID != 0 && g.Port == number {
			return s.name, true
		}
	}
	return "", false
}
