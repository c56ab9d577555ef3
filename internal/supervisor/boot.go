package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hermes/internal/engine"
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
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	runs, err := f.runner.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the keeper what runs: %w", err)
	}
	scan, err := f.home.Scan()
	if err != nil {
		for _, run := range runs {
			closeRun(run)
		}
		return err
	}
	w := f.observe(scan, runs)
	f.profilesDir = scan.Profiles
	f.newlySkipped(scan) // the plan reports them all
	f.grant(&w, r)
	plan := reconcile.Plan(w)
	f.assignPorts(w.Found)
	f.carryOut(ctx, plan, f.abandon(ctx, plan, runs))
	if !r.Returning {
		f.logBoot(plan)
	}
	return nil
}

// grant adds what this boot was asked for. A supervisor that comes back keeps
// to what the container's command runs in the foreground, unless an operator
// has had it started under this keeper, which is when it was last observed.
func (f *Fleet) grant(w *reconcile.World, r BootRequest) {
	for _, c := range f.options.Commands {
		started := slices.ContainsFunc(w.Found, func(p reconcile.Profile) bool {
			return p.Name == c.Profile && p.Last.Keeper == f.options.Keeper
		})
		if !r.Returning || c.Foreground && !started {
			w.Commands = append(w.Commands, c)
		}
	}
	if r.Returning {
		return
	}
	w.Wanted, w.By = r.Wanted, map[string]string{}
	for _, n := range r.Wanted {
		w.By[string(n)] = r.By
	}
	for _, c := range f.options.Commands {
		w.By[string(c.Profile)] = "container command"
	}
}

// Plan is what a boot would do now, one line of container-boot.log each.
func Plan(home *store.Home, commands []reconcile.Command) ([]string, error) {
	scan, err := home.Scan()
	if err != nil {
		return nil, err
	}
	w := reconcile.World{Now: time.Now().UTC(), Skipped: skipped(scan), Commands: commands}
	for _, e := range scan.Entries {
		p, _ := observeProfile(home, e)
		w.Found = append(w.Found, p)
	}
	var lines []string
	for _, line := range bootLines(reconcile.Plan(w), w.Now) {
		lines = append(lines, line.String())
	}
	return lines, nil
}

// Plan is what a boot would do now. It changes nothing.
func (f *Fleet) Plan(context.Context) ([]string, error) {
	home, err := store.OpenReadOnly(f.home.Path())
	if err != nil {
		return nil, err
	}
	defer home.Close()
	return Plan(home, f.options.Commands)
}

// observe collects the facts: of profiles that have a slot only that they are
// there.
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
		p, err := observeProfile(f.home, e)
		if err != nil {
			f.log.Warn("state file not used", "profile", string(e.Name), "error", err)
			f.notices.set(fileSetAside, e.Name, err)
		}
		if p.LegacyFile == reconcile.Corrupt && !w.Live[e.Name.Slot()] {
			f.setAsideLegacy(e.Name) // the gateway's own, so not while it runs
		}
		w.Found = append(w.Found, p)
	}
	w.Found = append(w.Found, unseen(scan, w.Live)...)
	return w
}

// unseen are profiles that cannot be looked at now although their gateway
// runs: it is left alone, as one whose files cannot be read is.
func unseen(scan store.Scan, live map[string]bool) []reconcile.Profile {
	var all []reconcile.Profile
	for _, s := range scan.Skipped {
		name, err := profile.Parse(s.Name)
		if s.Err != nil && err == nil && live[name.Slot()] {
			all = append(all, reconcile.Profile{Name: name, IntentFile: reconcile.Unreadable, FileProblem: s.Reason})
		}
	}
	return all
}

func skipped(scan store.Scan) []reconcile.Skip {
	var all []reconcile.Skip
	for _, s := range scan.Skipped {
		all = append(all, reconcile.Skip{Name: s.Name, Reason: s.Reason})
	}
	return all
}

// carryOut does what was planned. Intents are on disk before anything starts.
// runs are those the runner has, by slot.
func (f *Fleet) carryOut(ctx context.Context, plan []reconcile.Action, runs map[string][]engine.Run) {
	f.writeIntents(plan)
	for _, a := range plan {
		switch a.Kind {
		case reconcile.Register:
			f.register(a, runs[a.Name.Slot()])
		case reconcile.Rename:
			if f.retire(ctx, a.From, "its directory is now "+string(a.Name)) {
				f.register(a, nil)
			}
		case reconcile.Unregister:
			f.retire(ctx, a.Name, "its profile was removed")
		case reconcile.Ignore:
			f.log.Warn("not a profile", "entry", a.Skipped, "reason", a.Reason)
		}
	}
}

// retire unregisters a slot whose profile has gone; the next look tries again
// what does not work now.
func (f *Fleet) retire(ctx context.Context, name profile.Name, why string) bool {
	err := f.unregister(ctx, name, why)
	if err != nil {
		f.log.Warn("slot not removed", "profile", string(name), "error", err)
	}
	return err == nil
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
	s.refusal = refusal{reason: a.Last.Reason, hint: a.Last.Hint}
	s.last.Version = profile.SupervisionVersion
	s.outside = a.Resume == reconcile.Outside
	lives := slices.ContainsFunc(runs, func(r engine.Run) bool { return r.Exit == nil })
	s.setup = f.prepareProfile(a.Name, lives)
	assigned := f.port(a.Name)
	renumbered := assigned != 0 && assigned != s.last.Port && !lives
	if renumbered {
		s.last.Port = assigned
	}
	s.publish()
	resumed := make(chan struct{})
	s.post(func() { // before anybody else can post
		s.resume(a, runs)
		if renumbered {
			s.write() // a port is kept wherever the profile goes
		}
		s.publish()
		close(resumed)
	})
	if !f.add(s) {
		for _, r := range runs {
			closeRun(r)
		}
		return
	}
	go s.loop() // ended by end, which waits for it
	<-resumed
}

// add puts a slot into the fleet, unless the supervisor is leaving.
func (f *Fleet) add(s *slot) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		return false
	}
	f.byName[s.name] = s
	return true
}

// abandon ends the runs that no action of the plan is about: their profiles do
// not exist any more. They are gone before anything is started, as one of them
// may have been renamed; the other runs are returned, by slot.
func (f *Fleet) abandon(ctx context.Context, plan []reconcile.Action, runs []engine.Run) map[string][]engine.Run {
	kept := map[string][]engine.Run{}
	planned := map[string]bool{}
	for _, a := range plan {
		planned[a.Name.Slot()] = a.Kind == reconcile.Register
	}
	killed := map[string]bool{}
	for _, r := range runs {
		_, gateway := profile.FromSlot(r.Slot)
		switch {
		case planned[r.Slot]:
			kept[r.Slot] = append(kept[r.Slot], r)
			continue
		case gateway && r.Exit == nil:
			killed[r.Slot] = true
			f.kill(ctx, r)
		case gateway:
			f.forget(r.Slot, r.Generation)
		}
		closeRun(r)
	}
	if len(killed) > 0 {
		f.awaitEnd(ctx, killed)
	}
	return kept
}

func (f *Fleet) kill(ctx context.Context, r engine.Run) {
	f.log.Warn("run without a profile killed", "slot", r.Slot, "pid", r.PID)
	err := f.runner.Signal(ctx, r.Slot, r.Generation, killSignal, true)
	if err != nil && !errors.Is(err, engine.ErrNoRun) {
		f.log.Warn("cannot signal", "slot", r.Slot, "pid", r.PID, "error", err)
	}
}

// killedWithin is how long a boot waits for what it killed.
const killedWithin = 2 * time.Second

// awaitEnd waits until the slots have no living run. Events are not read yet,
// so the runner is asked.
func (f *Fleet) awaitEnd(ctx context.Context, slots map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, killedWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		runs, err := f.runner.List(ctx)
		lives := false
		for _, r := range runs {
			lives = lives || slots[r.Slot] && r.Exit == nil
			closeRun(r)
		}
		if err == nil && !lives {
			return
		}
		select {
		case <-ctx.Done():
			f.log.Warn("a killed run does not end", "error", ctx.Err())
			return
		case <-tick.C:
		}
	}
}

// bootLines renders a plan for container-boot.log.
func bootLines(plan []reconcile.Action, at time.Time) []store.BootLine {
	var lines []store.BootLine
	for _, a := range plan {
		if a.Kind == reconcile.Ignore {
			if a.Skipped == string(profile.Default) {
				continue // profiles/default: there is a line of that name, of another directory
			}
			a.Name = profile.Name(a.Skipped)
		}
		lines = append(lines, store.BootLine{
			At: at, Profile: a.Name, PriorState: a.PriorState, Action: a.Logged(), PriorExit: a.PriorExit,
		})
	}
	return lines
}

func (f *Fleet) logBoot(plan []reconcile.Action) {
	if err := f.home.AppendBootLog(bootLines(plan, time.Now().UTC())); err != nil {
		f.log.Warn("boot log not written", "error", err)
		f.notices.set(bootLogUnwritten, "", err)
	}
}
