package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

// witness is a runner that notes whoever asks for a second run: in a slot that
// has one, or in a directory where one of another slot lives.
type witness struct {
	*enginetest.Fake
	seen *testimony
}

// testimony outlives supervisors.
type testimony struct {
	mu      sync.Mutex
	where   map[string]os.FileInfo // by slot
	doubles []string
}

func (w witness) Spawn(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	here, err := os.Stat(spec.Dir)
	if err == nil {
		w.seen.mu.Lock()
		for slot, there := range w.seen.where {
			if _, alive := w.Living(slot); alive && slot != spec.Slot && os.SameFile(here, there) {
				w.seen.doubles = append(w.seen.doubles, slot+" lives where "+spec.Slot+" is started")
			}
		}
		w.seen.where[spec.Slot] = here
		w.seen.mu.Unlock()
	}
	run, err := w.Fake.Spawn(ctx, spec)
	if errors.Is(err, engine.ErrBusy) {
		w.seen.mu.Lock()
		w.seen.doubles = append(w.seen.doubles, spec.Slot+" has a run already")
		w.seen.mu.Unlock()
	}
	return run, err
}

// world is a fleet whose profiles come, go and change their names while
// everything else happens to it, too.
type world struct {
	*rig
	rnd    *rand.Rand
	seen   *testimony
	wanted map[string]profile.Intent // every profile there is, as acknowledged
	made   int
	past   []string
}

// TestNobodyIsStrandedOrDoubled: commands, crashes, failures, time, the death
// and replacement of supervisors, power cuts, and profiles made, renamed,
// exchanged and removed by command and by hand, in any order.
func TestNobodyIsStrandedOrDoubled(t *testing.T) {
	sequences := 12
	if os.Getenv("HERMES_SOAK") != "" {
		sequences *= 80
	}
	first := rand.Uint64()
	if given := os.Getenv("HERMES_CHAOS_SEED"); given != "" {
		var err error
		if first, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
		sequences = 1
	}
	for i := range sequences {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("HERMES_CHAOS_SEED=%d", seed), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				w := &world{
					rig: r, rnd: rand.New(rand.NewPCG(seed, 0)), wanted: map[string]profile.Intent{},
					seen: &testimony{where: map[string]os.FileInfo{}},
				}
				defer func() {
					if t.Failed() {
						t.Log(strings.Join(w.past, "\n"))
					}
				}()
				r.through = func(f *enginetest.Fake) engine.Runner { return witness{f, w.seen} }
				w.turn()
				w.rest()
			})
		})
	}
}

// turn lets things happen, and looks after each.
func (w *world) turn() {
	w.options.Settings.StartParallel = 1 + w.rnd.IntN(4)
	for range 4 {
		name := w.newName()
		w.profile(name, w.anyLines()...)
		w.wanted[name] = profile.Stopped
	}
	w.boot()
	for range 50 {
		w.happen()
		w.settle()
		w.check()
	}
}

func (w *world) note(format string, args ...any) {
	w.past = append(w.past, fmt.Sprintf(format, args...))
}

func (w *world) newName() string {
	w.made++
	return fmt.Sprintf("p%d", w.made)
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.wanted)) }

func (w *world) any() string {
	names := w.names()
	return names[w.rnd.IntN(len(names))]
}

func (w *world) anyLines() []string {
	all := [][]string{nil, nil, {"restart: on-failure"}, {"restart: never"}, {"ready: notify", "start_timeout: 3s", "stop_timeout: 2s"}}
	return all[w.rnd.IntN(len(all))]
}

func (w *world) happen() {
	switch n := w.rnd.IntN(24); {
	case n < 8:
		w.command(w.any())
	case n < 11:
		w.crash(w.any())
	case n < 13:
		w.program(w.any())
	case n < 16:
		d := []time.Duration{time.Millisecond, 100 * time.Millisecond, 3 * time.Second, time.Minute, time.Hour}[w.rnd.IntN(5)]
		w.note("%v pass", d)
		w.pass(d)
	case n < 18:
		w.note("the supervisor is killed")
		w.kill()
		w.comeBack()
	case n == 18:
		w.note("the supervisor is replaced")
		w.comeBack()
	case n == 19:
		w.note("the power is cut")
		w.reboot()
	case n < 22:
		w.byCommand()
	default:
		w.byHand()
	}
}

func (w *world) command(name string) {
	verb := w.rnd.IntN(3)
	want := []profile.Intent{profile.Running, profile.Stopped, profile.Running}[verb]
	act := []action{startIt, stopIt, restartIt}[verb]
	w.note("%s %s", []string{"start", "stop", "restart"}[verb], name)
	w.wanted[name] = want
	was := w.intent(name).Generation
	if w.rnd.IntN(2) == 0 {
		w.note("and somebody waits for it")
		w.ask(act, name) // the intent is on disk when all wait
		return
	}
	result, err := act(w.fleet, w.t.Context(), profile.Name(name), profile.Request{NoWait: true, By: "tester"})
	if err != nil || result.Gateway.Intent != string(want) {
		w.t.Fatalf("%s: %+v, %v", name, result.Gateway, err)
	}
	now := w.intent(name).Generation
	kept := w.kept()[slotOf(name)]
	if now != was && (kept.Intent != string(want) || kept.Generation != now) {
		w.t.Fatalf("%s: %s was acknowledged, the events on disk say %+v", name, want, kept)
	}
}

func (w *world) crash(name string) {
	switch code := []int{0, 1, 75, 78, -1, -2}[w.rnd.IntN(6)]; code {
	case -1:
		w.note("%s is killed", name)
		w.fake.Kill(slotOf(name), unix.SIGKILL)
	case -2:
		w.note("%s is lost", name)
		w.fake.Lose(slotOf(name))
	default:
		w.note("%s ends with %d", name, code)
		w.fake.End(slotOf(name), code)
	}
}

func (w *world) program(name string) {
	programs := []enginetest.Program{
		{},
		{Linger: 3 * time.Second},
		{Deaf: true},
		{Exit: true, Code: 1},
		{Hang: true},
		{Fail: &engine.SpawnError{Path: "/x", Stage: "exec", Errno: unix.EAGAIN}},
	}
	p := programs[w.rnd.IntN(len(programs))]
	w.note("%s becomes %+v", name, p)
	w.fake.Script(slotOf(name), p)
}

// byCommand makes, deletes or renames a profile; one time in three the
// supervisor is killed over it.
func (w *world) byCommand() {
	name, to := w.any(), w.newName()
	ctx, fleet := w.t.Context(), w.fleet
	var act func() error
	kind := w.rnd.IntN(3)
	if len(w.wanted) < 3 {
		kind = 0
	}
	switch kind {
	case 0:
		w.note("%s is made", to)
		act = func() error { _, err := fleet.Create(ctx, profile.Name(to), "tester"); return err }
	case 1:
		w.note("%s is deleted", name)
		act = func() error { return fleet.Delete(ctx, profile.Name(name), "tester") }
	case 2:
		w.note("%s is renamed to %s", name, to)
		act = func() error { _, err := fleet.Rename(ctx, profile.Name(name), profile.Name(to), "tester"); return err }
	}
	if w.rnd.IntN(3) > 0 {
		if err := act(); err != nil && fault.CodeOf(err) != fault.GatewayTimeout {
			w.t.Fatal(err)
		}
		w.learn(name, to)
		return
	}
	w.note("and the supervisor is killed meanwhile")
	done := make(chan error, 1)
	go func() { done <- act() }() // what it answers nobody hears
	w.kill()
	<-done
	w.comeBack()
	w.learn(name, to)
}

// learn finds what became of a profile that was to be made, renamed or deleted,
// and checks that it is one of what it may be.
func (w *world) learn(name, to string) {
	w.t.Helper()
	was := w.wanted[name]
	there := func(name string) bool { _, err := os.Lstat(w.path(name, "SOUL.md")); return err == nil }
	switch {
	case there(name) && there(to): // made
		w.wanted[to] = profile.Stopped
	case there(to):
		delete(w.wanted, name)
		w.wanted[to] = was
	case !there(name):
		delete(w.wanted, name)
		return
	}
	if there(name) && was == profile.Running && w.intent(name).Intent == profile.Stopped {
		w.wanted[name] = profile.Stopped // a deletion that got no further than its stop
	}
}

// byHand is what people do with mkdir, mv and rm.
func (w *world) byHand() {
	name, to := w.any(), w.newName()
	switch kind := w.rnd.IntN(4); {
	case kind == 0 || len(w.wanted) < 3:
		w.note("%s is made by hand", to)
		w.profile(to, w.anyLines()...)
		w.wanted[to] = profile.Stopped
		w.look()
	case kind == 1:
		w.note("%s is moved to %s", name, to)
		w.move(name, to)
		w.wanted[to] = w.wanted[name]
		delete(w.wanted, name)
		w.look()
	case kind == 2:
		other := w.any()
		if other == name {
			return
		}
		w.note("%s and %s are exchanged", name, other)
		w.move(name, ".aside")
		w.move(other, name)
		w.move(".aside", other)
		w.wanted[name], w.wanted[other] = w.wanted[other], w.wanted[name]
		w.look()
	default:
		w.note("%s is removed by hand", name)
		if err := os.RemoveAll(w.path(name)); err != nil {
			w.t.Fatal(err)
		}
		delete(w.wanted, name)
		w.look()
		w.pass(2 * time.Second)
		w.look()
	}
}

// check is what holds at any time: a slot for each profile and no other, each
// as acknowledged and, if it has failed, with what comes next; a run for no
// slot but these; nobody twice.
func (w *world) check() {
	w.t.Helper()
	if len(w.seen.doubles) > 0 {
		w.t.Fatal(strings.Join(w.seen.doubles, "\n"))
	}
	fleet, err := w.fleet.Fleet(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	known := map[string]bool{}
	for _, g := range fleet.Gateways {
		known[g.Slot] = true
		if g.Profile == "default" {
			continue
		}
		want, ok := w.wanted[g.Profile]
		if !ok {
			w.t.Fatalf("%s has a slot and no profile: %+v", g.Profile, g)
		}
		if got := w.intent(g.Profile).Intent; got != want {
			w.t.Fatalf("%s: intent %s was acknowledged, %s is kept", g.Profile, want, got)
		}
		w.checkState(g, want)
	}
	if len(fleet.Gateways) != len(w.wanted)+1 {
		w.t.Fatalf("%d slots but default's for %v", len(fleet.Gateways)-1, w.names())
	}
	w.replays(fleet)
	runs, err := w.fake.List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range runs {
		if r.Exit == nil && !known[r.Slot] {
			w.t.Fatalf("%s runs and has no slot", r.Slot)
		}
	}
}

func (w *world) checkState(g api.Gateway, want profile.Intent) {
	w.t.Helper()
	run, alive := w.fake.Living(g.Slot)
	next := 0 * time.Second
	if g.NextRetryAt != nil {
		next = time.Until(*g.NextRetryAt)
	}
	switch {
	case alive && g.PID != run.PID:
		w.t.Fatalf("%s is pid %d, the fleet says %+v", g.Profile, run.PID, g)
	case alive && (g.State == "stopped" || g.State == "parked" || g.State == "backoff"):
		w.t.Fatalf("%s lives and is %s", g.Profile, g.State)
	case !alive && g.State == "running":
		w.t.Fatalf("%s is dead and running", g.Profile)
	case want == profile.Stopped && g.State != "stopped" && g.State != "stopping":
		w.t.Fatalf("%s is unwanted and %s", g.Profile, g.State)
	case want == profile.Running && g.State == "stopped" && !endedByItself(g):
		w.t.Fatalf("%s is wanted, stopped, and nothing follows: %q", g.Profile, g.Reason)
	case g.State == "backoff" && (next <= 0 || next > restart.LongestDelay()):
		w.t.Fatalf("%s waits for %v", g.Profile, next)
	case g.State == "parked" && g.Reason == "":
		w.t.Fatalf("%s is parked for no reason", g.Profile)
	}
}

func endedByItself(g api.Gateway) bool { return strings.HasPrefix(g.Reason, "ended by itself") }

// rest ends the sequence: in time everything is as it is wanted, and can be
// started.
func (w *world) rest() {
	w.note("rest")
	for _, name := range w.names() {
		w.fake.Script(slotOf(name), enginetest.Program{})
	}
	w.pass(time.Hour)
	w.check()
	for _, name := range w.names() {
		g := w.gateway(name)
		unready := strings.HasPrefix(g.Reason, "not ready in")
		switch {
		case w.wanted[name] == profile.Stopped && g.State != "stopped":
			w.t.Errorf("%s is unwanted and %s for an hour", name, g.State)
		case w.wanted[name] == profile.Running && g.State != "running" && g.State != "parked" && !endedByItself(g) && !unready && g.State != "starting":
			w.t.Errorf("%s is wanted and %s: %s", name, g.State, g.Reason)
		}
		w.configure(name)
	}
	w.keepsNoExits()
	w.must(stopIt, w.names()...) // the run in hand may be to be ready by notify
	w.must(startIt, w.names()...)
	for _, name := range w.names() {
		w.is(name, profile.StateRunning)
		w.wanted[name] = profile.Running
		ended := map[uint64]bool{}
		for _, e := range w.observed(name).Exits {
			if ended[e.Run] {
				w.t.Errorf("%s: run %d ended twice", name, e.Run)
			}
			ended[e.Run] = true
		}
	}
	w.check()
}
