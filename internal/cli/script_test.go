package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"hermes/internal/holder"
	"hermes/internal/lease"
	"hermes/internal/stray"
)

// TestMain makes the test binary the programs the scripts run, too.
func TestMain(m *testing.M) {
	hermes := func() { os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
	if len(os.Args) > 1 && os.Args[1] == stray.Command { // whatever it is called
		hermes()
	}
	testscript.Main(checked{m}, map[string]func(){
		"hermes":     hermes,
		"run":        hermes, // by s6-supervise, in a slot
		"finish":     hermes,
		"stranger":   strangerMain,   // hermes in a container whose root is elsewhere
		"supervisor": supervisorMain, // a control API over a fleet that only exists on paper
		"lockholder": lockholderMain, // what a foreground gateway is, seen from outside
		"agent":      agentMain,      // a gateway's program: tells what it was given
		"sleep":      sleepMain,
	})
}

// checked runs the tests and looks for goroutines they left.
type checked struct{ m *testing.M }

func (c checked) Run() int {
	code := c.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the scripts of test/script, one per behaviour.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../test/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("HERMES_HOME", filepath.Join(home, ".hermes"))
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			// The scripts' directories are for the user who runs the tests.
			env.Setenv("HERMES_UID", strconv.Itoa(os.Geteuid()))
			env.Setenv("HERMES_GID", strconv.Itoa(os.Getegid()))
			return os.MkdirAll(filepath.Join(home, ".hermes"), 0o755)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "container":
				return inContainer(""), nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":      exits,
			"whole":      whole,
			"supervised": supervised,
			"locked":     locked,
			"free":       free,
			"told":       told,
			"public":     public,
		},
	})
}

// exits runs a command and checks its exit status: exits N command args….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits status command args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("cannot run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// volatile is what differs from run to run, and what the scripts write instead.
var volatile = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`! gateways run as root: .*\n`), ""}, // depends on who runs the tests
	{regexp.MustCompile(`\bpid \d+`), "pid N"},
	{regexp.MustCompile(`"pid": \d+`), `"pid": N`},
	{regexp.MustCompile(`\buid \d+`), "uid U"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`ready in \d+\.\ds`), "ready in Xs"},
	{regexp.MustCompile(`\b\d{1,2}s ago`), "Xs ago"},
	{regexp.MustCompile(`\b\d+d(\d+h)?\b`), "AGE"},
}

// whole compares all of the last command's stdout or stderr with a file, ""
// for nothing: whole stdout want.
func whole(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: whole stdout|stderr [file]")
	}
	got, want := ts.ReadFile(args[0]), ""
	if len(args) == 2 {
		want = ts.ReadFile(args[1])
	}
	got = strings.ReplaceAll(got, ts.Getenv("WORK"), "$WORK")
	for _, v := range volatile {
		got = v.pattern.ReplaceAllString(got, v.instead)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("%s differs (-want +got):\n%s\ngot:\n%s", args[0], diff, got)
	}
}

// patience bounds every wait for another process.
const patience = 10 * time.Second

// until polls cond.
func until(ts *testscript.TestScript, what string, cond func() bool) {
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			ts.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// supervised waits until the home has a supervisor.
func supervised(ts *testscript.TestScript, _ bool, _ []string) {
	until(ts, "supervised", func() bool {
		rec, status, _ := lease.Read(ts.Getenv("HERMES_HOME"))
		return status == lease.Held && rec.Socket != ""
	})
}

// locked waits until the file is locked, free until it is not.
func locked(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "locked", func() bool { _, err := holder.Of(ts.MkAbs(args[0])); return err == nil })
}

func free(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "free", func() bool { _, err := holder.Of(ts.MkAbs(args[0])); return errors.Is(err, holder.ErrFree) })
}

// told waits until the file has the text.
func told(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "told", func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(b), args[1])
	})
}

// public sets a variable to a new directory that every user can enter; the
// script's own cannot be.
func public(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "hermes-script-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	ts.Check(os.Chmod(dir, 0o755))
	ts.Setenv(args[0], dir)
}
