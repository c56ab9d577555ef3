package dashboard

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a control API over a fleet in memory.
type engine struct {
	mu    sync.Mutex // guards all below
	fleet api.Fleet
	bad   error // what everything fails with
	asked int   // for the fleet
	said  []string
	act   func(ctx context.Context, verb, name string) (api.ActionResult, error)
	exits []api.Exit
	cfg   api.Config
	past  []api.Event
	// happened gets what happens from now on; nil: events are not told.
	happened chan api.Event
	// lines does what Log does; nil has two lines and ends with its context.
	lines func(ctx context.Context, q client.LogQuery, each func(string) error) error
}

var _ Control = (*engine)(nil)

func (e *engine) connect(by string) (Control, error) {
	return &caller{e, by}, nil
}

// caller is the engine as somebody uses it.
type caller struct {
	*engine
	by string
}

func (e *engine) set(change func(*api.Fleet)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gateways := append([]api.Gateway(nil), e.fleet.Gateways...)
	e.fleet.Gateways = gateways
	change(&e.fleet)
}

func (e *engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad = err
}

func (e *engine) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.said...)
}

func (e *engine) questions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

func (e *engine) Fleet(context.Context) (api.Fleet, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	return e.fleet, e.bad
}

func (e *engine) gateway(name string) (api.Gateway, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.fleet.Gateways {
		if g.Profile == name && e.bad == nil {
			return g, nil
		}
	}
	if e.bad != nil {
		return api.Gateway{}, e.bad
	}
	return api.Gateway{}, fault.NotRegistered(name)
}

func (e *engine) Why(_ context.Context, name string) (api.Why, error) {
	g, err := e.gateway(name)
	return api.Why{Gateway: g, Next: "nothing: it runs as wanted"}, err
}

func (e *engine) Exits(_ context.Context, name string) ([]api.Exit, error) {
	_, err := e.gateway(name)
	return e.exits, err
}

func (e *engine) Config(_ context.Context, name string) (api.Config, error) {
	_, err := e.gateway(name)
	return e.cfg, err
}

func (e *engine) ListEvents(_ context.Context, q client.EventQuery) (api.EventList, error) {
	_, err := e.gateway(q.Profile)
	return api.EventList{Events: e.past}, err
}

func (e *engine) Events(ctx context.Context, _ uint64, _ string) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		for {
			select {
			case x, ok := <-e.happened:
				if !ok {
					yield(x, fault.New(fault.NoAnswer, "the engine ended"))
					return
				}
				if !yield(x, nil) {
					return
				}
			case <-ctx.Done():
				yield(api.Event{}, ctx.Err())
				return
			}
		}
	}
}

func (e *engine) Log(ctx context.Context, name string, q client.LogQuery, each func(string) error) error {
	if _, err := e.gateway(name); err != nil {
		return err
	}
	if e.lines != nil {
		return e.lines(ctx, q, each)
	}
	for _, line := range []string{"one", "two"} {
		if err := each("2026-11-23T12:00:00.000000Z " + line); err != nil {
			return err
		}
	}
	if q.Follow {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (c *caller) do(ctx context.Context, verb, name string, r api.ActionRequest) (api.ActionResult, error) {
	c.mu.Lock()
	c.said = append(c.said, fmt.Sprint(verb, " ", name, " by ", c.by, r.By))
	act := c.act
	c.mu.Unlock()
	if act != nil {
		return act(ctx, verb, name)
	}
	g, err := c.gateway(name)
	return api.ActionResult{Gateway: g}, err
}

func (c *caller) Start(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.do(ctx, "start", name, r)
}

func (c *caller) Stop(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.do(ctx, "stop", name, r)
}

func (c *caller) Restart(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.do(ctx, "restart", name, r)
}

func (c *caller) CreateProfile(_ context.Context, name string) (api.Profile, error) {
	return c.profile("create "+name, name, name)
}

func (c *caller) RenameProfile(_ context.Context, from, to string) (api.Profile, error) {
	return c.profile("rename "+from+" "+to, from, to)
}

func (c *caller) DeleteProfile(_ context.Context, name string) error {
	_, err := c.profile("delete "+name, name, "")
	return err
}

// profile replaces from by to.
func (c *caller) profile(what, from, to string) (api.Profile, error) {
	c.mu.Lock()
	c.said = append(c.said, what+" by "+c.by)
	bad := c.bad
	c.mu.Unlock()
	if bad != nil {
		return api.Profile{}, bad
	}
	c.set(func(f *api.Fleet) {
		kept := f.Gateways[:0:0]
		for _, g := range f.Gateways {
			if g.Profile != from {
				kept = append(kept, g)
			}
		}
		if to != "" {
			kept = append(kept, gateway(to, "stopped", "stopped"))
		}
		f.Gateways = kept
	})
	return api.Profile{Name: to}, nil
}

func (e *engine) CreateProfile(context.Context, string) (api.Profile, error) { panic("by nobody") }
func (e *engine) RenameProfile(context.Context, string, string) (api.Profile, error) {
	panic("by nobody")
}
func (e *engine) DeleteProfile(context.Context, string) error { panic("by nobody") }
func (e *engine) Start(context.Context, string, api.ActionRequest) (api.ActionResult, error) {
	panic("by nobody")
}

func (e *engine) Stop(context.Context, string, api.ActionRequest) (api.ActionResult, error) {
	panic("by nobody")
}

func (e *engine) Restart(context.Context, string, api.ActionRequest) (api.ActionResult, error) {
	panic("by nobody")
}

func gateway(name, intent, state string) api.Gateway {
	g := api.Gateway{
		Profile: name, Slot: "gateway-" + name, Intent: intent, IntentBy: "cli uid 0", State: state, Health: "unknown",
		Since: new(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)), Port: 9300,
	}
	if state == "running" {
		g.PID, g.Health, g.MemoryBytes = 4711, "ok", 38<<20
	}
	return g
}

// three is the demonstration's fleet: one runs, one is stopped, one is parked.
func three() *engine {
	parked := gateway("broken", "running", "parked")
	parked.Reason, parked.Restarts = "exit 78: no API key", 0
	return &engine{fleet: api.Fleet{
		Manager: "native (host supervisor)", Engine: "native", Home: "/opt/data", EnginePID: 12, Version: "1.2.3",
		Gateways: []api.Gateway{parked, gateway("coder", "running", "running"), gateway("default", "stopped", "stopped")},
	}}
}

// many is a fleet of n gateways, of which one in fifty is not as wanted.
func many(n int) *engine {
	e := three()
	e.fleet.Gateways = nil
	for i := range n {
		g := gateway(fmt.Sprintf("agent-%04d", i), "running", "running")
		if i%50 == 49 {
			g = gateway(g.Profile, "running", "backoff")
			g.Reason, g.NextRetryAt = "exit 1", new(time.Now().Add(4*time.Second))
		}
		e.fleet.Gateways = append(e.fleet.Gateways, g)
	}
	return e
}

// start runs a dashboard of e until the test ends.
func start(t testing.TB, e *engine, adjust func(*Options)) *Dashboard {
	t.Helper()
	o := Options{Connect: e.connect, Logger: discard()}
	if adjust != nil {
		adjust(&o)
	}
	d := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return d
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// get asks for a page.
func get(t testing.TB, d http.Handler, path string) (status int, body string) {
	t.Helper()
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	return rec.Code, rec.Body.String()
}

// mustContain checks for words of a page.
func mustContain(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q", what, w)
		}
	}
}

func noticeOf(text string) api.Notice { return api.Notice{Code: text, Message: text, Hint: text} }

func configOf(text string) api.Config {
	return api.Config{
		Title: text, Path: text, Warnings: []string{text},
		Settings:    []api.Setting{{Name: text, Value: text, From: text}},
		Environment: []api.Variable{{Name: text, Value: text, From: text}, {Name: text, Hidden: true}},
	}
}

func exitsOf(text string) []api.Exit { return []api.Exit{{Signal: text, Reason: text, At: time.Now()}} }

func eventsOf(text string) []api.Event {
	return []api.Event{{ID: 1, Kind: text, From: text, To: text, By: text, Cause: text}}
}
