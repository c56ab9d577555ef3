package vitals

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
)

// fake is a source that says what it is told to.
type fake struct {
	fleet func(context.Context) (api.Fleet, error)
	live  func(context.Context) (api.Health, error)
	ready func(context.Context) (api.Health, error)
}

var (
	_ Source = (*fake)(nil)
	_ Source = (*client.Client)(nil) // the dashboard's
)

func (f *fake) Fleet(ctx context.Context) (api.Fleet, error) { return f.fleet(ctx) }
func (f *fake) Live(ctx context.Context) (api.Health, error) { return f.live(ctx) }

func (f *fake) Ready(ctx context.Context) (api.Health, error) { return f.ready(ctx) }

func fine() *fake {
	ok := func(context.Context) (api.Health, error) { return api.Health{OK: true}, nil }
	return &fake{fleet: func(context.Context) (api.Fleet, error) { return *example(), nil }, live: ok, ready: ok}
}

func ask(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w
}

// TestPaths: three of them, to be read and nothing else.
func TestPaths(t *testing.T) {
	h := NewHandler(fine())
	for _, tt := range []struct {
		method, path string
		status       int
		kind, want   string
	}{
		{"GET", "/livez", 200, "application/json", `{"ok":true}` + "\n"},
		{"GET", "/readyz", 200, "application/json", `{"ok":true}` + "\n"},
		{"GET", "/metrics", 200, contentType, "hermes_up 1\n"},
		{"GET", "/metrics?x=1", 200, contentType, "hermes_up 1\n"},
		{"HEAD", "/livez", 200, "application/json", ""},
		{"POST", "/livez", 405, "text/plain; charset=utf-8", "only GET and HEAD"},
		{"DELETE", "/metrics", 405, "text/plain; charset=utf-8", "only GET and HEAD"},
		{"OPTIONS", "/readyz", 405, "text/plain; charset=utf-8", "only GET and HEAD"},
		{"GET", "/", 404, "text/plain; charset=utf-8", "/metrics"},
		{"GET", "/livez/", 404, "text/plain; charset=utf-8", "/livez"},
		{"GET", "/v1/fleet", 404, "text/plain; charset=utf-8", "nothing else"},
		{"GET", "/debug/pprof/", 404, "text/plain; charset=utf-8", "nothing else"},
		{"POST", "/", 404, "text/plain; charset=utf-8", "nothing else"},
	} {
		w := ask(t, h, tt.method, tt.path)
		if w.Code != tt.status || w.Header().Get("Content-Type") != tt.kind || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: %d %v %s", tt.method, tt.path, w.Code, w.Header(), w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %v", tt.method, tt.path, w.Header())
		}
		if allow := w.Header().Get("Allow"); tt.status == 405 && allow != "GET, HEAD" {
			t.Errorf("%s %s: Allow: %q", tt.method, tt.path, allow)
		}
	}
}

// TestHealths: every reason, and that nobody can be asked, is in the answer.
func TestHealths(t *testing.T) {
	parked := api.Condition{Profile: "coder", Code: "gateway_parked", Message: "gateway-coder is parked: exit 78", Hint: "hermes why coder"}
	silent := fault.New(fault.NoAnswer, "the supervisor of /h does not answer").WithHint("docker restart c")
	for name, tt := range map[string]struct {
		health api.Health
		err    error
		want   api.Health
	}{
		"not ready":   {health: api.Health{Conditions: []api.Condition{parked}}, want: api.Health{Conditions: []api.Condition{parked}}},
		"no answer":   {err: silent, want: api.Health{Conditions: []api.Condition{{Code: "supervisor_silent", Message: silent.Msg, Hint: silent.Hint}}}},
		"out of time": {err: context.DeadlineExceeded, want: api.Health{Conditions: []api.Condition{{Code: "supervisor_silent", Message: "the supervisor does not answer in time"}}}},
		"a bug":       {err: errors.New("nil pointer in x.go"), want: api.Health{Conditions: []api.Condition{{Code: "internal", Message: "the supervisor cannot be asked"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			source := fine()
			source.ready = func(context.Context) (api.Health, error) { return tt.health, tt.err }
			source.live = source.ready
			for _, path := range []string{PathLive, PathReady} {
				w := ask(t, NewHandler(source), http.MethodGet, path)
				var got api.Health
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusServiceUnavailable {
					t.Fatalf("%s: %d %s, %v", path, w.Code, w.Body, err)
				}
				if got.OK || len(got.Conditions) != 1 || got.Conditions[0] != tt.want.Conditions[0] {
					t.Errorf("%s: %+v", path, got)
				}
			}
		})
	}
}

// TestHealthInTime: a source that hangs is an answer, too.
func TestHealthInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := fine()
		source.ready = func(ctx context.Context) (api.Health, error) {
			<-ctx.Done()
			return api.Health{}, ctx.Err()
		}
		began := time.Now()
		w := ask(t, NewHandler(source), http.MethodGet, PathReady)
		if took := time.Since(began); took != answerIn || w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d after %v", w.Code, took)
		}
	})
}

// TestNoFleet: that nobody answers is a number, not an error of the scrape.
func TestNoFleet(t *testing.T) {
	source := fine()
	source.fleet = func(context.Context) (api.Fleet, error) { return api.Fleet{}, fault.New(fault.NoAnswer, "gone") }
	w := ask(t, NewHandler(source), http.MethodGet, PathMetrics)
	if w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), "\nhermes_up 0\n") || strings.Contains(w.Body.String(), "gateway") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestScrapesShareASnapshot: the fleet is asked for once a second, however many
// scrape it and however long it takes.
func TestScrapesShareASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, atOnce atomic.Int32
		source := fine()
		source.fleet = func(context.Context) (api.Fleet, error) {
			if atOnce.Add(1) > 1 {
				t.Error("asked for twice at a time")
			}
			defer atOnce.Add(-1)
			<-time.After(300 * time.Millisecond)
			return api.Fleet{EngineRestarts: int(asked.Add(1))}, nil
		}
		h := NewHandler(source)
		scrape := func(want string) {
			if w := ask(t, h, http.MethodGet, PathMetrics); !strings.Contains(w.Body.String(), "hermes_engine_restarts_total "+want+"\n") {
				t.Errorf("not %s: %s", want, w.Body)
			}
		}
		for range 50 {
			go scrape("1")
		}
		<-time.After(310 * time.Millisecond)
		synctest.Wait()
		scrape("1")
		<-time.After(fresh)
		scrape("2")
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestALeavingScraperTakesNothingAlong: others wait for the same snapshot.
func TestALeavingScraperTakesNothingAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := fine()
		source.fleet = func(ctx context.Context) (api.Fleet, error) {
			select {
			case <-time.After(time.Second):
				return *example(), nil
			case <-ctx.Done():
				return api.Fleet{}, ctx.Err()
			}
		}
		s := newSheet(source)
		gone, cancel := context.WithCancel(t.Context())
		go func() { _, _ = s.text(gone) }()
		synctest.Wait()
		cancel()
		text, err := s.text(t.Context())
		if err != nil || !strings.Contains(string(text), "hermes_up 1\n") {
			t.Errorf("%v: %s", err, text)
		}
	})
}

// TestScrapesInTime: behind a fleet that hangs nobody waits for ever.
func TestScrapesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := fine()
		source.fleet = func(ctx context.Context) (api.Fleet, error) {
			<-ctx.Done()
			return api.Fleet{}, ctx.Err()
		}
		h := NewHandler(source)
		began := time.Now()
		first := make(chan *httptest.ResponseRecorder)
		go func() { first <- ask(t, h, http.MethodGet, PathMetrics) }()
		<-time.After(time.Second)
		if w := ask(t, h, http.MethodGet, PathMetrics); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "hermes_up 0\n") {
			t.Errorf("the second: %d %s", w.Code, w.Body)
		}
		if w := <-first; !strings.Contains(w.Body.String(), "hermes_up 0\n") {
			t.Errorf("the first: %d %s", w.Code, w.Body)
		}
		if took := time.Since(began); took != answerIn {
			t.Errorf("after %v", took)
		}
	})
}
