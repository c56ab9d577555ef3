package cli

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// planOf is what init does with a command, under further variables.
func planOf(t *testing.T, command string, environ ...string) (initPlan, error) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "my-worker"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	for _, v := range environ { // init asks the commands it knows, which read their own
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	e := newEnv(nil, io.Discard, io.Discard)
	e.environ = append([]string{"HERMES_HOME=" + t.TempDir()}, environ...)
	e.settings, e.settingsErr = config.FromEnviron(e.environ)
	return e.planInit(strings.Fields(command))
}

// TestOneShotCommandsAreClients: a hermes command that is no supervisor is
// carried out by a container and boots nothing.
func TestOneShotCommandsAreClients(t *testing.T) {
	for _, command := range []string{
		"status", "hermes status", "profile list", "profile create coder", "version", "--help", "--version", "doctor",
		"gateway status", "gateway start coder", "gateway stop", "-p coder gateway logs", "--home /x health --live", "dashboard --restart",
	} {
		plan, err := planOf(t, command)
		want := slices.DeleteFunc(strings.Fields(command), func(w string) bool { return w == "hermes" })
		if err != nil || !plan.client || !slices.Equal(plan.words, want) {
			t.Errorf("%q: %+v, %v", command, plan, err)
		}
	}
}

// TestCommandsThatBoot are all others, each with its main program.
func TestCommandsThatBoot(t *testing.T) {
	for _, tt := range []struct {
		command, main, profile string
		zero                   bool
	}{
		{"", "", "", false},
		{"hermes", "", "", false},
		{"up", "", "", false},
		{"gateway run", "hermes gateway run", "default", true},
		{"hermes -p coder gateway run", "hermes -p coder gateway run", "coder", true},
		{"dashboard", "hermes dashboard", "", false},
		{"my-worker --flag x", "my-worker --flag x", "", false},
	} {
		plan, err := planOf(t, tt.command)
		r := plan.request
		if err != nil || plan.client || r.engine.manager != managerContainer || !r.engine.container {
			t.Errorf("%q: %+v, %v", tt.command, plan, err)
		}
		if main := strings.Join(r.engine.main, " "); main != tt.main || r.engine.command != tt.profile || r.zeroOnStop != tt.zero || r.engine.foreground {
			t.Errorf("%q: main program %q, profile %q, zero on a stop %v, foreground %v",
				tt.command, main, r.engine.command, r.zeroOnStop, r.engine.foreground)
		}
	}
}

// TestNoSuperviseFlagIsForegroundAtBoot: the slot is down for the boot whose
// main program is the gateway itself, and a stop is told by its exit code.
func TestNoSuperviseFlagIsForegroundAtBoot(t *testing.T) {
	plan, err := planOf(t, "gateway run --no-supervise")
	if err != nil || !plan.request.engine.foreground || plan.request.zeroOnStop || plan.request.engine.command != "default" {
		t.Errorf("%+v, %v", plan, err)
	}
}

func TestNoSuperviseVariableIsForegroundAtBoot(t *testing.T) {
	plan, err := planOf(t, "-p coder gateway run", "HERMES_GATEWAY_NO_SUPERVISE=TRUE")
	if err != nil || !plan.request.engine.foreground || plan.request.zeroOnStop || plan.request.engine.command != "coder" {
		t.Errorf("%+v, %v", plan, err)
	}
}

func TestCommandThatIsNone(t *testing.T) {
	_, err := planOf(t, "no-such-program --flag")
	if fault.CodeOf(err) != fault.ProgramNotFound {
		t.Errorf("no such program: %v", err)
	}
	_, err = planOf(t, "gateway run --no-such-flag")
	if fault.CodeOf(err) != fault.Usage {
		t.Errorf("no such flag: %v", err)
	}
}
