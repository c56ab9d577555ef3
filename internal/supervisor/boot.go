package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hermes/internal/census"
	"hermes/internal/engine"
	"hermes/internal/port"
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
	f.returning = r.Returning
	f.strays.trackAll(runs)
	w, claims := f.observe(scan, runs)
	f.profilesDir = scan.Profiles
	f.newlySkipped(scan) // the plan reports them all
	f.grant(&w, r)
	plan := reconcile.Plan(w)
	f.assignPorts(w.Found, claims)
	f.beginEvents(r.Returning)
	kept := f.abandon(ctx, plan, runs)
	f.carryOut(ctx, plan, kept)
	f.bootDashboard(kept[profile.DashboardSlot])
	f.forsake("its profile has gone")
	f.returning = false
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
		w.By[string(c.Profile)] = census.ByCommand
	}
}

// Plan is what a boot would do now. It changes nothing.
func (f *Fleet) Plan(context.Context) ([]string, error) {
	home, err := store.OpenReadOnly(f.home.Path())
	if err != nil {
		return nil, err
	}
	defer home.Close()
	return census.Plan(home, f.options.Commands)
}

// observe collects the facts: of profiles that have a slot only that they are
// there. The claims are those of the others.
func (f *Fleet) observe(scan store.Scan, runs []engine.Run) (reconcile.World, []port.Claim) {
	w := reconcile.World{
		Now: time.Now().UTC(), Keeper: f.options.Keeper,
		Skipped: census.Skipped(scan), Live: map[string]bool{},
	}
	for _, r := range runs {
		if r.Exit == nil {
			w.Live[r.Slot] = true
		}
	}
	known := map[reconcile.ID]profile.Name{}
	f.mu.Lock()
	for _, s := range f.byName {
		w.Slots = append(w.Slots, reconcile.Slot{Name: s.name, ID: s.id})
		known[s.id] = s.name
	}
	f.mu.Unlock()
	claims := make([]port.Claim, len(scan.Entries))
	found := make([]reconcile.Profile, len(scan.Entries))
	inParallel(len(scan.Entries), func(i int) {
		e := scan.Entries[i]
		if f.get(e.Name) != nil {
			found[i], claims[i] = reconcile.Profile{Name: e.Name, ID: reconcile.ID(e.ID)}, port.Claim{Name: e.Name}
			return
		}
		found[i], claims[i] = f.examine(e, w.Live[e.Name.Slot()])
		if was := f.ports.of(known[reconcile.ID(e.ID)]); was != 0 {
			claims[i].Recorded = was // under another name, and perhaps not on disk yet
		}
	})
	w.Found = slices.Concat(found, unseen(scan, w.Live))
	return w, claims
}

// inParallel calls f for 0 to n-1, as many at a time as is of use where most
// of the time goes to the kernel, and returns when all have returned.
func inParallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// examine observes a profile that has no slot, with what it claims for a port.
// What makes no sense of its files is set aside and shown.
func (f *Fleet) examine(e store.Entry, lives bool) (reconcile.Profile, port.Claim) {
	p, err := f.home.Profile(e.Name)
	if err != nil {
		return census.NotOpened(e, err), port.Claim{Name: e.Name}
	}
	defer p.Close()
	out, err := census.ObserveOpen(p, e)
	if err != nil {
		f.log.Warn("state file not used", "profile", string(e.Name), "error", err)
		f.notices.set(fileSetAside, e.Name, err)
	}
	if out.LegacyFile == reconcile.Corrupt && !lives {
		f.setAsideLegacy(p) // the gateway's own, so not while it runs
	}
	return out, f.readClaim(p, out.Last.Port)
}

// discover registers a profile that nobody knew a moment ago, at no cost that
// grows with the fleet. The caller holds scanMu.
func (f *Fleet) discover(ctx context.Context, name profile.Name) error {
	p, err := f.home.Profile(name)
	if err != nil {
		return err
	}
	id := p.ID()
	_ = p.Close()
	found, claim := f.examine(store.Entry{Name: name, ID: id}, false)
	f.noteClashes(f.ports.add(claim))
	w := reconcile.World{Now: time.Now().UTC(), Keeper: f.options.Keeper, Found: []reconcile.Profile{found}}
	f.carryOut(ctx, reconcile.Plan(w), nil)
	if f.get(name) == nil {
		return errShuttingDown()
	}
	return nil
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

// carryOut does what was planned. Intents are on disk before anything starts.
// runs are those the runner has, by slot.
func (f *Fleet) carryOut(ctx context.Context, plan []reconcile.Action, runs map[string][]engine.Run) {
	f.writeIntents(plan)
	registers := func(a reconcile.Action) bool { return a.Kind == reconcile.Register }
	for len(plan) > 0 {
		if n := countWhile(plan, registers); n > 0 {
			inParallel(n, func(i int) { f.register(plan[i], runs[plan[i].Name.Slot()]) })
			plan = plan[n:]
			continue
		}
		switch a := plan[0]; a.Kind {
		case reconcile.Rename:
			if f.retire(ctx, a.From, a.Name, "its directory is now "+string(a.Name)) {
				f.register(a, nil)
			}
		case reconcile.Unregister:
			f.retire(ctx, a.Name, "", "its profile was removed")
		case reconcile.Ignore:
			f.log.Warn("not a profile", "entry", a.Skipped, "reason", a.Reason)
		case reconcile.Register: // done above
		}
		plan = plan[1:]
	}
}

// countWhile is how many of the first actions are such.
func countWhile(plan []reconcile.Action, such func(reconcile.Action) bool) int {
	for i, a := range plan {
		if !such(a) {
			return i
		}
	}
	return len(plan)
}

// retire unregisters a slot whose profile has gone, or is called to; the next
// look tries again what does not work now.
func (f *Fleet) retire(ctx context.Context, name, to profile.Name, why string) bool {
	err := f.unregister(ctx, name, to, why)
	if err != nil {
		f.log.Warn("slot not removed", "profile", string(name), "error", err)
	}
	return err == nil
}

// writeIntents writes those a plan sets, all with one sync; one that cannot be
// written leaves its gateway as it is found, with the reason shown.
func (f *Fleet) writeIntents(plan []reconcile.Action) {
	var writes []store.IntentWrite
	var of []*reconcile.Action
	for i := range plan {
		if a := &plan[i]; a.Write != nil {
			writes = append(writes, store.IntentWrite{Name: a.Name, Record: *a.Write})
			of = append(of, a)
		}
	}
	for i, err := range f.home.WriteIntents(writes) {
		if err != nil {
			of[i].Resume, of[i].Reason = reconcile.Outside, err.Error()
		}
	}
}

// register makes the slot an action asks for and resumes it. runs are those
// the runner has for it, the living one among them if any.
func (f *Fleet) register(a reconcile.Action, runs []engine.Run) {
	s := newSlot(f, gateway{f, a.Name})
	s.name, s.id, s.log = a.Name, a.ID, f.log.With("profile", string(a.Name))
	su := f.prepareProfile(a.Name, lives(runs))
	if assigned := f.ports.of(a.Name); assigned != 0 && !lives(runs) {
		su.port = assigned
	}
	f.bring(s, a, runs, su)
}

// bring adds the slot to the fleet and resumes it. Another port than the one
// on record is kept.
func (f *Fleet) bring(s *slot, a reconcile.Action, runs []engine.Run, su setup) {
	s.intent, s.last, s.reason = a.Intent, a.Last, a.Reason
	s.refusal = refusal{reason: a.Last.Reason, hint: a.Last.Hint}
	s.last.Version = profile.SupervisionVersion
	s.outside = a.Resume == reconcile.Outside
	s.setup = su
	renumbered := su.port != 0 && su.port != s.last.Port
	if renumbered {
		s.last.Port = su.port
	}
	s.publish()
	resumed := make(chan struct{})
	s.post(func() { // before anybody else can post
		s.introduce()
		s.resume(a, runs)
		if renumbered {
			s.touch() // a port is kept wherever the profile goes
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
	f.workers.run(s.loop) // ended by end, which waits for it
	<-resumed
}

// add puts a slot into the fleet, unless the supervisor is leaving.
func (f *Fleet) add(s *slot) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		return false
	}
	if s.name == "" {
		f.dashboard = s
		return true
	}
	f.byName[s.name], f.sorted = s, nil
	return true
}

// abandon ends the runs that no action of the plan is about: their profiles do
// not exist any more. They are gone before anything is started, as one of them
// may have been renamed; the other runs are returned, by slot.
func (f *Fleet) abandon(ctx context.Context, plan []reconcile.Action, runs []engine.Run) map[string][]engine.Run {
	kept := map[string][]engine.Run{}
	planned := map[string]bool{profile.DashboardSlot: f.options.Dashboard}
	for _, a := range plan {
		planned[a.Name.Slot()] = a.Kind == reconcile.Register
	}
	killed := map[string]bool{}
	for _, r := range runs {
		_, ours := profile.FromSlot(r.Slot)
		ours = ours || r.Slot == profile.DashboardSlot // that nobody wants any more
		switch {
		case planned[r.Slot]:
			kept[r.Slot] = append(kept[r.Slot], r)
			continue
		case ours && r.Exit == nil:
			killed[r.Slot] = true
			f.kill(ctx, r)
		case ours:
			f.forget(r.Slot, r.Generation)
		case r.Exit != nil:
			f.helperEnded(r.Slot, r.Generation)
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
	f.strays.untrack(r.PID)
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

func (f *Fleet) logBoot(plan []reconcile.Action) {
	if err := f.home.AppendBootLog(census.Lines(plan, time.Now().UTC())); err != nil {
		f.log.Warn("boot log not written", "error", err)
		f.notices.set(bootLogUnwritten, "", err)
	}
}
