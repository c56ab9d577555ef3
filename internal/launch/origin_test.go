package launch

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEnvironmentSources(t *testing.T) {
	got := Environment(Input{
		Profile: "coder", Dir: "/opt/data/profiles/coder",
		Environ: []string{"A=container", "B=container", "C=container", "PORT=1", "NOTIFY_SOCKET=/evil", "PWD=/x"},
		Dotenv:  map[string]string{"B": "dotenv", "C": "dotenv", "HERMES_HOME": "/evil", "NOTIFY_SOCKET": "/evil"},
		Env:     map[string]string{"C": "config"},
		Port:    9653,
	})
	const dir = "/opt/data/profiles/coder"
	want := []Variable{
		{"A", "container", FromEnviron},
		{"API_SERVER_PORT", "9653", FromHermes},
		{"B", "dotenv", FromDotenv},
		{"C", "config", FromConfig},
		{"HERMES_HOME", dir, FromHermes},
		{"HERMES_PROFILE", "coder", FromHermes},
		{"HERMES_S6_SUPERVISED_CHILD", "1", FromHermes},
		{"HERMES_SUPERVISED_CHILD", "coder", FromHermes},
		{"PORT", "9653", FromHermes},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is shown is what is run, whatever the layers say.
func TestEnvironmentIsBuilds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"A", "B", "PORT", "API_SERVER_PORT", "HOME", "NOTIFY_SOCKET", "HERMES_SLOT_ID", "HERMES_HOME", "PWD"})
		layer := rapid.MapOfN(names, rapid.StringMatching(`[a-z=]{0,3}`), 0, 4)
		in := Input{
			Profile: "coder", Dir: "/d", Self: "/bin/hermes", Dotenv: layer.Draw(t, "dotenv"), Env: layer.Draw(t, "env"),
			Port: rapid.SampledFrom([]int{0, 9300}).Draw(t, "port"), UserHome: rapid.SampledFrom([]string{"", "/h"}).Draw(t, "home"),
		}
		for k, v := range layer.Draw(t, "environ") {
			in.Environ = append(in.Environ, k+"="+v)
		}
		cmd, err := Build(in)
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, v := range Environment(in) {
			shown = append(shown, v.Name+"="+v.Value)
		}
		slices.Sort(shown)
		if diff := cmp.Diff(cmd.Env, shown); diff != "" {
			t.Error(diff)
		}
		if argv, said := Argv(in); !slices.Equal(argv, cmd.Argv) || said != "built in" {
			t.Errorf("%q by %s", argv, said)
		}
	})
}

func TestArgvSaysWho(t *testing.T) {
	in := Input{Profile: "coder", FleetCommand: []string{"agent", "{profile}"}}
	if argv, said := Argv(in); said != "HERMES_GATEWAY_COMMAND" || !slices.Equal(argv, []string{"agent", "coder"}) {
		t.Errorf("%q by %s", argv, said)
	}
	in.Command = []string{"mine"}
	if argv, said := Argv(in); said != "gateway.command" || !slices.Equal(argv, []string{"mine"}) {
		t.Errorf("%q by %s", argv, said)
	}
}
