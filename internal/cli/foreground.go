package cli

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/client"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/holder"
	"hermes/internal/launch"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// here runs the gateway in this process's place. A wrong configuration is exit
// 78, the code by which a supervisor knows not to try again.
//
// A process that a supervisor started as this gateway is the built-in one,
// whatever the configuration says: its environment is complete, and a command
// that leads back to hermes must not run in circles.
func (r *run) here(ctx context.Context, isChild bool) error {
	g := GatewayRun{Profile: r.at.profile, Environ: r.environ, Stdout: r.out, Stderr: r.err}
	if err := r.prepare(ctx, isChild, &g); err != nil {
		if codeOf(err) == fault.InvalidConfig {
			r.render(err)
			return &exitError{fault.ExitConfig}
		}
		return err
	}
	if code := r.runGateway(ctx, g); code != fault.ExitOK {
		return &exitError{code}
	}
	return nil
}

// prepare does what comes before a gateway runs: clears its lock, builds its
// environment, gives up root. It does not return where the gateway is another
// program.
func (r *run) prepare(ctx context.Context, isChild bool, g *GatewayRun) error {
	home, err := r.openHome()
	if err != nil {
		return err
	}
	defer home.Close()
	p, err := home.Profile(r.at.profile)
	if err != nil {
		return err
	}
	defer p.Close()
	g.Dir = p.Path()
	file, err := p.Config()
	if err != nil {
		return err
	}
	if err := r.clearLock(ctx, p, r.grace(file), isChild); err != nil || isChild {
		return err
	}
	// The descriptor is never closed: the lock is to last as long as the gateway.
	lock, err := p.TakeForegroundLock(ctx)
	if err != nil {
		return err
	}
	in := launch.Input{
		Profile: r.at.profile, Dir: p.Path(), Environ: r.environ, Env: file.Gateway.Env,
		Command: file.Gateway.Command, FleetCommand: r.settings.GatewayCommand,
	}
	if in.Dotenv, err = p.Dotenv(); err != nil {
		return err
	}
	if in.Self, err = os.Executable(); err != nil {
		return err
	}
	in.Port = ports(home, r.settings)[r.at.profile]
	as := r.runAs(home.Path())
	in.UserName, in.UserHome = as.name, as.home
	cmd, err := launch.Build(in)
	if err != nil {
		return err
	}
	if as.change {
		if err := p.CheckReadable(uint32(as.uid), uint32(as.gid)); err != nil {
			return err
		}
		if err := as.become(); err != nil {
			return err
		}
	}
	g.Environ = cmd.Env
	if cmd.BuiltIn {
		return nil
	}
	return execute(cmd, r.at.profile, lock)
}

// openHome opens the home; the default profile's is made if it is not there.
func (r *run) openHome() (*store.Home, error) {
	if r.at.profile == profile.Default {
		return store.Create(r.at.home)
	}
	return store.Open(r.at.home)
}

// grace is the time between SIGTERM and SIGKILL for a profile's gateway.
func (e *env) grace(file config.File) time.Duration {
	if file.Gateway.StopTimeout > 0 {
		return file.Gateway.StopTimeout
	}
	return e.settings.StopTimeout
}

// execute replaces this process by the command, which inherits the lock.
func execute(cmd launch.Command, name profile.Name, lock int) error {
	err := os.Chdir(cmd.Dir)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(lock), unix.F_SETFD, 0)
	}
	if err == nil {
		err = unix.Exec(cmd.Path, cmd.Argv, cmd.Env)
	}
	return fault.New(fault.InvalidConfig, "cannot run %s: cannot execute %s: %v", name.Slot(), cmd.Path, err).
		WithHint("see whether %s runs by itself", cmd.Path)
}

// clearLock makes sure that no other process is this gateway: with --replace by
// ending it, else by refusing.
func (r *run) clearLock(ctx context.Context, p *store.Profile, grace time.Duration, isChild bool) error {
	h, err := rivalOf(p, isChild)
	slot := r.at.profile.Slot()
	// A foreign command that a supervisor runs holds no lock, and the holder of
	// a lock may not be ours to see: the supervisor knows.
	if err != nil && !isChild && r.isSupervised(ctx) {
		return r.refusal()
	}
	switch {
	case errors.Is(err, holder.ErrFree):
		return nil
	case errors.Is(err, holder.ErrHidden):
		return r.hiddenFault(p)
	case err != nil:
		return fault.Wrap(fault.Unreadable, err, "cannot tell whether %s runs already", slot)
	case !r.replace:
		return fault.New(fault.GatewayHeld, "%s runs already, pid %d", slot, h.PID).
			WithHint("%s gateway run --replace", r.command(r.at.profile))
	}
	if err := r.checkStray(ctx, h.PID); err != nil {
		return err
	}
	r.note("→ replacing %s, pid %d\n", slot, h.PID)
	if pid, err := endHolders(ctx, p, grace); err != nil {
		return fault.Wrap(fault.GatewayHeld, err, "cannot replace %s, pid %d", slot, pid)
	}
	if _, err := rivalOf(p, isChild); errors.Is(err, holder.ErrHidden) {
		return r.hiddenFault(p)
	}
	return nil
}

func (r *run) hiddenFault(p *store.Profile) error {
	return fault.New(fault.GatewayHeld, "%s runs already: it is locked by a process that cannot be seen from here", r.at.profile.Slot()).
		WithHint("%s", hiddenHint(p))
}

// isSupervised asks the home's supervisor, if there is one that answers,
// whether it runs this gateway, in another process than this one.
func (r *run) isSupervised(ctx context.Context) bool {
	c, err := r.find(r.at.home)
	if err != nil {
		return false
	}
	fleet, err := c.Fleet(ctx)
	if err != nil {
		return false
	}
	r.manager = fleet.Manager
	ours := ancestry(os.Getpid())
	for _, g := range fleet.Gateways {
		if g.Profile == string(r.at.profile) && g.PID > 0 && !slices.Contains(ours, g.PID) {
			r.gateway = g
			return true
		}
	}
	return false
}

// checkStray refuses to replace what a supervisor runs: it would start it again.
func (r *run) checkStray(ctx context.Context, pid int) error {
	c, err := r.find(r.at.home)
	if client.IsNoSupervisor(err) {
		return nil
	}
	if err != nil {
		return err
	}
	fleet, err := c.Fleet(ctx)
	if err != nil {
		return err
	}
	live := make(map[int]profile.Name, len(fleet.Gateways))
	for _, g := range fleet.Gateways {
		if g.PID > 0 {
			live[g.PID] = profile.Name(g.Profile)
		}
	}
	for _, ancestor := range ancestry(pid) {
		if name, ok := live[ancestor]; ok {
			return fault.New(fault.GatewayHeld, "%s runs already, pid %d, and %s supervises it", r.at.profile.Slot(), pid, fleet.Manager).
				WithHint("%s gateway restart %s", r.base(), name)
		}
	}
	return nil
}

// inOurContainer reports that the home's supervisor is the init of the very
// container we are in; unlike inContainer it is no guess.
func inOurContainer(home string) (holder lease.Record, ok bool) {
	rec, status, err := lease.Read(home)
	ok = err == nil && status == lease.Held && strings.HasSuffix(rec.Manager, containerSuffix) && sameContainer(rec)
	return rec, ok
}
