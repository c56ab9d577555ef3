package cli

import (
	"errors"
	"os"

	"hermes/internal/condition"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/s6fleet"
	"hermes/internal/s6init"
)

// applet is this program as a part of a slot under s6.
func (e *env) applet(args []string) int {
	if e.settingsErr != nil {
		return e.render(e.settingsErr)
	}
	dir, err := os.Getwd()
	if err != nil {
		return e.render(fault.Wrap(fault.Internal, err, "cannot find the slot"))
	}
	self, err := os.Executable()
	if err != nil {
		return e.render(fault.Wrap(fault.Internal, err, "cannot find the hermes binary"))
	}
	return s6fleet.Applet{
		Dir: dir, Args: args, Environ: e.environ, Settings: e.settings, Self: self, Stderr: e.err, Now: e.now,
	}.Main()
}

// becomeS6 makes a container's process 1 s6-svscan, which supervises the home.
// It returns where that cannot be, or is not wanted any more.
func (e *env) becomeS6(s superviseRequest) error {
	if err := s6init.Check(); err != nil {
		return err
	}
	facts, err := e.checkHome(&s)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	rec := lease.Self(e.now())
	rec.Manager = s6init.Manager
	held, err := takeLease(s.home, rec, s.takeOver)
	if err != nil {
		return leaseFault(s.home, err)
	}
	e.printBoot(s)
	e.printConditions(condition.Check(facts))
	var commands []reconcile.Command
	if s.engine.command != "" {
		commands = append(commands, reconcile.Command{Profile: profile.Name(s.engine.command), Foreground: s.engine.foreground})
	}
	err = s6init.Become(s6init.Options{
		Home: s.home, Settings: e.settings, Environ: e.environ, Self: self,
		Identity: e.fleetIdentity(s.home, s.engine.container),
		Wanted:   s.engine.wanted, Create: s.engine.create, By: s.engine.by, Commands: commands,
		Main: s.engine.main, MainPath: s.engine.mainPath, OwnDashboard: s.engine.ownDashboard,
		ZeroOnStop: s.zeroOnStop, Lease: held, Stderr: e.err, Stopped: s.stop,
	})
	return errors.Join(err, held.Release())
}
