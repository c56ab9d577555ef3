package fleettest_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/capability"
	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
	"hermes/internal/event"
	"hermes/internal/fleettest"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/supervisor"
)

func TestMain(m *testing.M) {
	fleettest.Roles()
	enginetest.Roles()
	goleak.VerifyTestMain(m)
}

// TestNative runs the suite over a real keeper and real processes.
func TestNative(t *testing.T) {
	fleettest.Run(t, func(t *testing.T, o fleettest.Options) *fleettest.Subject {
		k := &kept{keeper: enginetest.StartKeeper(t, enginetest.KeeperOptions{})}
		k.connect(t)
		return begin(t, o, k.keeper.Runtime, k)
	})
}

// TestFake runs it over a runner without processes.
func TestFake(t *testing.T) {
	fleettest.Run(t, func(t *testing.T, o fleettest.Options) *fleettest.Subject {
		dir, err := os.MkdirTemp("", "hf") // the names of sockets are short
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"n", "slots"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		f := &faked{fake: enginetest.NewFakeWithPipes()}
		t.Cleanup(func() { f.fake.Close(); os.RemoveAll(dir) })
		return begin(t, o, dir, f)
	})
}

// runner is what is under a supervisor of the suite.
type runner interface {
	fleettest.World
	runner() engine.Runner
	// at tells where the home is.
	at(home string) string
	pid() int
	// next ends what the supervisor is and makes the runner its successor's.
	next(t *testing.T)
}

// supervised is a fleet of package supervisor in its world.
type supervised struct {
	runner
	options supervisor.Options
	home    *store.Home
	fleet   *supervisor.Fleet
	stop    func()
	stdout  *output
}

var _ fleettest.World = (*supervised)(nil)

func begin(t *testing.T, o fleettest.Options, runtime string, r runner) *fleettest.Subject {
	t.Helper()
	w := &supervised{runner: r, stdout: new(output)}
	home := r.at(filepath.Join(t.TempDir(), "home"))
	if err := os.MkdirAll(filepath.Join(home, "profiles"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	format := logfile.Plain
	if o.JSONLogs {
		format = logfile.JSON
	}
	tee := logfile.NewTee(w.stdout, format)
	events := event.Open(event.Options{Home: home})
	w.options = supervisor.Options{
		Settings: config.Settings{StartParallel: 4, StopTimeout: 8 * time.Second},
		Logger:   slog.New(slog.DiscardHandler),
		Runtime:  runtime, Keeper: "keeper-1", KeeperPID: r.pid(), Manager: "native (host supervisor)", Version: "suite",
		Lineage: "suite", Self: self, Environ: []string{"PATH=" + os.Getenv("PATH")}, Tee: tee, Events: events,
	}
	s := &fleettest.Subject{Engine: capability.Native, Home: home, Events: events, World: w}
	w.boot(t, s, false)
	t.Cleanup(func() {
		w.leave()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := tee.Close(ctx); err != nil {
			t.Error(err)
		}
		events.Close()
	})
	return s
}

// boot makes a supervisor over the runner and lets it work.
func (w *supervised) boot(t *testing.T, s *fleettest.Subject, returning bool) {
	t.Helper()
	home, err := store.Open(s.Home)
	if err != nil {
		t.Fatal(err)
	}
	o := w.options
	o.Home, o.Runner = home, w.runner.runner()
	w.home, w.fleet = home, supervisor.New(o)
	if err := w.fleet.Boot(t.Context(), supervisor.BootRequest{Returning: returning}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	fleet := w.fleet
	parts.Go(func() { _ = fleet.Run(ctx, func() {}) })
	parts.Go(func() { _ = fleet.Watch(ctx) })
	w.stop = func() { cancel(); parts.Wait() }
	s.Fleet = fleet
}

func (w *supervised) leave() {
	w.stop()
	w.fleet.Leave(context.Background())
	w.home.Close()
}

// Replace implements [fleettest.World]: every slot has the same supervisor.
func (w *supervised) Replace(t *testing.T, s *fleettest.Subject, _ profile.Name) {
	t.Helper()
	w.home.Close() // nothing that the old one still does reaches a file
	w.next(t)
	w.leave()
	w.boot(t, s, true)
}

func (w *supervised) Stdout() string { return w.stdout.String() }

// Slots implements [fleettest.World]: here the slots are the fleet's own.
func (w *supervised) Slots(t *testing.T) []string {
	t.Helper()
	fleet, err := w.fleet.Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, g := range fleet.Gateways {
		all = append(all, g.Slot)
	}
	return all
}

// kept is a world of processes under a keeper.
type kept struct {
	fleettest.Processes
	keeper *enginetest.Keeper
	engine *enginetest.Engine
	r      *native.Runner
}

func (k *kept) runner() engine.Runner { return k.r }

// connect is the engine of the keeper from now on.
func (k *kept) connect(t *testing.T) {
	t.Helper()
	k.engine = k.keeper.Connect(t)
	r, err := native.Dial(k.engine.FD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	k.r = r
}

func (k *kept) next(t *testing.T) {
	t.Helper()
	k.r.Close() // as its death would: this process is the engine in all but name
	if err := unix.Kill(k.engine.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	k.connect(t)
}

func (k *kept) at(home string) string {
	k.Home = home
	return home
}

func (k *kept) pid() int { return k.keeper.PID }

func (k *kept) Slots(*testing.T) []string { return nil } // supervised has them
func (k *kept) Stdout() string            { return "" }
func (k *kept) Replace(*testing.T, *fleettest.Subject, profile.Name) {
}

// faked is a world without processes.
type faked struct{ fake *enginetest.Fake }

func (f *faked) runner() engine.Runner { return f.fake }
func (f *faked) next(*testing.T)       { f.fake = f.fake.Successor() }
func (f *faked) pid() int              { return 7 }
func (f *faked) at(home string) string { return home }
func (f *faked) Real() bool            { return false }

func (f *faked) Program(name profile.Name, p fleettest.Program) {
	f.fake.Script(name.Slot(), enginetest.Program{
		Exit: p.Kind == fleettest.Exits, Code: p.Code, Deaf: p.Kind == fleettest.Deaf,
	})
}

func (f *faked) Alive(_ *testing.T, name profile.Name) []int {
	run, ok := f.fake.Living(name.Slot())
	if !ok {
		return nil
	}
	return []int{run.PID}
}

func (f *faked) Kill(t *testing.T, name profile.Name) {
	t.Helper()
	if !f.fake.Kill(name.Slot(), unix.SIGKILL) {
		t.Fatalf("%s has no run", name)
	}
}

func (f *faked) Notify(t *testing.T, name profile.Name, words string) {
	t.Helper()
	spec, ok := f.fake.Spec(name.Slot())
	if !ok {
		t.Fatalf("%s has no run", name)
	}
	enginetest.Datagram(t, spec.Notify, words)
}

func (f *faked) Print(t *testing.T, name profile.Name, line string) {
	t.Helper()
	if err := f.fake.Write(name.Slot(), line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (f *faked) Slots(*testing.T) []string { return nil } // supervised has them
func (f *faked) Stdout() string            { return "" }
func (f *faked) Replace(*testing.T, *fleettest.Subject, profile.Name) {
}

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

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
