package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hermes/internal/condition"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/keeper"
	"hermes/internal/lease"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/runtimedir"
	"hermes/internal/slotlock"
	"hermes/internal/store"
)

// superviseRequest is what `up` and `init` ask a supervisor for.
type superviseRequest struct {
	home     string
	engine   engineFlags
	takeOver bool
	// zeroOnStop: the main program is our heartbeat, and being told to stop is
	// no failure of it.
	zeroOnStop bool
	stop       <-chan struct{} // closed when this process is told to stop
}

// supervise makes this process the keeper of a home and returns its exit
// status once everything is down.
func (e *env) supervise(s superviseRequest) (int, error) {
	facts, err := e.checkHome(&s)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	rec := lease.Self(e.now())
	rec.Manager = s.engine.manager
	earlier, _, _ := lease.Read(s.home) // none, or torn: nothing is known of it
	held, err := takeLease(s.home, rec, s.takeOver)
	if err != nil {
		return 0, leaseFault(s.home, err)
	}
	runtime, refused, listener, err := e.prepareRuntime(s.home, earlier, held)
	if err != nil {
		return 0, errors.Join(err, held.Release())
	}
	s.engine.home, s.engine.runtime = s.home, runtime
	e.printBoot(s)
	e.printConditions(condition.Check(e.withRuntime(facts, runtime, refused)))
	return e.keep(held, keeper.Options{
		Runtime:        runtime,
		EngineArgv:     append([]string{self}, s.engine.args()...),
		Listener:       listener,
		MainZeroOnStop: s.zeroOnStop,
		Stop:           s.stop,
		Renew:          keeperArgs(self, s.home),
	}), nil
}

// keep is the keeper of the home that is held until everything is down.
func (e *env) keep(held *lease.Lease, o keeper.Options) int {
	o.EngineEnv, o.Lease, o.Stderr = e.environ, held.FD(), e.err
	code := keeper.Run(o)
	if err := held.Release(); err != nil {
		fmt.Fprintf(e.err, "hermes: the lease was not released in order: %v\n", err)
	}
	return code
}

// checkHome makes the home and finds out whether it, the machine and the
// request are such that a supervisor can work.
func (e *env) checkHome(s *superviseRequest) (condition.Facts, error) {
	home, trouble := store.Create(s.home)
	if trouble == nil {
		defer home.Close()
		s.home = home.Path()
		trouble = home.CheckWritable()
	}
	wanted := s.engine.wanted
	if s.engine.command != "" {
		wanted = append(slices.Clone(wanted), profile.Name(s.engine.command))
	}
	facts := e.survey(s.home, os.Getpid(), s.engine.container, wanted)
	if err := refusal(condition.Check(withTrouble(facts, trouble)), trouble); err != nil {
		return facts, err
	}
	if trouble != nil {
		return facts, trouble
	}
	return facts, e.checkRequest(home, *s)
}

// checkRequest refuses what an engine could only fail at again and again.
func (e *env) checkRequest(home *store.Home, s superviseRequest) error {
	if e.settings.Engine != config.EngineNative && !s.engine.container {
		return fault.New(fault.Usage, "cannot supervise with HERMES_ENGINE=%s: s6 is for containers, whose process 1 it is", e.settings.Engine).
			WithHint("unset HERMES_ENGINE")
	}
	for _, n := range s.engine.wanted {
		p, err := home.Profile(n)
		switch {
		case err == nil:
			p.Close()
		case fault.CodeOf(err) != fault.GatewayNotRegistered:
			return err
		case n != profile.Default && !s.engine.create:
			return fault.NotRegistered(string(n)).WithHint("%s up --create %s", e.base(), n)
		}
	}
	return nil
}

// prepareRuntime finds the runtime directory, ends what an earlier supervisor
// of the home left running, binds the control socket and publishes its path.
func (e *env) prepareRuntime(home string, earlier lease.Record, held *lease.Lease) (dir string, refused []runtimedir.Attempt, listener int, err error) {
	dir, refused, err = runtimedir.Choose(home, e.candidates()...)
	if err != nil {
		return "", nil, -1, fault.Wrap(fault.RuntimeUnusable, err, "cannot supervise %s", home).
			WithHint("set HERMES_RUNTIME_DIR to a directory this user can write, on a local file system")
	}
	if _, err := runtimedir.Lock(dir); err != nil { // held until this process ends
		return "", nil, -1, fault.Wrap(fault.HomeHeld, err, "cannot supervise %s", home).
			WithHint("end that supervisor first, or set HERMES_RUNTIME_DIR to another directory")
	}
	if err := e.sweep(home, earlier, dir); err != nil {
		return "", nil, -1, err
	}
	listener, socket, err := runtimedir.Listen(dir)
	if err != nil {
		return "", nil, -1, fault.Wrap(fault.RuntimeUnusable, err, "cannot supervise %s", home)
	}
	rec := held.Record()
	rec.Socket = socket
	if err := held.Update(rec); err != nil {
		return "", nil, -1, fault.Wrap(fault.HomeUnusable, err, "cannot supervise %s", home)
	}
	return dir, refused, listener, nil
}

// A holder that was killed may have left processes that are about to end, or an
// engine that is about to take its place: lastBreath is what they are given.
const (
	lastBreath     = 2 * time.Second
	lastBreathPoll = 10 * time.Millisecond
)

// takeLease takes the lease of a home. It waits for nobody who lives.
func takeLease(home string, rec lease.Record, takeOver bool) (*lease.Lease, error) {
	tick := time.NewTicker(lastBreathPoll)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		held, err := lease.Take(home, rec, lease.TakeOptions{TakeOver: takeOver})
		h, isHeld := errors.AsType[*lease.HeldError](err)
		if !isHeld || time.Since(began) > lastBreath || !dead(h.Record, rec) {
			return held, err
		}
	}
}

// dead reports whether the process on record is known to have ended, here.
func dead(holder, self lease.Record) bool {
	if holder.PID == 0 || holder.BootID != self.BootID || holder.PIDNamespace != self.PIDNamespace {
		return false
	}
	st, err := process.ReadStat(holder.PID)
	return errors.Is(err, fs.ErrNotExist) || err == nil && st.State == 'Z'
}

// leaseFault renders a home that cannot be had.
func leaseFault(home string, err error) error {
	if h, ok := errors.AsType[*lease.HeldError](err); ok {
		f := fault.Wrap(fault.HomeHeld, err, "this home has a supervisor")
		if !h.Expires.IsZero() {
			return f.WithHint("wait until %s, or if that machine is gone for good add --take-over", h.Expires.Format(time.RFC3339))
		}
		return f.WithHint("%s", endHint(h.Record))
	}
	if errors.Is(err, fs.ErrPermission) {
		return fault.Wrap(fault.HomeUnusable, err, "cannot own the home").
			WithHint("as root: chown %d:%d %s", os.Geteuid(), os.Getegid(), filepath.Join(home, lease.File))
	}
	return fault.Wrap(fault.HomeUnusable, err, "cannot own the home")
}

// sweep ends what an earlier supervisor of the home left running, here and
// where it had its own runtime directory.
func (e *env) sweep(home string, earlier lease.Record, dir string) error {
	dirs := []string{dir}
	if self := lease.Self(e.now()); earlier.BootID != self.BootID || earlier.PIDNamespace != self.PIDNamespace {
		earlier.Socket = "" // what ran there ended with its machine or container
	}
	old, ok, err := runtimedir.Earlier(home, earlier.Socket)
	if err != nil {
		return fault.Wrap(fault.GatewayHeld, err, "cannot tell what an earlier supervisor of %s left running", home).
			WithHint("as uid %d: hermes --home %s up, and end it with Ctrl-C", earlier.UID, home)
	}
	if ok && old != dir {
		dirs = append(dirs, old)
	}
	for _, d := range dirs {
		swept, err := keeper.Sweep(d)
		e.printSwept(swept)
		if err != nil {
			return fault.Wrap(fault.GatewayHeld, err, "cannot supervise %s", home).
				WithHint("end the process named, then try again")
		}
	}
	return nil
}

func (e *env) printSwept(swept []slotlock.Swept) {
	for _, k := range swept {
		fmt.Fprintf(e.err, "hermes: ended what an earlier supervisor left running: %s (pid %v)\n", k.Slot, k.PIDs)
	}
}

// endHint says how the holder of a home is ended. Its pid means nothing in
// another container or on another host.
func endHint(holder lease.Record) string {
	self := lease.Self(holder.Since)
	switch {
	case holder.BootID == self.BootID && holder.PIDNamespace == self.PIDNamespace:
		return fmt.Sprintf("use that one, or end it with: kill %d", holder.PID)
	case holder.Container != "":
		return "use that one, or end it with: docker stop " + holder.Container
	}
	return fmt.Sprintf("use that one, or end pid %d on host %s", holder.PID, holder.Host)
}

// printBoot tells what was decided.
func (e *env) printBoot(s superviseRequest) {
	id := e.fleetIdentity(s.home, s.engine.container)
	fmt.Fprintf(e.err, "hermes %s: home %s, gateways run as uid %d gid %d (%s), engine %s\n",
		e.build.Version, s.home, id.UID, id.GID, id.Source, e.settings.Engine)
}

// exitWith is the error of a command whose exit status another process chose.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code}
}
