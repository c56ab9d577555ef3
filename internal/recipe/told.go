package recipe

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/launch"
	"hermes/internal/logfile"
	"hermes/internal/port"
	"hermes/internal/profile"
)

// Told is all that a gateway's configuration is told from.
type Told struct {
	Settings config.Settings
	File     config.File
	Input    launch.Input
	User     api.Setting
	Soul     []byte // the content of SOUL.md
}

// Config tells with what the gateway would be run, without what may be a secret.
func (e Told) Config() api.Config {
	c := api.Config{
		Profile: string(e.Input.Profile), Path: e.Input.Dir,
		Settings: e.gateway(), Environment: []api.Variable{}, Warnings: e.File.Warnings, Title: soulTitle(e.Soul),
	}
	for _, v := range launch.Environment(e.Input) {
		shown := api.Variable{Name: logfile.Clean(v.Name), Value: logfile.Clean(v.Value), From: string(v.From)}
		if v.From != launch.FromHermes && !config.MayShow(v.Name, v.Value) {
			shown.Value, shown.Hidden = "", true
		}
		c.Environment = append(c.Environment, shown)
	}
	return c
}

// gateway tells the settings of the section of that name.
func (e Told) gateway() []api.Setting {
	g := e.File.Gateway
	argv, said := launch.Argv(e.Input)
	grace, graceFrom := g.StopTimeout, e.from("stop_timeout")
	if grace == 0 {
		grace, graceFrom = e.Settings.StopTimeout, "default"
		if grace != config.DefaultStopTimeout {
			graceFrom = "HERMES_STOP_TIMEOUT"
		}
	}
	return []api.Setting{
		{Name: "command", Value: logfile.Clean(strings.Join(quoted(config.HideInCommand(argv, e.secrets())), " ")), From: said},
		e.port(),
		e.host(),
		{Name: "ready", Value: readyWords(g.Ready.Or(said == "built in")), From: e.from("ready")},
		{Name: "restart", Value: string(g.Restart), From: e.from("restart")},
		{Name: "start_timeout", Value: seconds(g.StartTimeout), From: e.from("start_timeout")},
		{Name: "stop_timeout", Value: seconds(grace), From: graceFrom},
		{Name: "logs", Value: fmt.Sprintf("%d files of %d bytes", g.Logs.MaxFiles, g.Logs.MaxSize), From: e.from("logs")},
		e.User,
	}
}

// from is where a setting of config.yaml comes from.
func (e Told) from(key string) string {
	if slices.Contains(e.File.Said, key) {
		return "gateway." + key
	}
	return "default"
}

// port is the port and who chose it, in the order of [config.ExplicitPort].
func (e Told) port() api.Setting {
	const variable = launch.EnvAPIPort
	s := api.Setting{Name: "port", Value: strconv.Itoa(e.Input.Port)}
	switch {
	case e.Input.Port == 0:
		s.Value, s.From = "none", "default"
	case e.Input.Dotenv[variable] != "":
		s.From = ".env " + variable
	case e.File.Gateway.Port != 0:
		s.From = "gateway.port"
	case e.Input.Profile == profile.Default && e.Settings.APIServerPort != 0:
		s.From = variable
	case e.Input.Profile == profile.Default:
		s.From = "default"
	default:
		s.From = fmt.Sprintf("its name, in [%d, %d)", port.First, port.First+port.Count)
	}
	return s
}

func (e Told) host() api.Setting {
	s := api.Setting{Name: "host", Value: logfile.Clean(e.File.Gateway.Host), From: "gateway.host"}
	if s.Value != "" {
		return s
	}
	s.Value, s.From = "127.0.0.1", "default"
	for _, v := range launch.Environment(e.Input) {
		if v.Name == "API_SERVER_HOST" && v.Value != "" {
			s.Value, s.From = logfile.Clean(v.Value), string(v.From)+" API_SERVER_HOST"
		}
	}
	return s
}

// secrets are the values that a command may have inside.
func (e Told) secrets() []string {
	var all []string
	for _, v := range launch.Environment(e.Input) {
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
		return "http:" + logfile.Clean(r.Path)
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
			return logfile.Clean(string(title))
		}
	}
	return ""
}
