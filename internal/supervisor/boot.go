package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

// BootRequest says what is special about this boot.
type BootRequest struct {
	// Returning: the keeper lived on, only the supervisor is new. Nothing is
	// logged as a boot, and no wish is granted a second time.
	Returning bool
	// Wanted are profiles named on the command line of `hermes up`.
	Wanted []profile.Name
	By     string // who wants them
}

// Boot observes, plans and acts: every profile gets its slot, every run that
// lives is adopted or stopped, every gateway that is wanted starts. It returns
// when all that is under way, not when it is done.
func (f *Fleet) Boot(ctx context.Context, r BootRequest) error {
	runs, err := f.runner.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the keeper what runs: %w", err)
	}
	scan, err := f.home.Scan()
	if err != nil {
		return err
	}
	w := f.observe(scan, runs)
	f.profilesDir = scan.Profiles
	if !r.Returning {
		w.Wanted, w.Commands = r.Wanted, f.options.Commands
		w.By = map[string]string{}
		for _, n := range r.Wanted {
			w.By[string(n)] = r.By
		}
		for _, c := range f.options.Commands {
			w.By[string(c.Profile)] = "container command"
		}
	}
	plan := reconcile.Plan(w)
	f.assignPorts(w.Found)
	f.carryOut(plan, runs)
	if r.Returning {
		return nil
	}
	return f.logBoot(plan)
}

// Plan is what a boot would do now, one line of container-boot.log each.
func Plan(home *store.Home, commands []reconcile.Command) ([]string, error) {
	scan, err := home.Scan()
	if err != nil {
		return nil, err
	}
	w := reconcile.World{Now: time.Now().UTC(), Skipped: skipped(scan), Commands: commands}
	for _, e := range scan.Entries {
		w.Found = append(w.Found, observeProfile(home, e))
	}
	var lines []string
	for _, line := range bootLines(reconcile.Plan(w), w.Now) {
		lines = append(lines, line.String())
	}
	return lines, nil
}

// Plan is what a boot would do now.
func (f *Fleet) Plan(context.Context) ([]string, error) {
	return Plan(f.home, f.options.Commands)
}

// observe collects the facts of a world in which the fleet has no slots yet,
// or those it has.
func (f *Fleet) observe(scan store.Scan, runs []engine.Run) reconcile.World {
	w := reconcile.World{
		Now: time.Now().UTC(), Keeper: f.options.Keeper,
		Skipped: skipped(scan), Live: map[string]bool{},
	}
	for _, r := range runs {
		if r.Exit == nil {
			w.Live[r.Slot] = true
		}
	}
	f.mu.Lock()
	for _, s := range f.byName {
		w.Slots = append(w.Slots, reconcile.Slot{Name: s.name, ID: s.id})
	}
	f.mu.Unlock()
	for _, e := range scan.Entries {
		if f.get(e.Name) != nil {
			w.Found = append(w.Found, reconcile.Profile{Name: e.Name, ID: reconcile.ID(e.ID)})
			continue
		}
		w.Found = append(w.Found, observeProfile(f.home, e))
	}
	return w
}

func skipped(scan store.Scan) []reconcile.Skip {
	var all []reconcile.Skip
	for _, s := range scan.Skipped {
		all = append(all, reconcile.Skip{Name: s.Name, Reason: s.Reason})
	}
	return all
}

// carryOut does what was planned. Intents are on disk before anything starts.
func (f *Fleet) carryOut(plan []reconcile.Action, runs []engine.Run) {
	byKey := map[string][]engine.Run{}
	for _, r := range runs {
		byKey[r.Slot] = append(byKey[r.Slot], r)
	}
	f.writeIntents(plan)
	for _, a := range plan {
		switch a.Kind {
		case reconcile.Register:
			f.register(a, byKey[a.Name.Slot()])
			delete(byKey, a.Name.Slot())
		case reconcile.Rename:
			f.rename(a)
		case reconcile.Unregister:
			f.unregister(a.Name, "its profile was removed")
		case reconcile.Ignore:
			f.log.Warn("not a profile", "entry", a.Skipped, "reason", a.Reason)
		}
	}
	for _, left := range byKey {
		for _, r := range left {
			f.abandon(r)
		}
	}
}

// writeIntents writes those a plan sets; one that cannot be written leaves its
// gateway as it is found, with the reason shown.
func (f *Fleet) writeIntents(plan []reconcile.Action) {
	for i := range plan {
		a := &plan[i]
		if a.Write == nil {
			continue
		}
		if err := f.writeIntent(a.Name, *a.Write); err != nil {
			a.Resume, a.Reason = reconcile.Outside, err.Error()
		}
	}
}

// register makes the slot an action asks for and resumes it. runs are those
// the runner has for it, the living one among them if any.
func (f *Fleet) register(a reconcile.Action, runs []engine.Run) {
	s := newSlot(f, a.Name, a.ID)
	s.intent, s.last, s.reason = a.Intent, a.Last, a.Reason
	s.last.Version = profile.SupervisionVersion
	s.outside = a.Resume == reconcile.Outside
	s.setup = f.readSetup(a.Name)
	f.removeStale(a.Name)
	assigned := f.port(a.Name)
	renumbered := assigned != 0 && assigned != s.last.Port
	if renumbered {
		s.last.Port = assigned
	}
	s.publish()
	f.mu.Lock()
	f.byName[a.Name] = s
	f.mu.Unlock()
	go s.loop() // ended by end, which waits for it
	s.call(func() {
		s.resume(a, runs)
		if renumbered {
			s.write() // a port is kept wherever the profile goes
		}
	})
}

// resume brings the slot to where the plan says, in its loop.
func (s *slot) resume(a reconcile.Action, runs []engine.Run) {
	run := s.pick(runs)
	s.touch()
	switch {
	case run != nil && run.Exit == nil:
		s.adopt(*run, a.Resume)
	case run != nil:
		s.endedUnseen(*run, a.Resume)
	case a.Resume == reconcile.Up:
		s.feed(lifecycle.Start)
	case a.Resume == reconcile.Wait:
		s.fresh = false
		s.enter(lifecycle.Backoff)
		s.retryAt(reconcile.RetryAt(s.last.NextRetryAt, time.Now()))
	case a.Resume == reconcile.Park:
		s.enter(lifecycle.Parked)
	}
}

// pick chooses the run that matters: the living one, else the newest exit that
// is not on record. The others are forgotten.
func (s *slot) pick(runs []engine.Run) *engine.Run {
	var best *engine.Run
	for i := range runs {
		r := &runs[i]
		recorded := slices.ContainsFunc(s.last.Exits, func(e profile.Exit) bool { return e.Run == r.Generation })
		switch {
		case r.Exit != nil && recorded:
			s.forgetLater(r.Generation)
			closeRun(*r)
		case best == nil:
			best = r
		case best.Exit != nil && (r.Exit == nil || r.Generation > best.Generation):
			s.forgetLater(best.Generation)
			closeRun(*best)
			best = r
		default:
			s.forgetLater(r.Generation)
			closeRun(*r)
		}
	}
	return best
}

// found makes a run that outlived the last supervisor the slot's own, in the
// state it was in.
func (s *slot) found(r engine.Run) {
	ctx, cancel := context.WithCancel(context.Background())
	own := &run{Run: r, ctx: ctx, cancel: cancel, copied: make(chan struct{}), health: profile.HealthUnknown}
	known := s.last.Run == r.Generation
	if known {
		own.readyAt = s.last.ReadyAt
	}
	s.fresh = false
	restarting := s.last.Restarting && known
	s.hold(own, false)
	s.last.Restarting = restarting
}

// adopt goes on with a living run.
func (s *slot) adopt(r engine.Run, how reconcile.Resume) {
	s.found(r)
	s.log.Info("adopted", "pid", r.PID)
	s.reason = ""
	if !s.run.readyAt.IsZero() {
		if s.setup.ready.Kind != config.ReadyExec {
			s.run.health = profile.HealthOK
		}
		s.enter(lifecycle.Running)
	} else {
		s.enter(lifecycle.Starting)
		s.watch()
	}
	switch {
	case how == reconcile.Down:
		s.feed(lifecycle.Stop)
	case s.last.Restarting:
		s.feed(lifecycle.Restart)
	}
}

// endedUnseen files an exit that nobody was there to see.
func (s *slot) endedUnseen(r engine.Run, how reconcile.Resume) {
	s.found(r)
	switch {
	case how == reconcile.Down, s.last.Restarting:
		s.enter(lifecycle.Stopping)
	case s.run.readyAt.IsZero():
		s.state = lifecycle.Starting
	default:
		s.state = lifecycle.Running
	}
	s.exited(*r.Exit)
}

// abandon ends a run whose profile does not exist any more.
func (f *Fleet) abandon(r engine.Run) {
	closeRun(r)
	if _, gateway := profile.FromSlot(r.Slot); !gateway {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
	defer cancel()
	if r.Exit == nil {
		f.log.Warn("run without a profile killed", "slot", r.Slot, "pid", r.PID)
		if err := f.runner.Signal(ctx, r.Slot, r.Generation, killSignal, true); err != nil {
			f.log.Warn("cannot signal", "slot", r.Slot, "error", err)
		}
	}
	if err := f.runner.Forget(ctx, r.Slot, r.Generation); err != nil {
		f.log.Warn("exit not forgotten", "slot", r.Slot, "error", err)
	}
}

// bootLines renders a plan for container-boot.log.
func bootLines(plan []reconcile.Action, at time.Time) []store.BootLine {
	var lines []store.BootLine
	for _, a := range plan {
		if a.Kind == reconcile.Ignore {
			a.Name = profile.Name(a.Skipped)
		}
		lines = append(lines, store.BootLine{
			At: at, Profile: a.Name, PriorState: a.PriorState, Action: a.Logged(), PriorExit: a.PriorExit,
		})
	}
	return lines
}

func (f *Fleet) logBoot(plan []reconcile.Action) error {
	if err := f.home.AppendBootLog(bootLines(plan, time.Now().UTC())); err != nil {
		f.log.Warn("boot log not written", "error", err)
		f.notices.set("boot_log_unwritten", err)
	}
	return nil
}
