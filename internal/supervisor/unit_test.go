package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
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

// harmless checks text that is shown on a terminal.
func harmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || utf8.RuneCountInString(s) > 301 {
		t.Errorf("not fit to be shown: %q", s)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07\u009b31m")
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

func TestCutStamp(t *testing.T) {
	at, text, ok := cutStamp("2026-05-28T12:42:13.123456Z a line")
	if !ok || text != "a line" || at.Year() != 2026 || at.Nanosecond() != 123456000 {
		t.Errorf("%v %q %v", at, text, ok)
	}
	for _, line := range []string{"", "nothing", "no stamp", "2026-05-28 12:42 a line"} {
		if _, _, ok := cutStamp(line); ok {
			t.Errorf("%q has a stamp", line)
		}
	}
}

func TestMailboxKeepsOrderAndLosesNothing(t *testing.T) {
	m := newMailbox()
	const posters, each = 8, 500
	var got [posters][]int // of the loop
	var loop, wg sync.WaitGroup
	over := false
	loop.Go(func() {
		for !over {
			for _, f := range m.take() {
				f()
			}
		}
	})
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				if !m.post(func() { got[p] = append(got[p], i) }) {
					t.Error("refused while open")
				}
			}
		})
	}
	wg.Wait()
	if !m.last(func() { over = true }) || m.last(func() {}) || m.post(func() {}) {
		t.Error("it is not closed by the last post")
	}
	loop.Wait()
	for p := range posters {
		if len(got[p]) != each || !slices.IsSorted(got[p]) {
			t.Errorf("poster %d: %d posts were run", p, len(got[p]))
		}
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var admitted []int
		enter := func(n int) *ticket {
			x := g.enter(&wg, func() {
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
		wg.Wait()
		if len(g.tokens) != 0 {
			t.Errorf("%d tokens are kept", len(g.tokens))
		}
		if got := cap(newGate(0).tokens); got != 1 {
			t.Errorf("a gate of %d", got)
		}
	})
}

// TestGateUnderStorm: tickets that are left at any moment cost no token.
func TestGateUnderStorm(t *testing.T) {
	g := newGate(3)
	var entered, storm sync.WaitGroup
	for i := range 300 {
		storm.Go(func() {
			x := g.enter(&entered, func() {})
			for range i % 7 {
				x = x.again(g, &entered)
			}
			x.leave()
		})
	}
	storm.Wait()
	entered.Wait()
	if len(g.tokens) != 0 {
		t.Errorf("%d tokens are kept", len(g.tokens))
	}
}

// again gives a place up for another.
func (t *ticket) again(g *gate, wg *sync.WaitGroup) *ticket {
	defer t.leave()
	return g.enter(wg, func() {})
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

// TestRemains reads what a pipe has, waits for nothing, and ends with its turn.
func TestRemains(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(p[0]), "pipe")
	defer in.Close()
	conn, err := in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(p[1], []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(&remains{conn: conn, left: 4}); err != nil || string(got) != "0123" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := io.ReadAll(&remains{conn: conn, left: 100}); err != nil || string(got) != "456789" {
		t.Errorf("%q, %v", got, err)
	}
	in.Close()
	if _, err := io.ReadAll(&remains{conn: conn, left: 100}); err == nil {
		t.Error("read from a closed file")
	}
}

func TestAskGivesUp(t *testing.T) {
	s := &slot{mail: newMailbox(), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ctx, s, func() int { return 1 }); !errors.Is(err, context.Canceled) {
		t.Errorf("a loop that does not answer: %v", err)
	}
	s.mail.last(func() {})
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
		if sentence, hint := next(tt.g, now); sentence != tt.sentence || hint != tt.hint {
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
