package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/client"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/s6"
	"hermes/internal/s6fleet"
	"hermes/internal/s6init"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// s6Rig is a home under a real s6-svscan, in a directory that looks like the
// root of a container whose process 1 that is.
type s6Rig struct {
	t          *testing.T
	root, home string
	dir        s6.Scandir
}

func newS6Rig(t *testing.T) *s6Rig {
	t.Helper()
	path, err := exec.LookPath("s6-svscan")
	if err != nil {
		testkit.Unavailable(t, "s6 is not installed: %v", err)
	}
	r := &s6Rig{t: t, root: t.TempDir()}
	r.home = filepath.Join(r.root, "data")
	r.dir = s6.Scandir{Dir: filepath.Join(r.root, s6.ScanDir)}
	for _, dir := range []string{r.home, filepath.Join(r.root, s6.BaseDir), filepath.Join(r.root, "proc/1")} {
		r.must(os.MkdirAll(dir, 0o755))
	}
	r.must(os.WriteFile(filepath.Join(r.root, "proc/1/comm"), []byte("s6-svscan\n"), 0o644))
	r.must(r.dir.Prepare(s6.Access{Group: os.Getgid(), Owner: os.Getuid()}))
	home, err := store.Open(r.home)
	r.must(err)
	defer home.Close()
	_, err = home.EnsureDefault()
	r.must(err)
	self, err := os.Executable()
	r.must(err)
	_, err = s6fleet.Boot{
		Home: home, Scandir: r.dir, Settings: config.Settings{StopTimeout: config.DefaultStopTimeout}, Self: self, Log: slog.New(slog.DiscardHandler),
	}.Run()
	r.must(err)
	rec := lease.Self(time.Now())
	rec.Manager = s6init.Manager
	held, err := takeLease(r.home, rec, false)
	r.must(err)
	t.Cleanup(func() { _ = held.Release() })
	cmd := exec.CommandContext(context.Background(), path, "--", r.dir.Dir)
	cmd.Env, cmd.WaitDelay = []string{"PATH=" + os.Getenv("PATH")}, time.Minute
	r.must(cmd.Start())
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "s6-svscanctl", "-t", "--", r.dir.Dir).CombinedOutput(); err != nil {
			t.Errorf("s6-svscanctl: %v: %s", err, out)
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
	})
	r.until("the slot of default is supervised", func() bool {
		s, err := r.dir.State("gateway-default")
		return err == nil && s.Supervised()
	})
	return r
}

func (r *s6Rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *s6Rig) until(what string, met func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !met(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// env is a command's, with what it writes to stdout and stderr together.
func (r *s6Rig) env() (*env, *strings.Builder) {
	var said strings.Builder
	e := testEnv(r.t)
	e.out, e.err = &output{w: &said}, &said
	e.environ = []string{"HERMES_HOME=" + r.home, "PATH=" + os.Getenv("PATH")}
	e.settings, e.settingsErr = config.FromEnviron(e.environ)
	e.seam.root = r.root
	return e, &said
}

// hermes runs a command, and checks its exit status and that it says all that
// is wanted.
func (r *s6Rig) hermes(command string, status int, want ...string) string {
	r.t.Helper()
	e, said := r.env()
	if got := e.run(r.t.Context(), strings.Fields(command)); got != status {
		r.t.Fatalf("hermes %s: exit status %d, want %d\n%s", command, got, status, said)
	}
	for _, w := range want {
		if !regexp.MustCompile(w).MatchString(said.String()) {
			r.t.Errorf("hermes %s: no %q in\n%s", command, w, said)
		}
	}
	return said.String()
}

func (r *s6Rig) configure(name, script string) {
	r.t.Helper()
	text := fmt.Sprintf("gateway:\n  command: [/bin/sh, -c, %q]\n", script)
	r.must(os.WriteFile(filepath.Join(r.home, "profiles", name, "config.yaml"), []byte(text), 0o600))
}

// TestCommandsUnderS6: every command does under s6 what it does elsewhere, or
// says that it cannot.
func TestCommandsUnderS6(t *testing.T) {
	r := newS6Rig(t)
	r.hermes("status", 0, `(?m)^Manager: s6 \(container supervisor\)$`, `(?m)^default +stopped`)
	r.hermes("profile create anna", 0, `✓ created profile 'anna'`, `hint: hermes -p anna gateway start`)
	r.configure("anna", "echo hello; exec /bin/sleep 1000")
	r.hermes("gateway status anna", 3, `gateway-anna stopped`, `manager: s6 \(container supervisor\)`)
	r.hermes("gateway start anna", 0, `✓ gateway-anna running \(pid \d+`)
	r.hermes("gateway status anna", 0, `gateway-anna running \(pid \d+`, `intent: running, by cli uid \d+`)
	r.hermes("gateway list", 0, `(?m)^anna +running +\d+`)
	r.until("its log has its words", func() bool { return strings.Contains(r.hermes("gateway logs anna", 0), "hello") })
	r.hermes("why anna", 0, `next: nothing: it runs as wanted`, `\| .*hello`)
	r.hermes("health --live", 0, `^ok\n$`)
	r.hermes("health --ready", 0, `^ok\n$`)
	r.hermes("profile list", 0, `(?m)^anna +\d+`)
	r.hermes("profile show anna", 0, `profile: anna`)
	r.hermes("boot --dry-run", 0, `profile=anna .* action=started`)
	r.hermes("gateway restart --all", 0, `✓ restarted 1 gateway`)
	r.hermes("profile rename anna bert", 0, `✓ renamed profile 'anna' to 'bert'`)
	r.until("it is up again", func() bool {
		s, err := r.dir.State("gateway-bert")
		return err == nil && s.Up() && s.Ready
	})
	r.hermes("gateway status bert", 0, `gateway-bert running`)
	r.hermes("gateway stop --all", 0, `✓ stopped 1 gateway`)
	r.hermes("gateway start --all", 2, `start --all is not supported`)
	r.hermes("gateway start typo", 1, "✗ no such gateway 'typo': register it with `hermes profile create typo` first, or pass an existing profile name via `-p <name>`")
	r.hermes("gateway status typo", 4, `no such gateway 'typo'`)
	r.hermes("events", 1, `✗ engine s6 keeps no events: nobody is there to see them\nhint: hermes status\n`)
	r.hermes("events -f", 1, `✗ engine s6 keeps no events`)
	r.hermes("dashboard --restart", 1, `✗ the supervisor runs no dashboard`)
	r.hermes("profile delete bert --yes", 0, `✓ deleted profile 'bert'`)
	r.hermes("gateway list", 0, `\Aprofile|PROFILE`)
	if slots, err := r.dir.List(); err != nil || len(slots) != 1 {
		t.Errorf("s6 has %v, %v", slots, err)
	}
}

// TestStatusJSONUnderS6: what programs read names the engine.
func TestStatusJSONUnderS6(t *testing.T) {
	r := newS6Rig(t)
	for _, command := range []string{"status --json", "gateway status --json", "gateway list --json"} {
		status := 0
		if command == "gateway status --json" {
			status = fault.ExitNotRunning
		}
		var f api.Fleet
		if err := json.Unmarshal([]byte(r.hermes(command, status)), &f); err != nil {
			t.Fatal(err)
		}
		if f.Engine != "s6" || f.Manager != "s6 (container supervisor)" || f.Home != r.home || len(f.Gateways) != 1 || f.Gateways[0].Slot != "gateway-default" {
			t.Errorf("%s: %+v", command, f)
		}
	}
	var d api.Diagnosis
	e, said := r.env()
	_ = e.run(t.Context(), []string{"doctor", "--json"}) // what it finds is the machine's
	if err := json.Unmarshal([]byte(said.String()), &d); err != nil {
		t.Fatal(err)
	}
	if d.Manager != "s6 (container supervisor)" {
		t.Errorf("doctor names %s", d.Manager)
	}
	for _, f := range d.Findings {
		if f.Level == "fatal" || strings.Contains(f.Code, "runtime") {
			t.Errorf("doctor finds %+v", f)
		}
	}
}

// TestStatusAfterSuperviseWasKilled: there are two copies, status says so, and
// what it says to type leaves one.
func TestStatusAfterSuperviseWasKilled(t *testing.T) {
	r := newS6Rig(t)
	r.hermes("profile create anna", 0)
	r.configure("anna", "exec /bin/sleep 1000")
	r.hermes("gateway start anna", 0)
	before, err := r.dir.State("gateway-anna")
	r.must(err)
	t.Cleanup(func() { _ = unix.Kill(-before.PID, unix.SIGKILL) })
	r.must(unix.Kill(before.Supervisor, unix.SIGKILL))
	twice := regexp.MustCompile(`! gateway-anna runs twice: .*\(pid ` + strconv.Itoa(before.PID) + `\)\nhint: kill -- (-\d+)\n`)
	var group int
	r.until("status tells of two copies", func() bool {
		m := twice.FindStringSubmatch(r.hermes("status", 0))
		if m != nil {
			group, _ = strconv.Atoi(m[1])
		}
		return m != nil
	})
	r.until("the second one is up", func() bool {
		s, err := r.dir.State("gateway-anna")
		return err == nil && s.Supervised() && s.Up() && s.Ready && s.PID != before.PID
	})
	r.hermes("health --ready", 1, `gateway-anna runs twice`)
	r.hermes("doctor", 1, `gateway-anna runs twice`)
	r.must(unix.Kill(group, unix.SIGTERM))
	r.until("status tells of one", func() bool { return !twice.MatchString(r.hermes("status", 0)) })
	r.hermes("health --ready", 0)
	r.hermes("gateway stop anna", 0)
}

// strangerMain is `hermes` for the home and in the root that are its first
// arguments.
func strangerMain() {
	e := newEnv(os.Stdin, os.Stdout, os.Stdout)
	e.environ = []string{"HERMES_HOME=" + os.Args[1]}
	e.settings, e.settingsErr = config.FromEnviron(e.environ)
	e.seam.root = os.Args[2]
	os.Exit(e.run(context.Background(), os.Args[3:]))
}

// TestStrangerUnderS6: who may not is told so and who may, as elsewhere, and
// changes nothing.
func TestStrangerUnderS6(t *testing.T) {
	if os.Getuid() != 0 {
		testkit.Unavailable(t, "only root can be another uid")
	}
	r := newS6Rig(t)
	for dir := r.home; dir != filepath.Dir(os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		r.must(os.Chmod(dir, 0o755))
	}
	self, err := os.Executable()
	r.must(err)
	b, err := os.ReadFile(self)
	r.must(err)
	program := filepath.Join(r.root, "stranger") // a test's binary is root's alone
	r.must(os.WriteFile(program, b, 0o755))
	for _, words := range []string{"status", "gateway start", "gateway stop --all", "profile create bert", "events"} {
		const nobody = 65534
		cmd := exec.CommandContext(t.Context(), program, append([]string{r.home, r.root}, strings.Fields(words)...)...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "✗ uid 65534 may not use this supervisor: it obeys root, the home's owner and uid 0\nhint: ") {
			t.Errorf("hermes %s: %v\n%s", words, err, out)
		}
	}
	r.hermes("gateway status", fault.ExitNotRunning, `gateway-default stopped`)
	if got := r.hermes("profile list", 0); strings.Contains(got, "bert") {
		t.Errorf("profiles are\n%s", got)
	}
}

// TestSeamOfAnotherHome: s6 supervises one home. What another is told is not
// about it.
func TestSeamOfAnotherHome(t *testing.T) {
	r := newS6Rig(t)
	e, _ := r.env()
	if _, err := e.find(t.TempDir()); !client.IsNoSupervisor(err) {
		t.Errorf("another home: %v", err)
	}
	if err := os.WriteFile(filepath.Join(r.root, "proc/1/comm"), []byte("hermes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := e.find(r.home)
	if fault.CodeOf(err) != fault.NoAnswer || !strings.Contains(err.Error(), `process 1 is "hermes"`) {
		t.Errorf("held, and process 1 is no s6-svscan: %v", err)
	}
}

// TestDashboardUnderS6: the page's own way to the fleet.
func TestDashboardUnderS6(t *testing.T) {
	r := newS6Rig(t)
	e, _ := r.env()
	defer e.seam.leave()
	connect := e.connector(r.home)
	for range 2 { // for every request
		c, err := connect("dashboard")
		r.must(err)
		fleet, err := c.Fleet(t.Context())
		if err != nil || fleet.Engine != "s6" {
			t.Errorf("%+v, %v", fleet, err)
		}
		for _, err := range c.Events(t.Context(), 0, "") {
			if fault.CodeOf(err) != fault.EngineLacks {
				t.Errorf("events: %v", err)
			}
		}
	}
	if len(e.seam.fleets) != 1 {
		t.Errorf("it serves %d fleets", len(e.seam.fleets))
	}
}
