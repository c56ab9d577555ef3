package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/store"
)

func FuzzParseNotice(f *testing.F) {
	for _, seed := range []string{
		"READY=1", "READY=1\nSTATUS=up\n", "STOPPING=1\nX_HERMES_HEALTH=draining", "", "\n\n=", "READY", "READY=01",
		"STATUS=\x1b[2J\xff", "X_HERMES_HEALTH=unknown", "READY=1\x00", strings.Repeat("STATUS=x\n", 500),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		n := parseNotice(datagram)
		if n.ready && !bytes.Contains(datagram, []byte("READY=1")) {
			t.Errorf("ready by %q", datagram)
		}
		if n.stopping && !bytes.Contains(datagram, []byte("STOPPING=1")) {
			t.Errorf("stopping by %q", datagram)
		}
		switch n.health {
		case "", profile.HealthOK, profile.HealthDegraded, profile.HealthDraining, profile.HealthUnready:
		default:
			t.Errorf("health %q", n.health)
		}
		harmless(t, n.status)
	})
}

// steers says whether r does something to a terminal or a page that shows it.
func steers(r rune) bool {
	return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// harmless checks text that is shown on a terminal or in a page.
func harmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, steers) || utf8.RuneCountInString(s) > 301 {
		t.Errorf("not fit to be shown: %q", s)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07\u009b31m")
	f.Add("\u202egnp.exe\u2067\u2029")
	f.Add(strings.Repeat("ä", 400) + "\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		harmless(t, got)
		if clean(got) != got && utf8.RuneCountInString(got) <= 300 {
			t.Errorf("%q is cleaned once more", got)
		}
	})
}

func TestParseNotice(t *testing.T) {
	got := parseNotice([]byte("READY=1\nSTATUS=a=b\nX_HERMES_HEALTH=degraded\nSTOPPING=1\nMAINPID=1\n"))
	want := notice{ready: true, stopping: true, status: "a=b", health: profile.HealthDegraded}
	if got != want {
		t.Errorf("%+v", got)
	}
	if got := parseNotice([]byte("READY=1\nREADY=0")); got.ready {
		t.Error("the last word counts")
	}
}

func TestMailboxKeepsOrderAndLosesNothing(t *testing.T) {
	var m mailbox
	const posters, each = 8, 500
	var got [posters][]int // of the loop
	var loops, wg sync.WaitGroup
	loop := func() {
		for posts := m.take(); posts != nil; posts = m.take() {
			for _, f := range posts {
				f()
			}
		}
	}
	put := func(f func(), last bool) bool {
		ok, wake := m.put(f, last)
		if wake {
			loops.Go(loop)
		}
		return ok
	}
	loops.Go(loop)
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				if !put(func() { got[p] = append(got[p], i) }, false) {
					t.Error("refused while open")
				}
			}
		})
	}
	wg.Wait()
	over := false
	if !put(func() { over = true }, true) || put(func() {}, true) || put(func() {}, false) {
		t.Error("it is not closed by the last post")
	}
	loops.Wait()
	if !over {
		t.Error("the last post was not run")
	}
	for p := range posters {
		if len(got[p]) != each || !slices.IsSorted(got[p]) {
			t.Errorf("poster %d: %d posts were run", p, len(got[p]))
		}
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		var mu sync.Mutex
		var admitted []int
		enter := func(n int) *ticket {
			x := g.enter(func() {
				mu.Lock()
				defer mu.Unlock()
				admitted = append(admitted, n)
			})
			synctest.Wait()
			return x
		}
		is := func(want ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(admitted, want) {
				t.Fatalf("admitted %v, want %v", admitted, want)
			}
		}
		one, two, three, four, five := enter(1), enter(2), enter(3), enter(4), enter(5)
		is(1, 2)
		three.leave() // before its turn
		one.leave()
		one.leave()
		is(1, 2, 4)
		<-time.After(gateHold)
		is(1, 2, 4, 5)
		two.leave() // its token has expired
		four.leave()
		enter(6)
		enter(7)
		is(1, 2, 4, 5, 6)
		five.leave()
		is(1, 2, 4, 5, 6, 7)
		<-time.After(gateHold)
		synctest.Wait()
		if g.free != 2 {
			t.Errorf("%d tokens are left", g.free)
		}
		if got := newGate(0).free; got != 1 {
			t.Errorf("a gate of %d", got)
		}
	})
}

// TestGateUnderStorm: tickets that are left at any moment cost no token.
func TestGateUnderStorm(t *testing.T) {
	g := newGate(3)
	var storm sync.WaitGroup
	for i := range 300 {
		storm.Go(func() {
			x := g.enter(func() {})
			for range i % 7 {
				x = x.again(g)
			}
			x.leave()
		})
	}
	storm.Wait()
	if g.free != 3 || g.crowded() {
		t.Errorf("%d tokens and %d places are left", g.free, len(g.queue))
	}
}

// again gives a place up for another.
func (t *ticket) again(g *gate) *ticket {
	defer t.leave()
	return g.enter(func() {})
}

// TestTogether: what many set at once is written at once, without those who
// have nothing to write, and without waiting long for one who is busy.
func TestTogether(t *testing.T) {
	bad := errors.New("disk full")
	for name, tt := range map[string]struct {
		slots, busy, pass int
		want              []int // sizes of the writes
	}{
		"all come":      {slots: 20, want: []int{20}},
		"some pass":     {slots: 20, pass: 5, want: []int{15}},
		"all pass":      {slots: 3, pass: 3},
		"some are busy": {slots: 20, busy: 2, want: []int{18, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var sizes []int
				together := newTogether(tt.slots, func(all []store.IntentWrite) []error {
					mu.Lock()
					defer mu.Unlock()
					sizes = append(sizes, len(all))
					errs := make([]error, len(all))
					for i := range all {
						if all[i].Name == "p0" {
							errs[i] = bad
						}
					}
					return errs
				})
				defer together.stop()
				var wg sync.WaitGroup
				for i := range tt.slots {
					wg.Go(func() {
						if i >= tt.slots-tt.busy {
							<-time.After(time.Second * time.Duration(i))
						}
						if i < tt.pass {
							together.pass()
							return
						}
						err := together.put(profile.Name(fmt.Sprint("p", i)), profile.IntentRecord{})
						if (err != nil) != (i == 0) {
							t.Errorf("slot %d is told %v", i, err)
						}
					})
				}
				<-time.After(2 * gatherFor)
				mu.Lock()
				if want := min(len(tt.want), 1); len(sizes) != want {
					t.Errorf("%d writes after a moment, want %d", len(sizes), want)
				}
				mu.Unlock()
				wg.Wait()
				if !slices.Equal(sizes, tt.want) {
					t.Errorf("written together: %v, want %v", sizes, tt.want)
				}
			})
		})
	}
}

func TestNotices(t *testing.T) {
	var n notices
	if !n.set("disk", "anna", fault.New(fault.HomeUnusable, "full").WithHint("df")) {
		t.Error("a first notice is not new")
	}
	if n.set("disk", "anna", errors.New("still full")) {
		t.Error("a second one is new")
	}
	n.set("disk", "bert", errors.New("full as well"))
	n.set("ports", "", fault.New(fault.PortTaken, "clash").WithHint("move"))
	want := []api.Notice{
		{Code: "disk", Message: "still full (and 1 more)"},
		{Code: "ports", Message: "clash", Hint: "move"},
	}
	if got := n.list(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	n.drop("anna")
	n.clear("ports", "")
	n.clear("never", "set")
	if got := n.list(); !slices.Equal(got, []api.Notice{{Code: "disk", Message: "full as well"}}) {
		t.Errorf("%+v", got)
	}
}

func TestAskGivesUp(t *testing.T) {
	s := &slot{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ctx, s, func() int { return 1 }); !errors.Is(err, context.Canceled) {
		t.Errorf("a loop that does not answer: %v", err)
	}
	s.put(func() {}, true)
	if _, err := ask(t.Context(), s, func() int { return 1 }); !errors.Is(err, errEnded) {
		t.Errorf("a slot that has ended: %v", err)
	}
}

func TestNextNamesACommandThatCanBeTyped(t *testing.T) {
	now := time.Now()
	soon := now.Add(1250 * time.Millisecond)
	for _, tt := range []struct {
		g              api.Gateway
		sentence, hint string
	}{
		{api.Gateway{State: "running", Health: "ok"}, "nothing: it runs as wanted", ""},
		{api.Gateway{State: "running", Health: "degraded"}, "it runs, but says that it is degraded", "hermes -p anna gateway logs"},
		{api.Gateway{State: "starting"}, "it is starting", "hermes -p anna gateway logs -f"},
		{api.Gateway{State: "stopping"}, "it was told to stop and is killed when its grace is over", ""},
		{api.Gateway{State: "backoff", NextRetryAt: &soon}, "it failed and is started again in 1.3s", "hermes gateway start anna"},
		{api.Gateway{State: "backoff"}, "it failed and is started again soon", "hermes gateway start anna"},
		{api.Gateway{State: "parked"}, "nothing until its configuration is corrected and it is started", "hermes gateway start anna"},
		{api.Gateway{State: "stopped", Intent: "running"}, "nothing: it stays down although it is wanted", "hermes gateway start anna"},
		{api.Gateway{State: "stopped", Intent: "stopped"}, "nothing: it stays down until it is started", "hermes gateway start anna"},
	} {
		tt.g.Profile = "anna"
		if sentence, hint := recipe.Next(tt.g, now); sentence != tt.sentence || hint != tt.hint {
			t.Errorf("%s: %q, %q", tt.g.State, sentence, hint)
		}
	}
}

func TestProbeHost(t *testing.T) {
	for host, want := range map[string]string{"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "10.0.0.7": "10.0.0.7", "::1": "::1"} {
		if got := probeHost(host); got != want {
			t.Errorf("%q is asked at %q", host, got)
		}
	}
}

func TestWireErrors(t *testing.T) {
	got := wire(fmt.Errorf("wrapped: %w", fault.New(fault.PortTaken, "taken").WithHint("move")))
	if *got != (api.Error{Code: "port_taken", Message: "taken", Hint: "move"}) {
		t.Errorf("%+v", got)
	}
	if got := wire(errors.New("disk")); got.Code != "internal" || got.Message != "internal error: disk" {
		t.Errorf("%+v", got)
	}
}
