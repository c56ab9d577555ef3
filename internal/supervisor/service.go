package supervisor

import (
	"hermes/internal/engine"
	"hermes/internal/profile"
)

// service is what a slot is there for: the gateway of a profile, or the
// dashboard. A slot's life is the same whatever it is. Methods may be called
// from any goroutine but where they say otherwise.
type service interface {
	// slotName is the slot's name with the runner and for people.
	slotName() string
	// prepare reads what the run depends on and says how it is run. It is called
	// outside of the slot's loop, and may take its time.
	prepare(r *run) (engine.Spec, setup, error)
	// file keeps the observation where the next supervisor finds it. It is
	// called in the slot's loop.
	file(s *slot) error
	// log is the directory of the service's log, and the name its lines have
	// among those of others.
	log() (dir, label string)
	// words are why there is a slot for it, and the command for who wants to
	// know, or do, more.
	words() (cause, advice string)
}

// gateway is the service of a profile's slot.
type gateway struct {
	fleet *Fleet
	name  profile.Name
}

var _ service = gateway{}

func (g gateway) slotName() string { return g.name.Slot() }

func (g gateway) prepare(r *run) (engine.Spec, setup, error) { return g.fleet.prepare(g.name, r) }

func (g gateway) file(s *slot) error { return s.writeSupervision() }

func (g gateway) log() (dir, label string) { return g.fleet.logDir(g.name), string(g.name) }

func (g gateway) words() (cause, advice string) {
	return "its profile was found", "hermes why " + string(g.name)
}
