package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// testEnv is an env over an empty home, whose output is thrown away.
func testEnv(t *testing.T) *env {
	t.Helper()
	e := &env{out: &output{w: io.Discard}, err: io.Discard, now: time.Now}
	e.environ = []string{"HERMES_HOME=" + t.TempDir()}
	e.settings, e.settingsErr = config.FromEnviron(e.environ)
	return e
}

func TestExitStatusOfErrors(t *testing.T) {
	_, nameErr := profile.Parse("A B")
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{&exitError{42}, 42},
		{fault.New(fault.Usage, "x"), 2},
		{fault.New(fault.GatewayNotRegistered, "x"), 1},
		{fault.New(fault.NoSupervisor, "x"), 1},
		{fault.New(fault.SupervisorDenied, "x"), 1},
		{fault.New(fault.GatewayFailed, "x"), 1},
		{&api.Error{Code: string(fault.Usage)}, 2},
		{&api.Error{Code: "a code of a newer server"}, 1},
		{nameErr, 1},
		{errors.New("x"), 1},
	} {
		if got := testEnv(t).render(tt.err); got != tt.want {
			t.Errorf("%#v: exit status %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestRender(t *testing.T) {
	_, nameErr := profile.Parse("A B")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{&exitError{3}, ""},
		{fault.New(fault.Usage, "no such flag").WithHint("hermes --help"), "✗ no such flag\nhint: hermes --help\n"},
		{fault.New(fault.InvalidConfig, "a:1: x\nb:2: y"), "✗ a:1: x\n  b:2: y\n"},
		{&api.Error{Code: "port_taken", Message: "taken", Hint: "kill 9"}, "✗ taken\nhint: kill 9\n"},
		{nameErr, "✗ cannot use \"A B\" as a profile name: only a-z, 0-9, '-' and '_' are allowed, and it starts with a letter or digit\n"},
		{errors.New("a bug"), "✗ internal error: a bug\n"},
	} {
		var b strings.Builder
		e := testEnv(t)
		e.err = &b
		e.render(tt.err)
		if b.String() != tt.want {
			t.Errorf("got %q, want %q", b.String(), tt.want)
		}
	}
}

// What a supervisor says to type leads to its home.
func TestHintsNameTheHome(t *testing.T) {
	for _, tt := range []struct{ settings, flag, hint, want string }{
		{"/h", "", "hermes why a", "hermes why a"},
		{"/h", "/h", "hermes why a", "hermes why a"},
		{"/h/profiles/coder", "/h", "hermes up", "hermes --home /h up"},
		{"/h", "/o", "hermes why a", "hermes --home /o why a"},
		{"/h", "/o", "correct config.yaml, then: hermes gateway start a", "correct config.yaml, then: hermes --home /o gateway start a"},
		{"/h", "/o", "end it with `kill 3`, then `hermes up`", "end it with `kill 3`, then `hermes --home /o up`"},
		{"/h", "/o", "docker exec -u 7 c0 hermes status", "docker exec -u 7 c0 hermes --home /o status"},
		{"/h", "/o", "hermes --home /o up", "hermes --home /o up"},
		{"/h", "/o", "hermes gateway start --help", "hermes gateway start --help"},
		{"/h", "/o", "chown 1:1 /srv/my hermes-home/.env", "chown 1:1 /srv/my hermes-home/.env"},
	} {
		e := testEnv(t)
		e.settings, _ = config.FromEnviron([]string{"HERMES_HOME=" + tt.settings})
		e.flags.home = tt.flag
		if got := e.address(tt.hint); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

// A gateway that came up and fell over before anybody was told has not started.
func TestFellOver(t *testing.T) {
	e := testEnv(t)
	g := api.Gateway{Profile: "a", Slot: "gateway-a", State: "backoff", Reason: "exit 1"}
	err := e.fellOver(action{verb: "start"}, api.ActionResult{Gateway: g})
	if err == nil || err.Error() != "gateway-a is backoff: exit 1" {
		t.Errorf("got %v", err)
	}
	if err := e.fellOver(action{verb: "stop"}, api.ActionResult{Gateway: g}); err != nil {
		t.Errorf("a stop: %v", err)
	}
	g.State = "running"
	if err := e.fellOver(action{verb: "start"}, api.ActionResult{Gateway: g}); err != nil {
		t.Errorf("one that runs: %v", err)
	}
}

// Ctrl-C ends a command that waits; that is no failure to explain.
func TestInterrupted(t *testing.T) {
	e := testEnv(t)
	var b strings.Builder
	e.err = &b
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := e.run(ctx, []string{"version"}); got != fault.ExitOK {
		t.Errorf("a command that did its work exits %d", got)
	}
	if got := e.finish(context.Canceled); got != exitInterrupted || b.Len() > 0 {
		t.Errorf("exit status %d and %q", got, b.String())
	}
}

// Many gateways at once would make many threads, which a pids limit counts; to
// prepare for that costs a command about one gateway more than all it does.
func TestThriftOfActions(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody needs to answer
	for names, want := range map[string][]need{"a": nil, "a b": {manyThings}, "a b c": {manyThings}} {
		e := testEnv(t)
		var got []need
		e.thrift = func(n need) { got = append(got, n) }
		var all []profile.Name
		for name := range strings.FieldsSeq(names) {
			all = append(all, profile.Name(name))
		}
		if err := e.actOnEach(ctx, client.New("/none"), action{verb: "stop"}, all); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", names, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: prepared for %v, not %v", names, got, want)
		}
	}
}

func TestTextFromOutsideStaysOnItsLine(t *testing.T) {
	if got := oneLine("a\nb\x1b[2Jc"); strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestCommandOfHints(t *testing.T) {
	for _, tt := range []struct {
		home string // of HERMES_HOME
		flag string
		name profile.Name
		want string
	}{
		{"/h", "", "default", "hermes"},
		{"/h", "", "coder", "hermes -p coder"},
		{"/h/profiles/coder", "", "coder", "hermes"},
		{"/h/profiles/coder", "", "default", "hermes -p default"},
		{"/h/profiles/coder", "/o", "default", "hermes --home /o"},
		{"/h", "/o", "coder", "hermes --home /o -p coder"},
	} {
		e := testEnv(t)
		e.settings, _ = config.FromEnviron([]string{"HERMES_HOME=" + tt.home})
		e.flags.home = tt.flag
		if got := e.command(tt.name); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

func TestInContainer(t *testing.T) {
	for _, tt := range []struct {
		file, content string
		want          bool
	}{
		{"etc/hostname", "h", false},
		{".dockerenv", "", true},
		{"run/.containerenv", "", true},
		{"proc/1/comm", "s6-svscan\n", true},
		{"proc/1/comm", "systemd\n", false},
		{"proc/1/cgroup", "0::/docker/0123\n", true},
		{"proc/1/cgroup", "0::/init.scope\n", false},
	} {
		root := t.TempDir()
		file := filepath.Join(root, tt.file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(tt.content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := inContainer(root); got != tt.want {
			t.Errorf("%s %q: %v, want %v", tt.file, tt.content, got, tt.want)
		}
	}
}

func TestAncestry(t *testing.T) {
	chain := ancestry(os.Getpid())
	if len(chain) < 2 || chain[0] != os.Getpid() || chain[1] != os.Getppid() {
		t.Errorf("got %v, want %d, %d, …", chain, os.Getpid(), os.Getppid())
	}
	if chain := ancestry(0); len(chain) != 0 {
		t.Errorf("of nobody: %v", chain)
	}
}

func FuzzParentOf(f *testing.F) {
	f.Add("7 (a) S 1 7 7")
	f.Add("7 (a b) c) S 12 7 7")
	f.Add("7 (x")
	f.Add("")
	f.Fuzz(func(_ *testing.T, stat string) { parentOf(stat) })
}

func TestParentOf(t *testing.T) {
	for stat, want := range map[string]int{"7 (a) S 1 7": 1, "7 (a b) S 3) R 12 7": 12, "7 (a": 0, "": 0} {
		if got := parentOf(stat); got != want {
			t.Errorf("%q: %d, want %d", stat, got, want)
		}
	}
}

// lineWriter hands on what is written, line by line.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

func TestLogsFollow(t *testing.T) {
	e := testEnv(t)
	got := make(lineWriter, 16)
	e.out = &output{w: got}
	dir := logDir(e.settings.Home, "coder")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "current"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- e.run(ctx, []string{"gateway", "logs", "coder", "-f"}) }()
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		select {
		case read := <-got:
			if read != line {
				t.Errorf("got %q, want %q", read, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q was not shown", line)
		}
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("told to end, following exits %d", code)
	}
}

// The built-in gateway gets its profile, its directory and a complete
// environment; its exit status is the command's.
func TestBuiltInGatewayRuns(t *testing.T) {
	e := testEnv(t)
	e.environ = append(e.environ, "MY_A=container")
	home := e.settings.Home
	if err := os.WriteFile(filepath.Join(home, ".env"), []byte("MY_A=dotenv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got GatewayRun
	e.runGateway = func(_ context.Context, g GatewayRun) int {
		got = g
		return 75
	}
	e.environ = append(e.environ, "HERMES_UID=", "HOME=/nowhere")
	if code := e.run(t.Context(), []string{"gateway", "run"}); code != 75 {
		t.Errorf("exit status %d, want the gateway's 75", code)
	}
	if got.Profile != profile.Default || got.Dir != home {
		t.Errorf("got %s in %s", got.Profile, got.Dir)
	}
	env := "\n" + strings.Join(got.Environ, "\n") + "\n"
	for _, want := range []string{"MY_A=dotenv", "HERMES_SUPERVISED_CHILD=default", "PORT=8642", "HERMES_HOME=" + home} {
		if !strings.Contains(env, "\n"+want+"\n") {
			t.Errorf("%s is missing in:%s", want, env)
		}
	}
}
