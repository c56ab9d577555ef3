package lifecycle

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestEveryCellIsWritten reads the source: a cell left out would be the zero
// Cell, which is a silent jump to Stopped.
func TestEveryCellIsWritten(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "table.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	ast.Inspect(f, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if lit, ok := kv.Value.(*ast.CompositeLit); ok {
			rows[fmt.Sprint(kv.Key)] = len(lit.Elts)
		}
		return true
	})
	if len(rows) != int(numStates) {
		t.Errorf("%d rows, want %d", len(rows), numStates)
	}
	for row, n := range rows {
		if n != int(numEvents) {
			t.Errorf("row %s has %d cells, want %d", row, n, numEvents)
		}
	}
}

// TestNoWayRoundTheGate: nothing is spawned but what was admitted, and nobody
// is in the queue who did not enter it.
func TestNoWayRoundTheGate(t *testing.T) {
	for state := range numStates {
		for event := range numEvents {
			c := Next(state, event)
			if slices.Contains(c.Do, Spawn) && (state != Queued || event != Admitted) {
				t.Errorf("%v, %v: spawned without a token", state, event)
			}
			if c.To == Queued && state != Queued && !slices.Contains(c.Do, Enqueue) {
				t.Errorf("%v, %v: waits for a token nobody was asked for", state, event)
			}
		}
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for s := range numStates {
		if s.String() == "" || seen[s.String()] || s.Visible() == "" {
			t.Errorf("state %d: name %q, visible %q", s, s, s.Visible())
		}
		seen[s.String()] = true
	}
	for e := range numEvents {
		if e.String() == "" || seen["event "+e.String()] {
			t.Errorf("event %d: name %q", e, e)
		}
		seen["event "+e.String()] = true
	}
}

// world is the least a supervisor is: the promises its actions made.
type world struct {
	state    State
	wanted   bool
	inGate   bool // asked for a token, not answered
	token    bool // holds one
	spawn    bool // asked for a run, not answered
	alive    bool // the run exists
	watch    bool // start timer armed
	grace    bool // grace timer armed
	retry    bool // retry timer armed
	failures int
}

func (w *world) feed(t *rapid.T, e Event) {
	c := Next(w.state, e)
	w.state = c.To
	for _, a := range c.Do {
		switch a {
		case Enqueue:
			if w.inGate || w.token {
				t.Fatalf("%s: asked the gate twice", e)
			}
			w.inGate = true
		case Withdraw:
			w.inGate, w.token = false, false
		case Spawn:
			if w.alive || w.spawn {
				t.Fatalf("%s: asked for a second run", e)
			}
			w.spawn = true
		case Watch:
			w.watch = true
		case Signal, Kill:
			w.grace = true
		case CountFailure:
			w.failures++
			w.retry = true
		case CancelRetry:
			w.retry = false
		case Settle:
			if w.wanted {
				w.feed(t, Start)
			}
		}
	}
	if w.state != Starting {
		w.watch = false
	}
	if w.state != Stopping && w.state != Aborting {
		w.grace = false
	}
	if w.state != Backoff {
		w.retry = false
	}
}

// possible lists what can happen next: what operators may do at any time, and
// what the promises made so far will bring.
func (w *world) possible() (events []Event, promised bool) {
	add := func(on bool, es ...Event) {
		if on {
			events = append(events, es...)
			promised = true
		}
	}
	add(w.inGate, Admitted)
	add(w.spawn, Spawned, SpawnFailed, Refused)
	add(w.alive, ExitedAgain, ExitedFailed, ExitedConfig, ExitedDone)
	add(w.watch, Ready, StartTimeout)
	add(w.grace, GraceExpired)
	add(w.retry, RetryDue)
	return append(events, Start, Stop, Restart), promised
}

func (w *world) happen(t *rapid.T, e Event) {
	switch e {
	case Start, Restart:
		w.wanted = true
	case Stop:
		w.wanted = false
	case Admitted:
		w.inGate, w.token = false, true
	case Spawned:
		w.spawn, w.alive = false, true
	case SpawnFailed, Refused:
		w.spawn = false
	case ExitedAgain, ExitedFailed, ExitedConfig, ExitedDone:
		w.alive = false
	case RetryDue:
		w.retry = false
	default: // the table alone says what follows
	}
	w.feed(t, e)
}

// TestNothingIsStranded: after any sequence of possible events, a slot that is
// wanted up and is not up has something promised that will move it on, unless
// it is parked or ended by itself; one wanted down has no run that nobody will
// end; the gate's tokens are given back; and there are never two runs.
func TestNothingIsStranded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{}
		done := false // it ended by itself, or was refused: nothing is owed
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			events, _ := w.possible()
			e := rapid.SampledFrom(events).Draw(t, "event")
			w.happen(t, e)
			done = e == ExitedDone || (done && e != Start && e != Restart)

			_, promised := w.possible()
			if w.wanted && w.state != Running && w.state != Parked && !promised && !done {
				t.Fatalf("stranded in %s after %s", w.state, e)
			}
			if w.alive != (w.state == Starting || w.state == Running || w.state == Stopping && !w.spawn || w.state == Aborting) {
				t.Fatalf("%s after %s: alive=%v spawn=%v", w.state, e, w.alive, w.spawn)
			}
			if !w.wanted && w.alive && !w.grace {
				t.Fatalf("unwanted, alive and nobody stops it: %s after %s", w.state, e)
			}
			if w.token && !slices.Contains([]State{Spawning, Starting, Stopping}, w.state) {
				t.Fatalf("kept the gate's token in %s after %s", w.state, e)
			}
		}
	})
}

// TestPromisesLeadToRest: with no operator, whatever was promised leads to a
// state of rest when runs come up, and to Parked, Backoff or Stopped when they
// do not; a slot never cycles without a timer in between.
func TestPromisesLeadToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{}
		for range rapid.IntRange(0, 30).Draw(t, "history") {
			events, _ := w.possible()
			w.happen(t, rapid.SampledFrom(events).Draw(t, "event"))
		}
		w.happen(t, Stop)
		for range 4 {
			switch {
			case w.spawn:
				w.happen(t, Spawned)
			case w.alive:
				w.happen(t, ExitedFailed)
			}
		}
		if w.state != Stopped || w.alive || w.token || w.inGate || w.retry {
			t.Fatalf("stop did not lead to rest: %+v", *w)
		}
	})
}

func TestVisibleStates(t *testing.T) {
	if Aborting.Visible() != Stopping.Visible() || Queued.Visible() != Starting.Visible() {
		t.Error("fine states are not folded into the visible ones")
	}
	for _, s := range []State{Spawning, Starting, Running, Stopping, Aborting} {
		if !s.HasRun() {
			t.Errorf("%s has a run", s)
		}
	}
	for _, s := range []State{Stopped, Queued, Backoff, Parked} {
		if s.HasRun() {
			t.Errorf("%s has no run", s)
		}
	}
}
