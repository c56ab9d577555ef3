// Package recipe says how the gateway of one profile is run now: what its files
// and the settings make of its command, environment, port, readiness and
// graces, or why it cannot be started.
//
// Whatever starts a gateway asks [Of]: the engine, and `run` under s6. It reads,
// and changes nothing.
package recipe

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// Setup is what of a profile's configuration counts while its gateway runs.
type Setup struct {
	Restart      profile.Restart
	Ready        config.Ready
	Host         string
	StartTimeout time.Duration
	StopTimeout  time.Duration
	Logs         config.Logs
	Port         int // 0 for none
}

// SetupOf fills what the configuration leaves open.
func SetupOf(g config.Gateway, builtIn bool, s config.Settings) Setup {
	return Setup{
		Restart: g.Restart, Ready: g.Ready.Or(builtIn), Host: g.Host, Logs: g.Logs,
		StartTimeout: g.StartTimeout,
		StopTimeout:  cmp.Or(g.StopTimeout, s.StopTimeout),
	}
}

// Recipe is how a gateway is run.
type Recipe struct {
	launch.Command
	Setup
}

// Owner is a uid and gid that gateways run as.
type Owner struct{ UID, GID uint32 }

// Input is what a recipe depends on beside the profile's files. Config and Port
// are required.
type Input struct {
	Settings config.Settings
	// Environ, Self, UserName, UserHome, Notify, NotifyFD and SlotID are as in
	// [launch.Input].
	Environ            []string
	Self               string
	UserName, UserHome string
	Notify, SlotID     string
	NotifyFD           int
	// As is who the gateway will run as, nil for this process's own identity.
	As *Owner
	// Config reads the profile's config.yaml.
	Config func(*store.Profile) (config.File, error)
	// Port is the port for what the files say, 0 if there is none left.
	Port func(name profile.Name, g config.Gateway, dotenv map[string]string) (int, error)
	// PortOwner names another profile whose gateway is up on a port; nil if that
	// is not known.
	PortOwner func(name profile.Name, number int) (profile.Name, bool)
}

// Of is the recipe of a profile's gateway. The error is one for people.
func Of(ctx context.Context, p *store.Profile, in Input) (Recipe, error) {
	name := p.Name()
	file, err := in.Config(p)
	if err != nil {
		return Recipe{}, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return Recipe{}, err
	}
	if in.As != nil {
		if err := p.CheckReadable(in.As.UID, in.As.GID); err != nil {
			return Recipe{}, err
		}
	}
	number, err := in.Port(name, file.Gateway, dotenv)
	if err != nil {
		return Recipe{}, err
	}
	cmd, err := launch.Build(launch.Input{
		Profile: name, Dir: p.Path(),
		Environ: in.Environ, Dotenv: dotenv, Env: file.Gateway.Env,
		Command: file.Gateway.Command, FleetCommand: in.Settings.GatewayCommand,
		Self: in.Self, Port: number,
		UserName: in.UserName, UserHome: in.UserHome,
		Notify: in.Notify, NotifyFD: in.NotifyFD, SlotID: in.SlotID,
	})
	if err != nil {
		return Recipe{}, err
	}
	r := Recipe{Command: cmd, Setup: SetupOf(file.Gateway, cmd.BuiltIn, in.Settings)}
	r.Port = number
	return r, in.check(ctx, p, file.Gateway, r)
}

// check refuses a start that would meet another copy, or another's port.
func (in Input) check(ctx context.Context, p *store.Profile, g config.Gateway, r Recipe) error {
	serves := r.BuiltIn || r.Ready.Kind == config.ReadyHTTP
	if r.Port == 0 && serves {
		return noPort(p)
	}
	replaces, err := clearForeground(p, r.BuiltIn)
	if err != nil || replaces || !serves && g.Port == 0 {
		return err
	}
	return in.checkPort(ctx, p.Name(), g.Host, r.Port)
}

// noPort refuses a gateway that has to serve and has no port.
func noPort(p *store.Profile) error {
	return fault.New(fault.PortTaken, "cannot start %s: no port in [%d, %d) is left for it", p.Name().Slot(), port.First, port.First+port.Count).
		WithHint("set gateway.port in %s", filepath.Join(p.Path(), "config.yaml"))
}
