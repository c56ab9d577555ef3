package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/event"
	"hermes/internal/profile"
)

// keepEvents is the history as it is on disk now; restore makes it so again,
// whatever is written meanwhile.
func (r *rig) keepEvents() (restore func()) {
	r.t.Helper()
	dir := filepath.Join(r.dir, "logs/events")
	kept := map[string][]byte{}
	files, _ := filepath.Glob(dir + "/*") // fails for a bad pattern only
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			r.t.Fatal(err)
		}
		kept[f] = b
	}
	return func() {
		if err := os.RemoveAll(dir); err != nil {
			r.t.Fatal(err)
		}
		for f, b := range kept {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				r.t.Fatal(err)
			}
			if err := os.WriteFile(f, b, 0o644); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// kept is what the events say that an engine killed now would leave on disk.
func (r *rig) kept() event.Table {
	r.t.Helper()
	table := event.Table{}
	list, err := event.ReadHome(r.dir, event.Query{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list.Events {
		table.Apply(&e)
	}
	return table
}

// told lists the events after an id, all but those of default and the engine.
func (r *rig) told(after uint64) []api.Event {
	r.t.Helper()
	r.events.Flush()
	list := r.events.Page(event.Query{After: after})
	return slices.DeleteFunc(list.Events, func(e api.Event) bool { return e.Profile == "" || e.Profile == "default" })
}

// tells checks what was told after an id: "state stopped>starting: cause".
func (r *rig) tells(after uint64, want ...string) {
	r.t.Helper()
	var got []string // of one profile in order, profiles one after another
	told := r.told(after)
	slices.SortStableFunc(told, func(a, b api.Event) int { return strings.Compare(a.Profile, b.Profile) })
	for _, e := range told {
		by := ""
		if e.By != "" {
			by = " by " + e.By
		}
		got = append(got, fmt.Sprintf("%s %s %s>%s%s %s: %s", e.Profile, e.Kind, e.From, e.To, by, e.Health, e.Cause))
	}
	if !slices.EqualFunc(got, want, func(got, want string) bool { return strings.HasPrefix(got, want) }) {
		r.t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// replays checks the events from the first one on: each begins where the one
// before left the slot, and together they say what the fleet says.
func (r *rig) replays(fleet api.Fleet) {
	r.t.Helper()
	r.events.Flush()
	list := r.events.Page(event.Query{})
	table, last := event.Table{}, uint64(0)
	for _, e := range list.Events {
		row, known := table[e.Slot]
		follows := true
		switch e.Kind {
		case api.EventSlot:
			follows = known == (e.To == api.SlotRemoved)
		case api.EventIntent:
			follows = known && e.From == row.Intent && (e.To != row.Intent || e.Generation != row.Generation)
		case api.EventState:
			follows = known && e.From == row.State && e.To != row.State && e.Cause != ""
		case api.EventHealth:
			follows = known && e.From == row.Health && e.To != row.Health
		}
		if !follows || e.ID <= last {
			r.t.Fatalf("%+v does not follow %+v, event %d", e, row, last)
		}
		table.Apply(&e)
		last = e.ID
	}
	if list.Gone || last != fleet.LastEvent {
		r.t.Fatalf("the events end with %d, the fleet says %d; gone: %v", last, fleet.LastEvent, list.Gone)
	}
	for _, g := range fleet.Gateways {
		got := table[g.Slot]
		if got.Profile != g.Profile || got.Intent != g.Intent || got.State != g.State || got.Health != g.Health {
			r.t.Fatalf("the events say %+v, the fleet %+v", got, g)
		}
		delete(table, g.Slot)
	}
	if len(table) > 0 {
		r.t.Fatalf("the events tell of more slots: %+v", table)
	}
}

// TestEventsOfALife: what one gateway goes through, each time with its cause.
func TestEventsOfALife(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot()
		r.tells(0, "anna slot >added : its profile was found", "anna intent >stopped by migration : ")
		step := func(do func(), want ...string) {
			t.Helper()
			after := r.events.Last()
			do()
			r.settle()
			r.tells(after, want...)
		}
		const executed = "anna state starting>running unknown: it was executed"
		step(func() { r.must(startIt, "anna") }, "anna intent stopped>running by tester : ",
			"anna state stopped>starting unready: it is wanted running", executed)
		step(func() { r.end("anna", 1) }, "anna state running>backoff unknown: exit 1")
		told := r.told(0)
		if e := told[len(told)-1]; e.Exit == nil || e.Exit.Code == nil || *e.Exit.Code != 1 || e.PID == 0 {
			t.Errorf("an exit without what is known of it: %+v", e)
		}
		step(func() { r.pass(time.Second) }, "anna state backoff>starting unready: its wait is over", executed)
		step(func() { r.end("anna", 75) }, "anna state running>starting unready: it ended by itself (exit 75", executed)
		step(func() { r.end("anna", 78) }, "anna state running>parked unknown: exit 78 (configuration)")
		step(func() { r.must(startIt, "anna") }, // a wish of its own: it ends the parking
			"anna intent running>running by tester : ", "anna state parked>starting unready: it is wanted running", executed)
		step(func() { r.must(startIt, "anna") }) // which is what it is
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		step(func() { r.must(restartIt, "anna") },
			"anna state running>stopping draining: a restart was asked for",
			"anna state stopping>stopped unknown: it stopped as asked (", "anna state stopped>starting unready: it is wanted running", executed)
		step(func() { r.must(stopIt, "anna") },
			"anna intent running>stopped by tester : ", "anna state running>stopping draining: it is wanted stopped",
			"anna state stopping>stopped unknown: it stopped as asked (")
		r.fake.Script(slotOf("anna"), enginetest.Program{Fail: &engine.SpawnError{Path: "/x", Stage: "exec", Errno: unix.ENOENT}})
		step(func() { _ = r.do(startIt, "anna") }, "anna intent stopped>running by tester : ",
			"anna state stopped>starting unready: it is wanted running", "anna state starting>backoff unknown: cannot exec /x")
		step(func() { r.fleet.Shutdown(t.Context()) })
	})
}

// TestEventsOfHealth: what a gateway says of itself.
func TestEventsOfHealth(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot("anna")
	after := r.events.Last()
	for _, text := range []string{"READY=1", "X_HERMES_HEALTH=degraded", "X_HERMES_HEALTH=degraded", "X_HERMES_HEALTH=ok"} {
		r.tell("anna", text)
	}
	r.until("all is told", func() bool { return r.events.Last() == after+3 })
	r.tells(after, "anna state starting>running ok: it is ready", "anna health ok>degraded : the gateway says so", "anna health degraded>ok")
}

// TestEventsOfSlots: profiles come, go and are renamed.
func TestEventsOfSlots(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		after := r.events.Last()
		if _, err := r.fleet.Create(t.Context(), "anna", "tester"); err != nil {
			t.Fatal(err)
		}
		r.tells(after, "anna slot >added", "anna intent >stopped by tester : ")
		after = r.events.Last()
		if _, err := r.fleet.Rename(t.Context(), "anna", "berta", "tester"); err != nil {
			t.Fatal(err)
		}
		r.tells(after, "berta slot anna>renamed : its profile was called anna")
		after = r.events.Last()
		if err := r.fleet.Delete(t.Context(), "berta", "tester"); err != nil {
			t.Fatal(err)
		}
		r.tells(after, "berta slot >removed : its profile was deleted by tester")
	})
}

// TestEventsAcrossEngines: the next engine tells what has changed while there
// was none, and nothing that was told before.
func TestEventsAcrossEngines(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "berta", "clara", "dora"} {
			r.profile(name)
		}
		r.boot("anna", "berta", "clara")
		r.events.Flush()
		after := r.events.Last()
		r.kill()
		r.fake.Kill(slotOf("berta"), unix.SIGKILL)
		r.intend("dora", profile.Stopped)
		if err := os.RemoveAll(r.path("clara")); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Second)
		r.comeBack()
		r.tells(after,
			"berta state running>backoff unknown: SIGKILL",
			"clara slot >removed : its profile has gone",
			"dora intent stopped>stopped by test : wanted so since 2")
		engine := r.events.Page(event.Query{After: after, Limit: 1}).Events[0]
		if engine.Kind != api.EventEngine || engine.To != api.EngineReturned || engine.PID != os.Getpid() {
			t.Errorf("%+v", engine)
		}
		after = r.events.Last()
		r.reboot()
		r.pass(time.Second)
		r.tells(after, "anna state running>starting unready: it is wanted running", "anna state starting>running",
			"berta state backoff>starting unready: its wait is over", "berta state starting>running")
	})
}

// TestIntentIsToldBeforeItIsAcknowledged: whoever was answered finds the event
// although the engine is killed the next moment.
func TestIntentIsToldBeforeItIsAcknowledged(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot()
		for _, a := range []struct {
			do   action
			want string
		}{{startIt, "running"}, {stopIt, "stopped"}, {restartIt, "running"}} {
			if _, err := a.do(r.fleet, t.Context(), "anna", profile.Request{NoWait: true, By: "tester"}); err != nil {
				t.Fatal(err)
			}
			if got := r.kept()["gateway-anna"].Intent; got != a.want {
				t.Errorf("%s was acknowledged, the events on disk say %q", a.want, got)
			}
			r.settle()
		}
	})
}
