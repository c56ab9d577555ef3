package supervisor_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// settings are those of a profile by name, as "value from".
func (r *rig) settings(name string) (map[string]string, api.Config) {
	r.t.Helper()
	c, err := r.fleet.Config(r.t.Context(), profile.Name(name))
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]string{}
	for _, s := range c.Settings {
		all[s.Name] = s.Value + " < " + s.From
	}
	return all, c
}

// What a gateway would be run with, and who says so.
func TestConfig(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StopTimeout = 3 * time.Second
		r.options.Credential = &engine.Credential{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
		r.options.Environ = append(r.options.Environ, "OPENAI_API_KEY=sk-outside", "API_SERVER_HOST=0.0.0.0", "DEBUG=1")
		r.profile("anna", "port: 9555", "ready: http:/up", "restart: on-failure", "start_timeout: 5", "logs: {max_size: 4096}", "env: {LEVEL: debug, MINE: hunter22}", "platforms: {}")
		r.profile("zoe", "host: 127.0.0.9", "stop_timeout: 1500ms")
		r.write("zoe", ".env", "API_SERVER_PORT=9777\nTOKEN=hunter2secret\n")
		r.write("zoe", "config.yaml", "gateway:\n  command: [/bin/agent, --secret, x, 'hunter2secret', 'a b']\n  host: 127.0.0.9\n  stop_timeout: 1500ms\n")
		r.write("zoe", "SOUL.md", "\n# <script>alert(1)</script>\x1b[31m\nI am zoe.\n")
		r.boot()
		for name, want := range map[string]map[string]string{
			"anna": {
				"command": "/bin/true < gateway.command", "port": "9555 < gateway.port", "host": "0.0.0.0 < environment API_SERVER_HOST",
				"ready": "http:/up < gateway.ready", "restart": "on-failure < gateway.restart", "start_timeout": "5s < gateway.start_timeout",
				"stop_timeout": "3s < HERMES_STOP_TIMEOUT", "logs": "10 files of 4096 bytes < gateway.logs",
			},
			"zoe": {
				"command": "/bin/agent --secret [hidden] [hidden] 'a b' < gateway.command", "port": "9777 < .env API_SERVER_PORT",
				"host": "127.0.0.9 < gateway.host", "ready": "exec < default", "stop_timeout": "1.5s < gateway.stop_timeout", "start_timeout": "90s < default",
			},
			"default": {"command": "hermes gateway run --replace < built in", "port": "8642 < default", "ready": "notify < default"},
		} {
			got, c := r.settings(name)
			for key, value := range want {
				if got[key] != value {
					t.Errorf("%s: %s is %q, want %q", name, key, got[key], value)
				}
			}
			text, err := json.Marshal(c)
			if err != nil || strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "sk-outside") {
				t.Errorf("%s: a secret is shown: %s, %v", name, text, err)
			}
		}
		_, anna := r.settings("anna")
		for _, want := range []api.Variable{
			{Name: "DEBUG", Value: "1", From: "environment"},
			{Name: "HERMES_PROFILE", Value: "anna", From: "hermes"},
			{Name: "LEVEL", Value: "debug", From: "gateway.env"},
			{Name: "MINE", Hidden: true, From: "gateway.env"},
			{Name: "OPENAI_API_KEY", Hidden: true, From: "environment"},
			{Name: "PORT", Value: "9555", From: "hermes"},
		} {
			if !slices.Contains(anna.Environment, want) {
				t.Errorf("no %+v in %+v", want, anna.Environment)
			}
		}
		if len(anna.Warnings) != 1 || anna.Title != "I am anna." || anna.Path != r.path("anna") {
			t.Errorf("%q %q %q", anna.Warnings, anna.Title, anna.Path)
		}
		if _, zoe := r.settings("zoe"); zoe.Title != "<script>alert(1)</script>[31m" || !slices.Contains(zoe.Environment, api.Variable{Name: "TOKEN", Hidden: true, From: ".env"}) {
			t.Errorf("%q %+v", zoe.Title, zoe.Environment)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("zoe")
		r.boot()
		r.write("zoe", "config.yaml", "gateway: {port: x}\n")
		if _, err := r.fleet.Config(t.Context(), "zoe"); fault.CodeOf(err) != fault.InvalidConfig {
			t.Errorf("a wrong file: %v", err)
		}
		if _, err := r.fleet.Config(t.Context(), "typo"); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("no profile: %v", err)
		}
	})
}

// The port that nobody said is the name's.
func TestConfigOfAPortByName(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot()
		got, _ := r.settings("anna")
		if !strings.HasSuffix(got["port"], " < its name, in [9200, 9800)") || got["user"] != "as the supervisor < default" || got["host"] != "127.0.0.1 < default" {
			t.Errorf("%q", got)
		}
	})
}

func TestExits(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.end("anna", 3)
		r.pass(time.Second) // its backoff
		r.end("anna", 78)
		r.settle()
		list, err := r.fleet.Exits(t.Context(), "anna")
		if err != nil || len(list.Exits) != 2 || *list.Exits[0].Code != 78 || *list.Exits[1].Code != 3 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := r.fleet.Exits(t.Context(), "typo"); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("no profile: %v", err)
		}
	})
}

func TestLog(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.profile("zoe")
	r.boot("anna")
	if err := r.fake.Write(slotOf("anna"), "one\ntwo\x1b[0m\n"); err != nil {
		t.Fatal(err)
	}
	var lines []string
	r.until("it is there", func() bool {
		lines = nil
		err := r.fleet.Log(t.Context(), "anna", 1, false, func(line string) error { lines = append(lines, line); return nil })
		return err == nil && len(lines) == 1 && strings.HasSuffix(lines[0], `Z two\x1b[0m`)
	})
	none := func(string) error { t.Error("a line from nowhere"); return nil }
	if err := r.fleet.Log(t.Context(), "zoe", 1, false, none); fault.CodeOf(err) != fault.Unreadable || !strings.Contains(err.Error(), "no log yet") {
		t.Errorf("no log: %v", err)
	}
	if err := r.fleet.Log(t.Context(), "typo", 1, false, none); fault.CodeOf(err) != fault.GatewayNotRegistered {
		t.Errorf("no profile: %v", err)
	}
}
