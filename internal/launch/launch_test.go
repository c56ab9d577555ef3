package launch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

const self = "/usr/bin/hermes"

func envMap(t *testing.T, env []string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, kv := range env {
		k, v, ok := strings.Cut(kv, "=")
		if _, twice := m[k]; !ok || twice {
			t.Fatalf("environment entry %q is malformed or there twice", kv)
		}
		m[k] = v
	}
	return m
}

func build(t *testing.T, in Input) Command {
	t.Helper()
	if in.Self == "" {
		in.Self = self
	}
	cmd, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func program(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBuiltInCommand(t *testing.T) {
	for name, want := range map[profile.Name][]string{
		profile.Default: {"hermes", "gateway", "run", "--replace"},
		"coder":         {"hermes", "-p", "coder", "gateway", "run", "--replace"},
	} {
		cmd := build(t, Input{Profile: name, Dir: "/opt/data"})
		if diff := cmp.Diff(want, cmd.Argv); diff != "" {
			t.Errorf("%s: argv: %s", name, diff)
		}
		if cmd.Path != self || !cmd.BuiltIn || cmd.Dir != "/opt/data" {
			t.Errorf("%s: got %+v", name, cmd)
		}
	}
}

func TestCommandPrecedence(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	mine, fleet := program(t, bin, "mine", 0o755), program(t, bin, "fleet", 0o755)
	environ := []string{"PATH=" + bin}

	cmd := build(t, Input{
		Profile: "coder", Dir: dir, Environ: environ,
		Command: []string{"mine", "{profile}"}, FleetCommand: []string{"fleet"},
	})
	if diff := cmp.Diff([]string{"mine", "{profile}"}, cmd.Argv); diff != "" || cmd.Path != mine || cmd.BuiltIn {
		t.Errorf("gateway.command must win: %+v", cmd)
	}
	cmd = build(t, Input{
		Profile: "coder", Dir: dir, Environ: environ,
		FleetCommand: []string{"fleet", "-p", "{profile}", "$HOME;x"},
	})
	if diff := cmp.Diff([]string{"fleet", "-p", "coder", "$HOME;x"}, cmd.Argv); diff != "" || cmd.Path != fleet {
		t.Errorf("HERMES_GATEWAY_COMMAND: %+v", cmd)
	}
}

func TestExpandLeavesTheInputAlone(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "x", 0o755)
	words := []string{"x", "{profile}"}
	build(t, Input{Profile: "coder", Dir: dir, Environ: []string{"PATH=" + dir}, FleetCommand: words})
	if words[1] != "{profile}" {
		t.Errorf("the fleet's command was changed for all: %q", words)
	}
}

func TestEnvironmentLayers(t *testing.T) {
	cmd := build(t, Input{
		Profile: "coder", Dir: "/opt/data/profiles/coder",
		Environ:  []string{"A=container", "B=container", "C=container", "HERMES_HOME=/opt/data", "HOME=/root", "=broken", "odd"},
		Dotenv:   map[string]string{"B": "dotenv", "C": "dotenv", "HERMES_HOME": "/evil", "HERMES_PROFILE": "evil"},
		Env:      map[string]string{"C": "config", "PORT": "1"},
		Port:     9653,
		UserName: "hermes", UserHome: "/opt/data",
		Notify: "/run/hermes/n", SlotID: "gateway-coder.7@abc",
	})
	want := map[string]string{
		"A": "container", "B": "dotenv", "C": "config",
		"HERMES_HOME": "/opt/data/profiles/coder", "HERMES_PROFILE": "coder",
		"HERMES_SUPERVISED_CHILD": "coder", "HERMES_S6_SUPERVISED_CHILD": "1",
		"HOME": "/opt/data", "USER": "hermes", "LOGNAME": "hermes",
		"PORT": "9653", "API_SERVER_PORT": "9653",
		"NOTIFY_SOCKET": "/run/hermes/n", "HERMES_SLOT_ID": "gateway-coder.7@abc",
	}
	if diff := cmp.Diff(want, envMap(t, cmd.Env)); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSorted(cmd.Env) {
		t.Error("the environment is not sorted, so two starts may differ")
	}
}

// TestChildrenKnowThatTheyAre: no outer layer can take the words away by which
// a gateway knows that a supervisor started it, or it would redirect in a circle.
func TestChildrenKnowThatTheyAre(t *testing.T) {
	for key, want := range map[string]string{EnvChild: "coder", EnvS6Child: "1"} {
		t.Run(key, func(t *testing.T) {
			for _, layer := range []Input{
				{},
				{Environ: []string{key + "="}},
				{Dotenv: map[string]string{key: ""}},
				{Env: map[string]string{key: "writer"}},
			} {
				layer.Profile, layer.Dir = "coder", "/d"
				if got := envMap(t, build(t, layer).Env)[key]; got != want {
					t.Errorf("%s=%q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestPortWithoutAPlan(t *testing.T) {
	environ := []string{"API_SERVER_PORT=8642", "PORT=8642"}
	for _, tt := range []struct {
		name   profile.Name
		dotenv map[string]string
		want   string
	}{
		{"default", nil, "8642"},
		{"coder", nil, ""}, // a container-wide port is for default only
		{"coder", map[string]string{"API_SERVER_PORT": "9300"}, "9300"},
	} {
		env := envMap(t, build(t, Input{Profile: tt.name, Dir: "/d", Environ: environ, Dotenv: tt.dotenv}).Env)
		if got := env["API_SERVER_PORT"]; got != tt.want {
			t.Errorf("%s with %v: API_SERVER_PORT=%q, want %q", tt.name, tt.dotenv, got, tt.want)
		}
	}
}

func TestProtocolsOfTheParentStayWithTheParent(t *testing.T) {
	env := envMap(t, build(t, Input{
		Profile: "default", Dir: "/d",
		Environ: []string{"NOTIFY_SOCKET=/run/systemd/notify", "WATCHDOG_USEC=1", "LISTEN_FDS=1", "HERMES_SLOT_ID=gateway-x.1", "PWD=/"},
		Dotenv:  map[string]string{"NOTIFY_SOCKET": "/evil"},
	}).Env)
	for _, k := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "HERMES_SLOT_ID", "PWD"} {
		if v, ok := env[k]; ok {
			t.Errorf("%s=%s reached the gateway", k, v)
		}
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	program(t, a, "data", 0o644)
	want := program(t, b, "data", 0o755) // behind one that cannot be run
	local := program(t, dir, "local", 0o755)
	for _, tt := range []struct{ word, path, want string }{
		{"data", a + ":" + b, want},
		{want, "", want},
		{"./local", "", local},
		{"b/../local", "", local},
		{"local", ":" + a, local}, // an empty element is the directory itself
		{"data", "a:b", want},     // relative elements too
	} {
		got, err := lookup(tt.word, dir, tt.path)
		if err != nil || got != tt.want {
			t.Errorf("lookup(%q, PATH=%q) = %q, %v, want %q", tt.word, tt.path, got, err, tt.want)
		}
	}
}

func TestLookupUsesTheGatewaysOwnPath(t *testing.T) {
	dir := t.TempDir()
	file := program(t, dir, "gw", 0o755)
	cmd := build(t, Input{
		Profile: "default", Dir: "/", Command: []string{"gw"},
		Environ: []string{"PATH=/nowhere"}, Dotenv: map[string]string{"PATH": dir},
	})
	if cmd.Path != file {
		t.Errorf("path %q, want %q: .env's PATH is the gateway's PATH", cmd.Path, file)
	}
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	data := program(t, dir, "data", 0o644)
	path := []string{"PATH=" + dir}
	for _, tt := range []struct {
		name      string
		in        Input
		msg, hint string
	}{
		{
			"missing",
			Input{Command: []string{"gw"}, Environ: path},
			`cannot run gateway-coder: there is no program "gw" on its PATH`,
			"install gw, or correct gateway.command in " + dir + "/config.yaml",
		},
		{
			"missing for the fleet",
			Input{FleetCommand: []string{"{profile}-gw"}, Environ: path},
			`cannot run gateway-coder: there is no program "coder-gw" on its PATH`,
			"install coder-gw, or correct HERMES_GATEWAY_COMMAND",
		},
		{
			"no such file",
			Input{Command: []string{"./gw"}},
			`cannot run gateway-coder: there is no file "` + dir + `/gw"`,
			"correct gateway.command in " + dir + "/config.yaml",
		},
		{
			"not executable",
			Input{Command: []string{"data"}, Environ: path},
			"cannot run gateway-coder: " + data + " is not executable",
			"chmod +x " + data + ", or correct gateway.command in " + dir + "/config.yaml",
		},
		{
			"through a file",
			Input{Command: []string{"data/gw"}},
			"cannot run gateway-coder: stat " + data + "/gw: not a directory",
			"correct gateway.command in " + dir + "/config.yaml",
		},
		{
			"NUL in a value",
			Input{Dotenv: map[string]string{"KEY": "secret\x00"}},
			`cannot run gateway-coder: the value of "KEY" contains a NUL byte`,
			"correct KEY in " + dir + "/.env",
		},
		{
			"NUL in a word",
			Input{FleetCommand: []string{"a\x00"}},
			"cannot run gateway-coder: its command contains a NUL byte",
			"correct HERMES_GATEWAY_COMMAND",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Profile, tt.in.Dir, tt.in.Self = "coder", dir, self
			_, err := Build(tt.in)
			f, ok := err.(*fault.Error)
			if !ok {
				t.Fatalf("got %v, want a *fault.Error", err)
			}
			if f.Code != fault.InvalidConfig || f.Msg != tt.msg || f.Hint != tt.hint {
				t.Errorf("got  %s: %s\n hint: %s\nwant %s\n hint: %s", f.Code, f.Msg, f.Hint, tt.msg, tt.hint)
			}
		})
	}
}

// Whatever the outer layers say, a gateway knows who it is.
func TestIdentityCannotBeForged(t *testing.T) {
	key := rapid.SampledFrom([]string{EnvHome, EnvProfile, EnvChild, EnvS6Child, EnvPort, EnvAPIPort, EnvNotify, EnvSlotID, "HOME", "X"})
	layer := rapid.MapOf(key, rapid.SampledFrom([]string{"", "evil", "1"}))
	rapid.Check(t, func(rt *rapid.T) {
		in := Input{Profile: "coder", Dir: "/p", Self: self, Port: 9200, Notify: "/n", SlotID: "gateway-coder.1", UserHome: "/h"}
		for k, v := range layer.Draw(rt, "environ") {
			in.Environ = append(in.Environ, k+"="+v)
		}
		in.Dotenv, in.Env = layer.Draw(rt, "dotenv"), layer.Draw(rt, "env")
		cmd, err := Build(in)
		if err != nil {
			rt.Fatal(err)
		}
		got := envMap(t, cmd.Env)
		for k, want := range map[string]string{
			EnvHome: "/p", EnvProfile: "coder", EnvChild: "coder", EnvS6Child: "1", EnvPort: "9200",
			EnvAPIPort: "9200", EnvNotify: "/n", EnvSlotID: "gateway-coder.1", "HOME": "/h",
		} {
			if got[k] != want {
				rt.Fatalf("%s=%q, want %q", k, got[k], want)
			}
		}
	})
}
