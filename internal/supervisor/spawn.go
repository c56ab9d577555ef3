package supervisor

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

// spawnTimeout bounds the wait for the runner's answer. The runner itself
// answers a hung exec sooner; this is for a runner that is gone.
const spawnTimeout = 15 * time.Second

const killSignal = unix.SIGKILL

// spawn asks the runner for a run without keeping the loop: reading a profile
// and exec may both hang.
func (s *slot) spawn() {
	generation := max(s.last.Run+1, uint64(time.Now().UnixNano()))
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{ctx: ctx, cancel: cancel, copied: make(chan struct{}), health: profile.HealthUnready}
	r.Slot, r.Generation = s.name.Slot(), generation
	s.pending = r
	s.wg.Go(func() {
		spec, setup, err := s.fleet.prepare(s.name, generation)
		var got engine.Run
		if err == nil {
			got, err = s.fleet.runSpec(spec)
		}
		if !s.post(func() { s.spawned(r, got, setup, err) }) {
			closeRun(got)
		}
	})
}

// runSpec has the runner start spec, and clears a run of another generation
// out of the way: one whose start was given up and came up late.
func (f *Fleet) runSpec(spec engine.Spec) (engine.Run, error) {
	ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
	defer cancel()
	got, err := f.runner.Spawn(ctx, spec)
	if !errors.Is(err, engine.ErrBusy) {
		return got, err
	}
	runs, listErr := f.runner.List(ctx)
	if listErr != nil {
		return engine.Run{}, errors.Join(err, listErr)
	}
	for _, r := range runs {
		if r.Slot == spec.Slot && r.Exit == nil {
			err = errors.Join(err, f.runner.Signal(ctx, r.Slot, r.Generation, killSignal, true))
		}
		closeRun(r)
	}
	return engine.Run{}, err
}

// closeRun closes the descriptors of a run nobody wants.
func closeRun(r engine.Run) {
	if r.PID == 0 {
		return
	}
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
		s.notSpawned(r, err)
		return
	}
	r.Run = got
	s.setup = setup
	s.last.Port = setup.port
	if s.fresh {
		s.fresh, s.last.Restarts = false, 0
	} else {
		s.last.Restarts++
	}
	s.hold(r, true)
	s.log.Info("started", "pid", got.PID)
	s.feed(lifecycle.Spawned)
	if exit := cmp.Or(r.early, got.Exit); exit != nil {
		s.exited(*exit)
	}
}

// notSpawned files a start that did not become a run.
func (s *slot) notSpawned(r *run, err error) {
	s.reason = err.Error()
	s.last.AddExit(profile.Exit{
		Run: r.Generation, Code: -1, Started: time.Now(), At: time.Now(), Reason: err.Error(),
	})
	s.log.Warn("not started", "error", err)
	switch fault.CodeOf(err) {
	case fault.InvalidConfig, fault.Unreadable, fault.GatewayNotRegistered:
		s.feed(lifecycle.Refused)
	default:
		s.feed(lifecycle.SpawnFailed)
	}
}

// hold makes r the slot's run and starts reading what it says; fresh is false
// for one that was running before.
func (s *slot) hold(r *run, fresh bool) {
	s.run = r
	s.last.Run = r.Generation
	s.last.ReadyAt = r.readyAt
	s.readOutput(r, fresh)
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
	left := s.setup.startTimeout - time.Since(r.Started)
	s.arm(startTimer, left, func() {
		s.reason = "not ready in " + s.setup.startTimeout.String()
		s.feed(lifecycle.StartTimeout)
	})
	if s.setup.ready.Kind == config.ReadyHTTP {
		s.probe(r)
	}
}

// signal sends sig to the run's group and arms the grace timer.
func (s *slot) signal(sig unix.Signal, group bool) {
	r := s.run
	if r == nil {
		return // still being spawned: Spawned comes here again
	}
	s.arm(graceTimer, s.setup.stopTimeout, func() { s.feed(lifecycle.GraceExpired) })
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
		defer cancel()
		err := s.fleet.runner.Signal(ctx, r.Slot, r.Generation, sig, group)
		if err != nil && !errors.Is(err, engine.ErrNoRun) && !errors.Is(err, engine.ErrGone) {
			s.log.Warn("cannot signal", "signal", unix.SignalName(sig), "pid", r.PID, "error", err)
		}
	})
}

// prepare reads the profile and says how to run it. It runs outside the loop.
func (f *Fleet) prepare(name profile.Name, generation uint64) (engine.Spec, setup, error) {
	p, err := f.home.Profile(name)
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	defer p.Close()
	file, err := p.Config()
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	if f.options.Credential != nil {
		if err := p.CheckReadable(f.options.Credential.UID, f.options.Credential.GID); err != nil {
			return engine.Spec{}, setup{}, err
		}
	}
	port, err := f.portFor(name, file.Gateway, dotenv)
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	slotName := name.Slot()
	cmd, err := launch.Build(launch.Input{
		Profile: name, Dir: p.Path(),
		Environ: f.options.Environ, Dotenv: dotenv, Env: file.Gateway.Env,
		Command: file.Gateway.Command, FleetCommand: f.options.Settings.GatewayCommand,
		Self: f.options.Self, Port: port,
		UserName: f.options.UserName, UserHome: f.options.UserHome,
		Notify: f.notifyPath(slotName), SlotID: launch.SlotID(slotName, generation),
	})
	if err != nil {
		return engine.Spec{}, setup{}, err
	}
	su := f.setupOf(file.Gateway, cmd.BuiltIn)
	su.port = port
	if cmd.BuiltIn || file.Gateway.Port != 0 || su.ready.Kind == config.ReadyHTTP {
		if err := f.checkPort(name, file.Gateway.Host, port); err != nil {
			return engine.Spec{}, setup{}, err
		}
	}
	return engine.Spec{
		Slot: slotName, Generation: generation,
		Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir,
		Credential: f.options.Credential,
		Plan:       engine.Plan{Signal: f.stopSignal(), Grace: su.stopTimeout},
		Notify:     f.notifyPath(slotName),
		Lock:       f.lockPath(slotName),
	}, su, nil
}

// defaults is the setup of a gateway whose configuration is not read yet.
func (f *Fleet) defaults() setup { return f.setupOf(config.DefaultGateway(), false) }

// setupOf fills what the configuration leaves open.
func (f *Fleet) setupOf(g config.Gateway, builtIn bool) setup {
	return setup{
		restart: restart.Policy(g.Restart), ready: g.Ready.Or(builtIn), host: g.Host,
		startTimeout: g.StartTimeout,
		stopTimeout:  cmp.Or(g.StopTimeout, f.options.Settings.StopTimeout),
	}
}

func (f *Fleet) stopSignal() unix.Signal { return unix.SIGTERM }

// reopen wraps a descriptor of the runner's for the poller.
func reopen(fd int, name string) *os.File {
	if fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}
