package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/reconcile"
	"hermes/internal/store"
	"hermes/internal/stray"
)

const (
	// runnerTimeout bounds the wait for the runner's answer. The runner itself
	// answers a hung exec sooner; this is for a runner that is gone.
	runnerTimeout = 15 * time.Second
	// hearing is the least time a run that was adopted while it started is
	// given to be ready: what it said meanwhile must be heard first.
	hearing = 5 * time.Second
	// lateRunGone is how long the end of a run that was killed usually takes.
	lateRunGone = 10 * time.Millisecond

	stopSignal = unix.SIGTERM
	killSignal = unix.SIGKILL
)

// spawn asks the runner for a run without keeping the loop: reading a profile
// and exec may both hang.
func (s *slot) spawn() {
	r := s.fleet.newRun()
	r.Slot, r.Generation = s.service.slotName(), max(s.last.Run+1, uint64(time.Now().UnixNano()))
	s.pending, s.last.Run, s.last.ReadyAt = r, r.Generation, time.Time{}
	sweep := s.sweep
	s.work(func() {
		s.afterStrays(sweep)
		spec, setup, err := s.service.prepare(r)
		got := engine.Run{Log: -1, Notify: -1}
		if err == nil {
			got, err = s.fleet.runSpec(spec)
		}
		if !s.post(func() { s.spawned(r, got, setup, err) }) {
			closeRun(got)
		}
	})
}

// runSpec has the runner start spec, once a run of another generation is out
// of the way: one whose start was given up and came up late, or was asked for
// by a supervisor that was killed. A supervisor that leaves does not wait: the
// next one finds the run.
func (f *Fleet) runSpec(spec engine.Spec) (engine.Run, error) {
	ctx, cancel := context.WithTimeout(f.leave, runnerTimeout)
	defer cancel()
	again := time.NewTicker(lateRunGone)
	defer again.Stop()
	for late := false; ; late = true {
		got, err := f.runner.Spawn(ctx, spec)
		switch {
		case late && err != nil && ctx.Err() != nil:
			return got, fmt.Errorf("an earlier start came up late and does not end: %w", err)
		case !errors.Is(err, engine.ErrBusy):
			return got, err
		}
		if err := f.killLate(ctx, spec.Slot); err != nil && ctx.Err() == nil {
			return got, fmt.Errorf("cannot end an earlier start that came up late: %w", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// killLate kills what lives in a slot.
func (f *Fleet) killLate(ctx context.Context, slot string) error {
	runs, err := f.runner.List(ctx)
	for _, r := range runs {
		if r.Slot == slot && r.Exit == nil {
			killErr := f.runner.Signal(ctx, r.Slot, r.Generation, killSignal, true)
			if !errors.Is(killErr, engine.ErrNoRun) {
				err = errors.Join(err, killErr)
			}
		}
		closeRun(r)
	}
	return err
}

// closeRun closes the descriptors of a run nobody wants.
func closeRun(r engine.Run) {
	for _, fd := range []int{r.Log, r.Notify} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// spawned is the runner's answer, in the loop.
func (s *slot) spawned(r *run, got engine.Run, setup setup, err error) {
	s.pending = nil
	if err != nil {
		r.cancel()
		s.fleet.tenants.leave(r)
		if s.fleet.leave.Err() == nil && !errors.Is(err, engine.ErrGone) {
			s.notSpawned(r, err) // else the next supervisor finds what became of it
		}
		return
	}
	r.Run, r.Exit = got, nil
	s.setup = setup
	s.last.Port = setup.port
	s.last.Ended = false
	if s.state == lifecycle.Spawning {
		s.last.Restarting = false
	}
	if s.fresh {
		s.fresh, s.last.Restarts = false, 0
	} else {
		s.last.Restarts++
	}
	s.hold(r)
	s.log.Info("started", "pid", got.PID)
	s.feed(lifecycle.Spawned)
	if exit := cmp.Or(r.early, got.Exit); exit != nil {
		s.exited(r, *exit)
	}
}

// notSpawned files a start that did not become a run.
func (s *slot) notSpawned(r *run, err error) {
	if errors.Is(err, unix.ESHUTDOWN) { // of the runner: no failure of the gateway's
		s.feed(lifecycle.Stop)
	}
	now := time.Now()
	s.refuse(err)
	s.last.AddExit(profile.Exit{Run: r.Generation, Code: -1, Started: now, At: now, Reason: s.reason})
	s.log.Warn("not started", "error", err)
	switch fault.CodeOf(err) {
	case fault.InvalidConfig, fault.Unreadable, fault.GatewayNotRegistered:
		s.feed(lifecycle.Refused)
	default:
		s.feed(lifecycle.SpawnFailed)
	}
	s.writeFailure()
}

// hold makes r the slot's run and starts reading what it says.
func (s *slot) hold(r *run) {
	s.run = r
	s.fleet.strays.track(r.PID)
	s.last.Run, s.last.ReadyAt = r.Generation, r.readyAt
	s.readOutput(r)
	s.readNotices(r)
	s.touch()
}

// watch waits for readiness as the profile says.
func (s *slot) watch() {
	r := s.run
	if s.setup.ready.Kind == config.ReadyExec {
		r.health = profile.HealthUnknown
		s.feed(lifecycle.Ready)
		return
	}
	if !s.outside { // down for this boot: it is left as it was found
		left := min(s.setup.startTimeout-time.Since(r.Started), s.setup.startTimeout)
		if r.adopted {
			left = max(left, hearing)
		}
		s.arm(startTimer, left, func() {
			s.reason = "not ready in " + s.setup.startTimeout.String()
			s.feed(lifecycle.StartTimeout)
		})
	}
	if s.setup.ready.Kind == config.ReadyHTTP {
		s.probe(r)
	}
}

// signal sends sig to the run's group and arms the grace timer.
func (s *slot) signal(sig unix.Signal) {
	r := s.run
	if r == nil {
		return // still being spawned: Spawned comes here again
	}
	s.arm(graceTimer, s.setup.stopTimeout, func() { s.feed(lifecycle.GraceExpired) })
	s.work(func() {
		ctx, cancel := context.WithTimeout(context.Background(), runnerTimeout)
		defer cancel()
		err := s.fleet.runner.Signal(ctx, r.Slot, r.Generation, sig, true)
		if err != nil && !errors.Is(err, engine.ErrNoRun) && !errors.Is(err, engine.ErrGone) {
			s.log.Warn("cannot signal", "signal", unix.SignalName(sig), "pid", r.PID, "error", err)
		}
	})
}

// prepare has r enter the profile's directory and says how to run it. It runs
// outside the loop.
func (f *Fleet) prepare(name profile.Name, r *run) (engine.Spec, setup, error) {
	p, err := f.home.Profile(name)
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	defer p.Close()
	if err := f.tenants.enter(reconcile.ID(p.ID()), r); err != nil {
		return engine.Spec{}, setup{}, err
	}
	return f.specify(p, r)
}

// specify reads a profile and says how to run it.
func (f *Fleet) specify(p *store.Profile, r *run) (engine.Spec, setup, error) {
	slotName := r.Slot
	in := recipe.Input{
		Settings: f.options.Settings, Environ: f.options.Environ, Self: f.options.Self,
		UserName: f.options.UserName, UserHome: f.options.UserHome,
		Notify: f.notifyPath(slotName), SlotID: stray.Mark{Slot: slotName, Generation: r.Generation, Lineage: f.options.Lineage}.String(),
		Config: f.configs.of, Port: f.portFor, PortOwner: f.portOwner,
	}
	if as := f.options.Credential; as != nil {
		in.As = &recipe.Owner{UID: as.UID, GID: as.GID}
	}
	how, err := recipe.Of(f.leave, p, in)
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	return engine.Spec{
		Slot: slotName, Generation: r.Generation,
		Path: how.Path, Argv: how.Argv, Env: how.Env, Dir: how.Dir,
		Credential: f.options.Credential,
		Plan:       engine.Plan{Signal: stopSignal, Grace: how.StopTimeout},
		Notify:     f.notifyPath(slotName),
		Lock:       f.lockPath(slotName),
	}, setupOf(how.Setup), nil
}

// defaults is the setup of a gateway whose configuration is not read yet.
func (f *Fleet) defaults() setup { return f.setupOf(config.DefaultGateway(), false) }

// setupOf fills what the configuration leaves open.
func (f *Fleet) setupOf(g config.Gateway, builtIn bool) setup {
	return setupOf(recipe.SetupOf(g, builtIn, f.options.Settings))
}

func setupOf(s recipe.Setup) setup {
	return setup{
		restart: s.Restart, ready: s.Ready, host: s.Host, logs: s.Logs,
		startTimeout: s.StartTimeout, stopTimeout: s.StopTimeout, port: s.Port,
	}
}
