package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

const full = `
_config_version: 50
platforms: {telegram: {enabled: true}}
gateway:
  command: [agent, --port, 8642, yes]
  env: {LOG: debug, FLAG: true, EMPTY: ""}
  port: 9000
  host: 0.0.0.0
  restart: on-failure
  ready: http:/health?deep=1
  start_timeout: 2m
  stop_timeout: 15
  logs: {max_size: 2MB, max_files: 3}
`

func TestParseFile(t *testing.T) {
	gateway := func(f func(*config.Gateway)) config.File {
		g := config.DefaultGateway()
		f(&g)
		return config.File{Gateway: g}
	}
	nothing := gateway(func(*config.Gateway) {})
	tests := []struct {
		name, text string
		want       config.File
	}{
		{"empty", "", nothing},
		{"comments", "# gateway:\n\n  # port: x\n", nothing},
		{"null", "---\n", nothing},
		{"null sections", "gateway:\nmodel: ~\n", nothing},
		{"others' keys are theirs", "a: 1\na: {b: [c]}\n? [x]\n: y\nGateway: {port: x}\n", nothing},
		{"byte order mark", "\uFEFFgateway: {port: 1}\n", gateway(func(g *config.Gateway) { g.Port = 1 })},
		{"auto port, string command", "gateway: {port: auto, command: agent 'a b'}", gateway(func(g *config.Gateway) { g.Command = []string{"agent", "a b"} })},
		{"anchors", "x: &port 77\ny: &g {port: *port, ready: notify}\ngateway: *g\n", gateway(func(g *config.Gateway) {
			g.Port, g.Ready = 77, config.Ready{Kind: config.ReadyNotify}
		})},
		{"full", full, config.File{Gateway: config.Gateway{
			Command: []string{"agent", "--port", "8642", "yes"},
			Env:     map[string]string{"LOG": "debug", "FLAG": "true", "EMPTY": ""},
			Port:    9000, Host: "0.0.0.0", Restart: profile.RestartOnFailure,
			Ready:        config.Ready{Kind: config.ReadyHTTP, Path: "/health?deep=1"},
			StartTimeout: 2 * time.Minute, StopTimeout: 15 * time.Second,
			Logs: config.Logs{MaxSize: 2_000_000, MaxFiles: 3},
		}}},
		{"model", "model: {provider: openai, base_url: 'http://x/v1', name: m, api_key_env: KEY}", config.File{
			Gateway: config.DefaultGateway(), Model: config.Model{Provider: "openai", BaseURL: "http://x/v1", Name: "m", APIKeyEnv: "KEY"},
		}},
		{"the original's model", "model: {default: a/b, provider: auto, base_url: '', max_tokens: 5, api_mode: x}", config.File{
			Gateway: config.DefaultGateway(), Model: config.Model{Provider: "auto", Name: "a/b"},
			Warnings: []string{"/h/config.yaml:1: model: ignored here, they are settings of the original hermes-agent: max_tokens, api_mode"},
		}},
		{"the original's short model", "model: a/b", config.File{Gateway: config.DefaultGateway(), Model: config.Model{Name: "a/b"}}},
		{"name before default", "model: {name: n, default: d}", config.File{Gateway: config.DefaultGateway(), Model: config.Model{Name: "n"}}},
		{
			"the original's gateway",
			"gateway:\n  multiplex_profiles: false\n  port: 5\n  api_server: {port: 1}\n  platforms: {}\n  respawn_storm: {max_starts: 1}\n",
			config.File{
				Gateway:  gateway(func(g *config.Gateway) { g.Port = 5 }).Gateway,
				Warnings: []string{"/h/config.yaml:2: gateway: ignored here, they are settings of the original hermes-agent: multiplex_profiles, api_server, platforms, respawn_storm"},
			},
		},
		{"a wrong model nobody reads", "gateway: {command: [x]}\nmodel: {foo: 1}", config.File{
			Gateway:  gateway(func(g *config.Gateway) { g.Command = []string{"x"} }).Gateway,
			Warnings: []string{"/h/config.yaml:2: model.foo is no setting; the settings are provider, base_url, name, api_key_env, default, model"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.ParseFile("/h/config.yaml", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got.Said = nil // TestSaid
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSaid(t *testing.T) {
	got, err := config.ParseFile("/h/config.yaml", []byte("model: {name: x}\ngateway:\n  restart: always\n  platforms: {}\n  port: auto\n"))
	if diff := cmp.Diff([]string{"restart", "port"}, got.Said); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestParseFileErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // every line of the error starts with the path and one of these
	}{
		{"everything at once", `gateway:
  prot: 1
  user: 3
  memory_limit: 1GB
  qqqqqqqqqqqq: 1
  command: []
  env: {PORT: 1, HERMES_HOME: x, A: , 1B: x, C: [x]}
  port: 70000
  host: "a b"
  restart: sometimes
  ready: http:health
  start_timeout: soon
  stop_timeout: 0
  logs: {max_size: 1, max_files: 0, keep: 1}
model:
  api_key: sk-1
`, []string{
			"2: gateway.prot is no setting: did you mean gateway.port?",
			"3: gateway.user is not built yet",
			"4: gateway.memory_limit is not built yet",
			"5: gateway.qqqqqqqqqqqq is no setting; the settings are command,",
			"6: gateway.command is empty",
			"7: gateway.env.PORT: the port is said with gateway.port",
			"7: gateway.env.HERMES_HOME: hermes sets",
			"7: gateway.env.A has no value",
			`7: gateway.env: "1B" cannot be`,
			"7: gateway.env.C must be a single value",
			`8: gateway.port: "70000" is not a port`,
			`9: gateway.host: "a b" is neither`,
			`10: gateway.restart: "sometimes" is not one of always, on-failure, never`,
			`11: gateway.ready: "http:health" needs a path`,
			`12: gateway.start_timeout: "soon" is neither`,
			`13: gateway.stop_timeout: "0" is not between`,
			"14: gateway.logs.max_size: not between",
			"14: gateway.logs.max_files: not between",
			"14: gateway.logs.keep is no setting",
			"16: model.api_key: a secret does not belong here",
		}},
		{"twice", "gateway: {port: 1}\nb: 1\ngateway: {port: 2}", []string{"3: there is a second section gateway"}},
		{"key twice", "gateway:\n  port: 1\n  port: 2", []string{`3: gateway has the key "port" twice, first on line 2`}},
		{"no mapping", "gateway: [1]", []string{"1: gateway must be a mapping"}},
		{"no mapping at all", "[1]", []string{"1: the file must be a mapping"}},
		{"merge key", "x: &x {port: 1}\ngateway:\n  <<: *x", []string{"3: gateway.<< is no setting"}},
		{"cycle", "gateway: &g\n  env: *g\n", []string{`1: gateway.env.env must be a single value`}},
		{"shell", "gateway:\n  command: agent | tee", []string{`2: gateway.command: "|" would need a shell`}},
		{"command of nothing", "gateway:\n  command:\n  port: 1", []string{"2: gateway.command has no value"}},
		{"null word", "gateway: {command: [a, null]}", []string{"1: a word of gateway.command has no value"}},
		{"NUL", "gateway: {command: [\"a\\0b\"]}", []string{"1: a word of gateway.command contains a NUL"}},
		{"model", "model: {name: [], base_url: 'ftp://x', api_key_env: sk-1}", []string{
			"1: model.name must be a single value", "1: model.base_url is not a URL", "1: model.api_key_env must be the name of a variable",
		}},
		{"password", "model: {base_url: 'https://u:p@x/'}", []string{"1: model.base_url contains a password"}},
		{"no YAML", "a: 1\nb: c: d\n", []string{"2: not YAML: "}},
		{"tab", "gateway:\n\tport: 1", []string{"2: not YAML: "}},
		{"two documents", "a: 1\n---\nb: 1", []string{"1: not YAML: "}},
		{"not UTF-8", "a: 1\nb: \xff\n", []string{"2: not UTF-8 text"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.ParseFile("/h/config.yaml", []byte(tt.text))
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatalf("error %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			for i, line := range lines {
				if i >= len(tt.want) || !strings.HasPrefix(line, "/h/config.yaml:"+tt.want[i]) {
					t.Errorf("line %d is %q", i, line)
				}
			}
			if len(lines) != len(tt.want) {
				t.Errorf("%d lines, want %d", len(lines), len(tt.want))
			}
			for _, secret := range []string{"sk-1", "u:p"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a secret: %v", err)
				}
			}
		})
	}
}

func TestParseFileLimits(t *testing.T) {
	huge := "a: " + strings.Repeat("x", config.MaxFileSize)
	if _, err := config.ParseFile("p", []byte(huge)); err == nil || !strings.Contains(err.Error(), "the limit is 1048576") {
		t.Errorf("huge file: %v", err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "]\n"
	}
	if _, err := config.ParseFile("p", []byte(bomb+"gateway: {command: *j}\n")); err == nil {
		t.Error("a bomb of aliases is a command")
	}
	if _, err := config.ParseFile("p", []byte(strings.Repeat("[", 1<<16))); err == nil {
		t.Error("a deep nest is a file")
	}
	many := "gateway:\n" + strings.Repeat("  port: 1\n", 1000)
	_, err := config.ParseFile("p", []byte(many))
	if err == nil || strings.Count(err.Error(), "\n") != 20 || !strings.HasSuffix(err.Error(), "… and 979 more") {
		t.Errorf("a thousand mistakes: %v", err)
	}
}

func TestReadyOr(t *testing.T) {
	if got := (config.Ready{}).Or(true).Kind; got != config.ReadyNotify {
		t.Errorf("built in: %q", got)
	}
	if got := (config.Ready{}).Or(false).Kind; got != config.ReadyExec {
		t.Errorf("a command: %q", got)
	}
	said := config.Ready{Kind: config.ReadyHTTP, Path: "/"}
	if said.Or(true) != said {
		t.Error("what was said does not count")
	}
}

func TestExplicitPort(t *testing.T) {
	s := config.Settings{APIServerPort: 7000}
	tests := []struct {
		name   string
		n      profile.Name
		port   int
		dotenv string
		want   int
		err    bool
	}{
		{"nothing", "coder", 0, "", 0, false},
		{"container's, not for others", "coder", 5000, "", 5000, false},
		{"container's", "default", 0, "", 7000, false},
		{"config before the container's", "default", 5000, "", 5000, false},
		{"dotenv before config", "coder", 5000, "6000", 6000, false},
		{"dotenv auto", "coder", 5000, "auto", 0, false},
		{"wrong", "coder", 5000, "x", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.ExplicitPort(tt.n, s, config.Gateway{Port: tt.port}, map[string]string{"API_SERVER_PORT": tt.dotenv})
			if got != tt.want || (err != nil) != tt.err {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func FuzzParseFile(f *testing.F) {
	for _, s := range []string{
		full, "", "gateway: {command: a b}", "gateway: &g\n  env: *g", "model: x", "a: &a [*a]\ngateway: *a", "%YAML 1.2\n---\na", "? [a]\n: b",
		"gateway: {port: 0x10, ready: 'http:/%'}", "gateway: !!str x", "gateway: {<<: {port: 1}}", "- - -", "\x00", "gateway: {logs: {max_size: 9999999999GiB}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := config.ParseFile("p", data)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if fault.CodeOf(err) != fault.InvalidConfig || line == "" {
					t.Fatalf("%q: %v", data, err)
				}
			}
			return
		}
		g := file.Gateway
		sane := (g.Command == nil || len(g.Command) > 0 && g.Command[0] != "") && g.Port >= 0 && g.Port <= 65535 &&
			g.StartTimeout > 0 && g.StopTimeout >= 0 && g.Logs.MaxFiles > 0 && g.Logs.MaxSize >= 4096 &&
			(g.Ready.Kind != config.ReadyHTTP || strings.HasPrefix(g.Ready.Path, "/"))
		if !sane {
			t.Fatalf("%q gave %+v", data, g)
		}
	})
}
