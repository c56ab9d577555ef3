package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/logfile"
	"hermes/internal/port"
	"hermes/internal/profile"
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
	e := effective{
		settings: f.options.Settings, file: file, user: f.runsAs(),
		input: launch.Input{
			Profile: name, Dir: p.Path(),
			Environ: f.options.Environ, Dotenv: dotenv, Env: file.Gateway.Env,
			Command: file.Gateway.Command, FleetCommand: f.options.Settings.GatewayCommand,
			Self: f.options.Self, Port: number,
			UserName: f.options.UserName, UserHome: f.options.UserHome, Notify: f.notifyPath(name.Slot()),
		},
	}
	c := e.config()
	c.Title = soulTitle(soul)
	return c, nil
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

// effective is all that a gateway's configuration is told from.
type effective struct {
	settings config.Settings
	file     config.File
	input    launch.Input
	user     api.Setting
}

// config tells it, without what may be a secret.
func (e effective) config() api.Config {
	c := api.Config{
		Profile: string(e.input.Profile), Path: e.input.Dir,
		Settings: e.gateway(), Environment: []api.Variable{}, Warnings: e.file.Warnings,
	}
	for _, v := range launch.Environment(e.input) {
		shown := api.Variable{Name: clean(v.Name), Value: clean(v.Value), From: string(v.From)}
		if v.From != launch.FromHermes && !config.MayShow(v.Name, v.Value) {
			shown.Value, shown.Hidden = "", true
		}
		c.Environment = append(c.Environment, shown)
	}
	return c
}

// gateway tells the settings of the section of that name.
func (e effective) gateway() []api.Setting {
	g := e.file.Gateway
	argv, said := launch.Argv(e.input)
	grace, graceFrom := g.StopTimeout, e.from("stop_timeout")
	if grace == 0 {
		grace, graceFrom = e.settings.StopTimeout, "default"
		if grace != config.DefaultStopTimeout {
			graceFrom = "HERMES_STOP_TIMEOUT"
		}
	}
	return []api.Setting{
		{Name: "command", Value: clean(strings.Join(quoted(config.HideInCommand(argv, e.secrets())), " ")), From: said},
		e.port(),
		e.host(),
		{Name: "ready", Value: readyWords(g.Ready.Or(said == "built in")), From: e.from("ready")},
		{Name: "restart", Value: string(g.Restart), From: e.from("restart")},
		{Name: "start_timeout", Value: seconds(g.StartTimeout), From: e.from("start_timeout")},
		{Name: "stop_timeout", Value: seconds(grace), From: graceFrom},
		{Name: "logs", Value: fmt.Sprintf("%d files of %d bytes", g.Logs.MaxFiles, g.Logs.MaxSize), From: e.from("logs")},
		e.user,
	}
}

// from is where a setting of config.yaml comes from.
func (e effective) from(key string) string {
	if slices.Contains(e.file.Said, key) {
		return "gateway." + key
	}
	return "default"
}

// port is the port and who chose it, in the order of [config.ExplicitPort].
func (e effective) port() api.Setting {
	const variable = launch.EnvAPIPort
	s := api.Setting{Name: "port", Value: strconv.Itoa(e.input.Port)}
	switch {
	case e.input.Port == 0:
		s.Value, s.From = "none", "default"
	case e.input.Dotenv[variable] != "":
		s.From = ".env " + variable
	case e.file.Gateway.Port != 0:
		s.From = "gateway.port"
	case e.input.Profile == profile.Default && e.settings.APIServerPort != 0:
		s.From = variable
	case e.input.Profile == profile.Default:
		s.From = "default"
	default:
		s.From = fmt.Sprintf("its name, in [%d, %d)", port.First, port.First+port.Count)
	}
	return s
}

func (e effective) host() api.Setting {
	s := api.Setting{Name: "host", Value: clean(e.file.Gateway.Host), From: "gateway.host"}
	if s.Value != "" {
		return s
	}
	s.Value, s.From = "127.0.0.1", "default"
	for _, v := range launch.Environment(e.input) {
		if v.Name == "API_SERVER_HOST" && v.Value != "" {
			s.Value, s.From = clean(v.Value), string(v.From)+" API_SERVER_HOST"
		}
	}
	return s
}

// secrets are the values that a command may have inside.
func (e effective) secrets() []string {
	var all []string
	for _, v := range launch.Environment(e.input) {
		if v.From != launch.FromHermes && !config.MayShow(v.Name, v.Value) {
			all = append(all, v.Value)
		}
	}
	// The longest first: one may begin as another does.
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return all
}

// quoted are words as they would have to be written in config.yaml's string.
func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\|&;<>()$`*?#~") {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return out
}

func readyWords(r config.Ready) string {
	if r.Kind == config.ReadyHTTP {
		return "http:" + clean(r.Path)
	}
	return string(r.Kind)
}

// seconds is a timeout as config.yaml takes it.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	return d.String()
}

// soulTitle is the first line of a SOUL.md that says something.
func soulTitle(text []byte) string {
	for line := range bytes.Lines(text) {
		if title := bytes.TrimSpace(bytes.TrimLeft(bytes.TrimSpace(line), "#")); len(title) > 0 {
			return clean(string(title))
		}
	}
	return ""
}
