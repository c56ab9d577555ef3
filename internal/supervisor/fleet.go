package supervisor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

// Options is what a fleet is made of. All are required but where said.
type Options struct {
	Home     *store.Home
	Runner   engine.Runner
	Settings config.Settings
	Logger   *slog.Logger
	// Runtime is the supervisor's private directory.
	Runtime string
	// Keeper stamps observations; another stamp is another boot.
	Keeper    string
	KeeperPID int
	// EngineRestarts is how many supervisors this keeper had before.
	EngineRestarts int
	// Lineage marks what this supervisor's gateways start and no other's do.
	// "" leaves their strays alone.
	Lineage string
	Manager string // for people: "native (host supervisor)"
	Version string
	// Self is the hermes binary, Environ the environment gateways inherit.
	Self    string
	Environ []string
	// Credential is what gateways run as; nil: as the supervisor itself.
	// UserName and UserHome describe it, empty if unknown.
	Credential         *engine.Credential
	UserName, UserHome string
	// Dashboard says that the dashboard is to run, in a slot of its own.
	Dashboard bool
	// Tee gets a copy of every gateway's output.
	Tee *logfile.Tee
	// Events gets every change of intent, state and health; nil: one in memory.
	Events *event.Log
	// Commands are what the container's main program means, By who is behind
	// each intent that boot writes.
	Commands []reconcile.Command
}

// Fleet owns the slots of a home.
type Fleet struct {
	options Options
	home    *store.Home
	runner  engine.Runner
	log     *slog.Logger
	gate    *gate
	pool    *logfile.Pool
	workers workers
	sockets notifySockets
	notices notices
	closing atomic.Bool     // a shutdown is under way: nothing is started
	leave   context.Context // ends when the supervisor leaves its runs alone
	leaving context.CancelFunc

	ports   ports
	configs configs
	strays  *strays
	tenants *tenants

	events *event.Log

	mu        sync.Mutex // guards what follows and the slots' id
	byName    map[profile.Name]*slot
	sorted    []*slot     // those of byName; nil after a change
	dashboard *slot       // nil where none is wanted
	left      bool        // no slot is added any more
	heritage  event.Table // what was told of slots that are about to be made, by their names

	blind       atomic.Bool // inotify does not tell of new profiles
	scanMu      sync.Mutex  // one look at the profiles at a time; guards what follows
	returning   bool        // a supervisor is taking over from another one of the same keeper's
	profilesDir store.ID    // profiles/ as it was at boot
	skipped     map[string]string
	unmarked    []string
	missing     map[profile.Name]time.Time // since when
}

// New makes a fleet with no slots yet.
func New(o Options) *Fleet {
	ctx, cancel := context.WithCancel(context.Background())
	events := o.Events
	if events == nil {
		events = event.Open(event.Options{})
	}
	return &Fleet{
		events: events, heritage: event.Table{},
		workers: newWorkers(ctx.Done()),
		options: o, home: o.Home, runner: o.Runner, log: o.Logger,
		gate: newGate(o.Settings.StartParallel),
		pool: logfile.NewPool(), strays: newStrays(), tenants: newTenants(),
		leave: ctx, leaving: cancel,
		byName: map[profile.Name]*slot{},
	}
}

// Run delivers the runner's events to the slots until ctx ends or the runner
// is gone. asked is called once the runner says that everything is to stop.
func (f *Fleet) Run(ctx context.Context, asked func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-f.runner.Events():
			switch {
			case !ok:
				return engine.ErrGone
			case e.Kind == engine.Shutdown:
				asked()
			case e.Kind == engine.Exited:
				f.exited(e)
			}
		}
	}
}

// exited hands an exit to its slot. One of a slot that was removed is of no
// use to anybody; the main program's is the runner's own business.
func (f *Fleet) exited(e engine.Event) {
	if _, gateway := profile.FromSlot(e.Slot); !gateway && e.Slot != profile.DashboardSlot {
		f.helperEnded(e.Slot, e.Generation)
		return
	}
	s := f.bySlot(e.Slot)
	if s == nil || !s.post(func() { s.onExit(e.Generation, e.Exit) }) {
		f.forget(e.Slot, e.Generation)
	}
}

// Shutdown stops every run, with intents as they are, and waits until all are
// down or ctx ends.
func (f *Fleet) Shutdown(ctx context.Context) {
	f.closing.Store(true) // a slot registered from now on starts nothing
	f.tellEngine(api.EngineShutdown, "every gateway is stopped; intents stay as they are")
	var wg sync.WaitGroup
	for _, s := range f.everySlot() {
		wg.Go(func() { s.down(ctx) })
	}
	wg.Wait()
}

// down stops the slot's run and waits until it is down, false if ctx ended
// before. A slot that waits or is parked stays so on record, and the next boot
// goes on from there.
func (s *slot) down(ctx context.Context) bool {
	down, err := ask(ctx, s, func() <-chan error {
		if !s.idle() {
			s.feed(lifecycle.Stop)
		}
		return s.await(ctx, func() (bool, error) { return s.idle() && s.sweep == nil, nil })
	})
	if err == nil {
		err = s.outcome(ctx, down)
	}
	return err == nil || errors.Is(err, errEnded)
}

// idle says whether the slot has neither a run nor one coming.
func (s *slot) idle() bool { return !s.state.HasRun() && s.state != lifecycle.Queued }

// Leave writes what is known, finishes what was read from the gateways, and
// lets go: the runs live on with the runner. It waits until ctx ends for what
// hangs. It may be called again.
func (f *Fleet) Leave(ctx context.Context) {
	f.leaving()
	f.mu.Lock()
	again := f.left
	f.left = true
	f.mu.Unlock()
	if !again && !f.closing.Load() {
		f.tellEngine(api.EngineLeft, "the engine leaves; gateways live on")
	}
	var wg sync.WaitGroup
	for _, s := range f.everySlot() {
		wg.Go(func() { s.end(ctx) })
	}
	wg.Wait()
	f.sockets.wait()
}

// slots lists the gateways' slots, default first, then by name. The list is
// shared: it is not the caller's to change.
func (f *Fleet) slots() []*slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sorted == nil {
		f.sorted = slices.SortedFunc(maps.Values(f.byName), func(a, b *slot) int {
			return cmp.Or(-compareBool(a.name == profile.Default, b.name == profile.Default), cmp.Compare(a.name, b.name))
		})
	}
	return f.sorted
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (f *Fleet) get(name profile.Name) *slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byName[name]
}

// lookup finds a slot; a profile that has none yet gets it first, so that the
// advice "register it" is never given to who has.
func (f *Fleet) lookup(ctx context.Context, name profile.Name) (*slot, error) {
	if s := f.get(name); s != nil {
		return s, nil
	}
	if !f.meet(ctx, name) {
		f.rescan(ctx)
	}
	if s := f.get(name); s != nil {
		return s, nil
	}
	if string(name) == profile.DashboardSlot && f.dashboardSlot() != nil {
		return nil, fault.DashboardIsNoGateway()
	}
	return nil, fault.NotRegistered(string(name))
}

// meet registers a profile that has no slot without a look at all the others.
// It is false if that takes one: the directory may have had another name.
func (f *Fleet) meet(ctx context.Context, name profile.Name) bool {
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	if f.get(name) != nil {
		return true
	}
	p, err := f.home.Profile(name)
	if err != nil || f.closing.Load() || ctx.Err() != nil {
		return false
	}
	id := reconcile.ID(p.ID())
	_ = p.Close()
	return !f.hasID(id) && f.discover(ctx, name) == nil
}

// hasID says whether a slot's profile is that directory.
func (f *Fleet) hasID(id reconcile.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.byName {
		if s.id == id {
			return true
		}
	}
	return false
}

// commanded says whether the container's command runs this gateway.
func (f *Fleet) commanded(name profile.Name) bool {
	return slices.ContainsFunc(f.options.Commands, func(c reconcile.Command) bool {
		return c.Profile == name && !c.Foreground
	})
}

// notifyPath and lockPath are per slot and short: a socket's path has 107
// bytes at most, a slot's name up to 72.
func (f *Fleet) notifyPath(slot string) string {
	sum := sha256.Sum256([]byte(slot))
	return filepath.Join(f.options.Runtime, "n", hex.EncodeToString(sum[:8]))
}

func (f *Fleet) lockPath(slot string) string {
	return filepath.Join(f.options.Runtime, "slots", slot+".lock")
}

func (f *Fleet) logDir(name profile.Name) string {
	return filepath.Join(f.home.Path(), "logs", "gateways", string(name))
}
