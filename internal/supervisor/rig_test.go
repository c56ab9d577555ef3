package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/event"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/supervisor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a home, a runner without processes, and a fleet over both that can be
// ended and started anew.
type rig struct {
	t       testing.TB
	dir     string // the home
	fake    *enginetest.Fake
	options supervisor.Options
	bubble  bool                                 // in a synctest bubble
	through func(*enginetest.Fake) engine.Runner // what a fleet has of fake; nil: the fake itself

	home   *store.Home
	events *event.Log
	fleet  *supervisor.Fleet
	stop   context.CancelFunc
	ran    chan error // what Fleet.Run returned
	asked  chan struct{}
}

// in runs a test in a bubble, where time passes at once when all wait.
func in(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, enginetest.NewFake())
		r.bubble = true
		f(t, r)
	})
}

// newRig has a home with the default profile alone, and no fleet yet.
func newRig(t testing.TB, fake *enginetest.Fake) *rig {
	t.Helper()
	// The names of sockets are short, and what t.TempDir makes is not.
	dir, err := os.MkdirTemp("", "hs")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: filepath.Join(dir, "home"), fake: fake, asked: make(chan struct{}, 16)}
	for _, d := range []string{filepath.Join(r.dir, "profiles"), filepath.Join(dir, "n"), filepath.Join(dir, "slots")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.options = supervisor.Options{
		Settings: config.Settings{StartParallel: 4, StopTimeout: 8 * time.Second},
		Logger:   slog.New(slog.DiscardHandler),
		Runtime:  dir, Keeper: "keeper-1", KeeperPID: 7, Manager: "native (host supervisor)", Version: "test",
		Self: "/bin/false", Environ: []string{"PATH=/bin:/usr/bin"},
	}
	t.Cleanup(func() {
		r.leave()
		fake.Close()
		os.RemoveAll(dir)
	})
	return r
}

// profile makes a profile whose gateway is ready when executed, with further
// lines of its section gateway.
func (r *rig) profile(name string, lines ...string) {
	r.t.Helper()
	r.write(name, "SOUL.md", "I am "+name+".\n")
	r.configure(name, lines...)
}

func (r *rig) configure(name string, lines ...string) {
	r.t.Helper()
	lines = append([]string{"gateway:", "command: [/bin/true]"}, lines...)
	r.write(name, "config.yaml", strings.Join(lines, "\n  ")+"\n")
}

func (r *rig) path(name string, file ...string) string {
	dir := r.dir
	if name != "default" {
		dir = filepath.Join(r.dir, "profiles", name)
	}
	return filepath.Join(append([]string{dir}, file...)...)
}

func (r *rig) write(name, file, content string) {
	r.t.Helper()
	path := r.path(name, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) writeJSON(name, file string, v any) {
	r.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(name, file, string(b))
}

// intend writes an intent as an earlier hermes left it.
func (r *rig) intend(name string, want profile.Intent) {
	r.t.Helper()
	r.writeJSON(name, "gateway_intent.json", profile.IntentRecord{
		Version: 1, Intent: want, Generation: 3, ChangedAt: time.Now(), ChangedBy: "test",
	})
}

func (r *rig) intent(name string) profile.IntentRecord {
	r.t.Helper()
	return readJSON[profile.IntentRecord](r, name, "gateway_intent.json")
}

// observed is what is on disk of a gateway.
func (r *rig) observed(name string) profile.Supervision {
	r.t.Helper()
	return readJSON[profile.Supervision](r, name, "supervision.json")
}

func readJSON[T any](r *rig, name, file string) (v T) {
	r.t.Helper()
	b, err := os.ReadFile(r.path(name, file))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// boot starts a fleet, the first one of a keeper.
func (r *rig) boot(wanted ...profile.Name) {
	r.t.Helper()
	r.start(supervisor.BootRequest{Wanted: wanted, By: "hermes up"})
	for _, name := range wanted {
		r.untilLives(string(name))
	}
}

// untilLives waits until the gateway has a run.
func (r *rig) untilLives(name string) {
	r.t.Helper()
	if r.bubble {
		return // it has settled
	}
	r.until(name+" lives", func() bool { _, ok := r.fake.Living(slotOf(name)); return ok })
}

func (r *rig) start(request supervisor.BootRequest) {
	r.t.Helper()
	var runner engine.Runner = r.fake
	if r.through != nil {
		runner = r.through(r.fake)
	}
	if err := r.open(runner).Boot(r.t.Context(), request); err != nil {
		r.t.Fatal(err)
	}
	r.run()
}

// open makes a fleet that has not booted.
func (r *rig) open(runner engine.Runner) *supervisor.Fleet {
	r.t.Helper()
	home, err := store.Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	o := r.options
	r.events = event.Open(event.Options{Home: r.dir})
	o.Home, o.Runner, o.Events = home, runner, r.events
	r.home, r.fleet = home, supervisor.New(o)
	return r.fleet
}

// run has the fleet hear of exits.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	fleet, asked := r.fleet, r.asked
	r.stop, r.ran = cancel, ran
	go func() { ran <- fleet.Run(ctx, func() { asked <- struct{}{} }) }() // leave waits for it
	r.settle()
}

// leave ends the fleet in good order; the runs live on.
func (r *rig) leave() {
	if r.fleet == nil {
		return
	}
	if r.stop != nil {
		r.stop()
		<-r.ran
	}
	r.fleet.Leave(context.Background())
	r.events.Close()
	r.home.Close()
	r.fleet, r.home, r.stop = nil, nil, nil
}

// kill ends the fleet as SIGKILL would: nothing it still does reaches the
// runner or a file.
func (r *rig) kill() {
	r.t.Helper()
	restore := r.keepEvents()
	r.home.Close()
	next := r.fake.Successor()
	r.leave()
	r.fake = next
	restore()
}

// comeBack starts the fleet that follows one that was killed or left.
func (r *rig) comeBack() {
	r.t.Helper()
	if r.fleet != nil {
		r.leave()
		r.fake = r.fake.Successor()
	}
	r.start(supervisor.BootRequest{Returning: true})
}

// comeBackLate is comeBack an hour after everything started.
func (r *rig) comeBackLate() {
	r.t.Helper()
	if err := r.open(aged{r.fake, time.Hour}).Boot(r.t.Context(), supervisor.BootRequest{Returning: true}); err != nil {
		r.t.Fatal(err)
	}
	r.run()
}

// reboot is a power cut: every run is lost, keeper and fleet are new.
func (r *rig) reboot() {
	r.t.Helper()
	if r.fleet != nil {
		r.kill()
	}
	r.fake.Close()
	r.fake = enginetest.NewFake()
	r.options.Keeper += "'"
	r.boot()
}

// settle waits, in a bubble, until nothing is under way.
func (r *rig) settle() {
	if r.bubble {
		synctest.Wait()
	}
}

// pass lets time go by, and waits until what is due then is done.
func (r *rig) pass(d time.Duration) {
	<-time.After(d)
	r.settle()
}

func (r *rig) gateway(name string) api.Gateway {
	r.t.Helper()
	g, err := r.fleet.Gateway(r.t.Context(), profile.Name(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// is checks the state of a gateway.
func (r *rig) is(name string, want profile.State) {
	r.t.Helper()
	if g := r.gateway(name); g.State != string(want) {
		r.t.Fatalf("%s is %s (%s), want %s", name, g.State, g.Reason, want)
	}
}

// fleetIs checks every gateway but default's: "anna running, bert stopped".
func (r *rig) fleetIs(want string) {
	r.t.Helper()
	if got := r.rows(); got != want {
		r.t.Fatalf("the fleet is %q, want %q", got, want)
	}
}

func (r *rig) rows() string {
	r.t.Helper()
	fleet, err := r.fleet.Fleet(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var rows []string
	for _, g := range fleet.Gateways {
		if g.Profile != "default" {
			rows = append(rows, g.Profile+" "+g.State)
		}
	}
	return strings.Join(rows, ", ")
}

func slotOf(name string) string { return profile.Name(name).Slot() }

// lives says whether the runner has a living run, and that the fleet knows it.
func (r *rig) lives(name string) bool {
	r.t.Helper()
	run, ok := r.fake.Living(slotOf(name))
	if ok && r.gateway(name).PID != run.PID {
		r.t.Fatalf("%s is pid %d, the fleet says %d", name, run.PID, r.gateway(name).PID)
	}
	return ok
}

// spawned checks how many runs a gateway has ever had.
func (r *rig) spawned(name string, want int) {
	r.t.Helper()
	if got := r.fake.Spawned(slotOf(name)); got != want {
		r.t.Fatalf("%s was spawned %d times, want %d", name, got, want)
	}
}

// end has the living run end, and waits until that is dealt with.
func (r *rig) end(name string, code int) {
	r.t.Helper()
	if !r.fake.End(slotOf(name), code) {
		r.t.Fatalf("%s has no run to end", name)
	}
	r.settle()
}

type action func(*supervisor.Fleet, context.Context, profile.Name, profile.Request) (api.ActionResult, error)

// do carries an action out and waits for its outcome.
func (r *rig) do(a action, name string) error {
	_, err := a(r.fleet, r.t.Context(), profile.Name(name), profile.Request{By: "tester"})
	return err
}

func (r *rig) must(a action, names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := r.do(a, name); err != nil {
			r.t.Fatal(err)
		}
	}
	r.settle()
}

// ask begins an action and returns where its outcome will be.
func (r *rig) ask(a action, name string) <-chan error {
	done := make(chan error, 1)
	fleet, ctx := r.fleet, r.t.Context()
	go func() {
		_, err := a(fleet, ctx, profile.Name(name), profile.Request{By: "tester"})
		done <- err
	}()
	r.settle()
	return done
}

// open says that an outcome is not known yet.
func open(done <-chan error) bool { return len(done) == 0 }

var (
	startIt   action = (*supervisor.Fleet).Start
	stopIt    action = (*supervisor.Fleet).Stop
	restartIt action = (*supervisor.Fleet).Restart
)

func (r *rig) fails(err error, what ...string) {
	r.t.Helper()
	for _, w := range what {
		if err == nil || !strings.Contains(err.Error(), w) {
			r.t.Fatalf("error %v does not say %q", err, w)
		}
	}
}

// until polls for what happens outside of a bubble.
func (r *rig) until(what string, met func() bool) {
	r.t.Helper()
	enginetest.Until(r.t, what, met)
}

func (r *rig) untilState(name string, want profile.State) {
	r.t.Helper()
	r.until(fmt.Sprintf("%s is %s", name, want), func() bool { return r.gateway(name).State == string(want) })
}

// logTo has the fleets to come log where it can be read.
func (r *rig) logTo() *record {
	log := new(record)
	r.options.Logger = slog.New(slog.NewTextHandler(log, nil))
	return log
}

// record collects what is written from any goroutine.
type record struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
