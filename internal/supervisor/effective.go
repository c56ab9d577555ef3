package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/recipe"
)

// Exits are how the last runs of a gateway ended, newest first.
func (f *Fleet) Exits(ctx context.Context, name profile.Name) (api.ExitList, error) {
	s, err := f.lookup(ctx, name)
	if err != nil {
		return api.ExitList{}, err
	}
	list := api.ExitList{Exits: []api.Exit{}}
	for _, e := range slices.Backward(s.shown.Load().exits) {
		list.Exits = append(list.Exits, wireExit(e))
	}
	return list, nil
}

// Log emits the last lines of a gateway's log, and with follow those that come,
// as [logfile.Show] does. A gateway that has no log yet is a fault.
func (f *Fleet) Log(ctx context.Context, name profile.Name, lines int, follow bool, emit func(line string) error) error {
	if _, err := f.lookup(ctx, name); err != nil {
		return err
	}
	err := logfile.Show(ctx, logfile.Reading{Dir: f.logDir(name), Slot: name.Slot(), Lines: lines, Follow: follow}, emit)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unreadable, "%s has no log yet: it never ran under a supervisor", name.Slot()).
			WithHint("hermes gateway status %s", name)
	}
	return err
}

// Config is with what a gateway would be run if it were started now. The error
// is about the profile's files, or that there is no such profile.
func (f *Fleet) Config(ctx context.Context, name profile.Name) (api.Config, error) {
	if _, err := f.lookup(ctx, name); err != nil {
		return api.Config{}, err
	}
	p, err := f.home.Profile(name)
	if err != nil {
		return api.Config{}, err
	}
	defer p.Close()
	file, err := f.configs.of(p)
	if err != nil {
		return api.Config{}, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return api.Config{}, err
	}
	number, err := f.portFor(name, file.Gateway, dotenv)
	if err != nil {
		return api.Config{}, err
	}
	soul, _ := p.Soul() // a start says what is wrong with it
	return recipe.Told{
		Settings: f.options.Settings, File: file, User: f.runsAs(), Soul: soul,
		Input: launch.Input{
			Profile: name, Dir: p.Path(),
			Environ: f.options.Environ, Dotenv: dotenv, Env: file.Gateway.Env,
			Command: file.Gateway.Command, FleetCommand: f.options.Settings.GatewayCommand,
			Self: f.options.Self, Port: number,
			UserName: f.options.UserName, UserHome: f.options.UserHome, Notify: f.notifyPath(name.Slot()),
		},
	}.Config(), nil
}

// runsAs is who gateways run as, and why.
func (f *Fleet) runsAs() api.Setting {
	s := api.Setting{Name: "user", Value: "as the supervisor", From: "default"}
	if c := f.options.Credential; c != nil {
		s.Value = fmt.Sprintf("%d:%d", c.UID, c.GID)
		s.From = cmp.Or(f.options.Settings.UID.Variable, "owner of the home")
	}
	if name := f.options.UserName; name != "" {
		s.Value += " (" + name + ")"
	}
	return s
}
