package s6fleet_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/capability"
	"hermes/internal/config"
	"hermes/internal/fleettest"
	"hermes/internal/profile"
	"hermes/internal/s6"
	"hermes/internal/s6fleet"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// TestMain also lets the test binary be what s6-supervise starts in a slot.
func TestMain(m *testing.M) {
	if s6fleet.IsApplet(os.Args) {
		os.Exit(applet())
	}
	fleettest.Roles()
	goleak.VerifyTestMain(m)
}

func applet() int {
	dir, err := os.Getwd()
	if err != nil {
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	return s6fleet.Applet{
		Dir: dir, Args: os.Args, Environ: os.Environ(), Settings: settings(), Self: self, Stderr: os.Stderr, Now: time.Now,
	}.Main()
}

func settings() config.Settings { return config.Settings{StopTimeout: 8 * time.Second} }

// TestConforms runs the suite of fleets over a real s6-svscan.
func TestConforms(t *testing.T) { fleettest.Run(t, begin) }

// world is a scan directory with an s6-svscan.
type world struct {
	fleettest.Processes
	scandir s6.Scandir
	stdout  *output
}

var _ fleettest.World = (*world)(nil)

// request is what a test's commands are asked with.
func request() profile.Request { return profile.Request{By: "test"} }

func begin(t *testing.T, o fleettest.Options) *fleettest.Subject {
	t.Helper()
	return beginWith(t, o, false)
}

func beginWith(t *testing.T, o fleettest.Options, dashboard bool) *fleettest.Subject {
	t.Helper()
	dir := t.TempDir()
	w := &world{scandir: s6.Scandir{Dir: filepath.Join(dir, "service")}, stdout: new(output)}
	w.Home = filepath.Join(dir, "home")
	if err := os.MkdirAll(filepath.Join(w.Home, "profiles"), 0o755); err != nil {
		t.Fatal(err)
	}
	home, err := store.Open(w.Home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	if err := w.scandir.Prepare(s6.Access{Group: os.Getgid(), Owner: os.Getuid()}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + os.Getenv("PATH")}
	if o.JSONLogs {
		env = append(env, "HERMES_LOG_FORMAT=json")
	}
	boot := s6fleet.Boot{Home: home, Scandir: w.scandir, Settings: settings(), Self: self, Dashboard: dashboard, Log: slog.New(slog.DiscardHandler)}
	if _, err := boot.Run(); err != nil {
		t.Fatal(err)
	}
	w.scan(t, env)
	fleet := s6fleet.New(s6fleet.Options{
		Home: home, Scandir: w.scandir, Settings: settings(), Self: self, Environ: env,
		Manager: "s6 (container supervisor)", Version: "suite", Logger: slog.New(slog.DiscardHandler),
	})
	return &fleettest.Subject{Engine: capability.S6, Home: w.Home, Fleet: fleet, World: w}
}

// scan starts the s6-svscan of the world, and ends it and all that is under it
// with the test.
func (w *world) scan(t *testing.T, env []string) {
	t.Helper()
	path, err := exec.LookPath("s6-svscan")
	if err != nil {
		testkit.Unavailable(t, "s6 is not installed: %v", err)
	}
	cmd := exec.CommandContext(context.Background(), path, "-c", "200", "--", w.scandir.Dir)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, w.stdout, w.stdout
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range w.profiles() {
			for _, pid := range w.Alive(t, name) {
				_ = unix.Kill(-pid, unix.SIGKILL) // also what s6 does not know of
			}
		}
		ctl := exec.CommandContext(context.Background(), "s6-svscanctl", "-t", "--", w.scandir.Dir)
		if out, err := ctl.CombinedOutput(); err != nil {
			t.Errorf("s6-svscanctl: %v: %s", err, out)
			_ = cmd.Process.Kill()
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("s6-svscan: %v", err)
		}
		if t.Failed() {
			t.Logf("s6-svscan and all under it said:\n%s", w.stdout)
		}
	})
	w.until(t, "s6-svscan listens", func() bool {
		return exec.CommandContext(t.Context(), "s6-svscanctl", "-a", "--", w.scandir.Dir).Run() == nil
	})
	for _, slot := range w.Slots(t) {
		w.until(t, slot+" is supervised", func() bool {
			state, err := w.scandir.State(slot)
			return err == nil && state.Supervised()
		})
	}
}

// profiles are the names of all gateways there are directories of.
func (w *world) profiles() []profile.Name {
	all := []profile.Name{profile.Default}
	entries, _ := os.ReadDir(filepath.Join(w.Home, "profiles"))
	for _, e := range entries {
		if name, err := profile.Parse(e.Name()); err == nil {
			all = append(all, name)
		}
	}
	return all
}

func (w *world) until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !met(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s\n%s", what, w.stdout)
		}
	}
}

// Slots implements [fleettest.World].
func (w *world) Slots(t *testing.T) []string {
	t.Helper()
	slots, err := w.scandir.List()
	if err != nil {
		t.Fatal(err)
	}
	return slots
}

// Replace implements [fleettest.World]: what supervises one slot is its
// s6-supervise, which s6-svscan starts again after a second.
func (w *world) Replace(t *testing.T, _ *fleettest.Subject, name profile.Name) {
	t.Helper()
	before, err := w.scandir.State(name.Slot())
	if err != nil || before.Supervisor <= 0 {
		t.Fatalf("State: %+v, %v", before, err)
	}
	if err := unix.Kill(before.Supervisor, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until(t, "there is another s6-supervise", func() bool {
		now, err := w.scandir.State(name.Slot())
		if err != nil || !now.Supervised() || now.Supervisor == before.Supervisor {
			return false
		}
		return now.Since.After(before.Since) // it has written its own status
	})
}

func (w *world) Stdout() string { return w.stdout.String() }

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Clone(o.buf.String())
}
