package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
)

// browser reads a stream. It is a ResponseWriter whose reader may be slow.
type browser struct {
	http.ResponseWriter
	mu     sync.Mutex // guards all below
	text   strings.Builder
	blocks chan struct{} // writes wait until it is closed; nil: they do not
}

func (b *browser) Header() http.Header { return http.Header{} }
func (b *browser) WriteHeader(int)     {}
func (b *browser) Flush()              {}

func (b *browser) Write(p []byte) (int, error) {
	b.mu.Lock()
	blocks := b.blocks
	b.mu.Unlock()
	if blocks != nil {
		<-blocks
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// data are the messages of a kind that came.
func data[T any](t *testing.T, b *browser, kind string) (all []T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := bufio.NewScanner(strings.NewReader(b.text.String()))
	name := ""
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = v
		}
		v, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || name != kind {
			continue
		}
		var one T
		if err := json.Unmarshal([]byte(v), &one); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
		all = append(all, one)
	}
	return all
}

// watch opens a stream; it ends with the bubble's context.
func watch(ctx context.Context, d *Dashboard, path string) (b *browser, done chan struct{}) {
	b, done = &browser{}, make(chan struct{})
	go func() {
		defer close(done)
		d.ServeHTTP(b, httptest.NewRequestWithContext(ctx, "GET", path, nil))
	}()
	return b, done
}

// in runs a test in a bubble with a dashboard of e.
func in(t *testing.T, e *engine, f func(t *testing.T, d *Dashboard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e.happened = make(chan api.Event) // of this bubble: others let no time pass
		f(t, start(t, e, nil))
	})
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// Only what changed is sent, and within a quarter of a second of the event.
func TestStream(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, d *Dashboard) {
		pass(time.Second)
		_, _, seq := d.hub.now()
		b, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", seq))
		pass(5 * time.Second)
		if got := data[update](t, b, "fleet"); len(got) != 0 {
			t.Errorf("nothing happened, and it says %+v", got)
		}
		e.set(func(f *api.Fleet) { f.Gateways[1].State, f.Gateways[1].Reason = "backoff", "SIGKILL" })
		e.happened <- api.Event{}
		pass(calm + pollLeast)
		got := data[update](t, b, "fleet")
		if len(got) != 1 || len(got[0].Set) != 1 || got[0].Set[0].Profile != "coder" || got[0].Set[0].Reason != "SIGKILL" || got[0].Full || got[0].Head == nil || got[0].Head.Counts.Backoff != 1 {
			t.Fatalf("got %+v", got)
		}
		e.set(func(f *api.Fleet) { f.Gateways = f.Gateways[1:] })
		e.happened <- api.Event{}
		pass(time.Second)
		if got = data[update](t, b, "fleet"); len(got) != 2 || len(got[1].Gone) != 1 || got[1].Gone[0] != "broken" || len(got[1].Set) != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// Who comes back is told what happened meanwhile, and everything if what it
// knows is of another life.
func TestStreamResumes(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, d *Dashboard) {
		pass(time.Second)
		_, _, seq := d.hub.now()
		e.set(func(f *api.Fleet) { f.Gateways[0].State = "running" })
		d.hub.soon()
		pass(time.Second)
		for _, since := range []uint64{0, 5, seq, seq + 1e9} {
			b, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", since))
			pass(time.Second)
			got := data[update](t, b, "fleet")
			if full := since != seq; len(got) != 1 || got[0].Full != full || full && len(got[0].Set) != 3 || !full && len(got[0].Set) != 1 {
				t.Errorf("since %d: %+v", since, got)
			}
		}
		b, _ := watch(t.Context(), d, "/events?profile=coder&since=0")
		pass(time.Second)
		if got := data[update](t, b, "fleet"); len(got) != 1 || len(got[0].Set) != 1 || got[0].Set[0].Profile != "coder" {
			t.Errorf("of one: %+v", got)
		}
	})
}

// A browser that does not read keeps nobody waiting, and is told the end of it
// all at once.
func TestStreamToASlowBrowser(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, d *Dashboard) {
		pass(time.Second)
		_, _, seq := d.hub.now()
		slow, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", seq))
		quick, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", seq))
		pass(time.Second)
		slow.mu.Lock()
		slow.blocks = make(chan struct{})
		slow.mu.Unlock()
		for i := range 20 {
			e.set(func(f *api.Fleet) { f.Gateways[1].Restarts = i + 1 })
			e.happened <- api.Event{}
			pass(time.Second)
		}
		if got := data[update](t, quick, "fleet"); len(got) != 20 {
			t.Errorf("%d updates for who reads", len(got))
		}
		close(slow.blocks)
		pass(time.Second)
		got := data[update](t, slow, "fleet")
		if len(got) != 2 || got[1].Set[0].Restarts != 20 {
			t.Errorf("%d updates for who does not: %+v", len(got), got)
		}
	})
}

// Changes that come fast are sent together.
func TestStreamIsCalm(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, d *Dashboard) {
		pass(time.Second)
		_, _, seq := d.hub.now()
		b, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", seq))
		pass(time.Second)
		asked := e.questions()
		for i := range 1000 {
			e.set(func(f *api.Fleet) { f.Gateways[1].Restarts = i + 1 })
			e.happened <- api.Event{}
			pass(time.Millisecond)
		}
		if got := data[update](t, b, "fleet"); len(got) > int(time.Second/calm)+2 {
			t.Errorf("%d updates in a second", len(got))
		}
		if n := e.questions() - asked; n > int(time.Second/pollLeast)+2 {
			t.Errorf("the engine was asked %d times in a second", n)
		}
	})
}

// Without anybody who looks the engine is left in peace, but for the charts.
func TestIdle(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, _ *Dashboard) {
		pass(time.Minute)
		before := e.questions()
		pass(10 * time.Minute)
		if n := e.questions() - before; n > 60 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// An engine that is away is told, with what was known, and so is its return and
// that it is another one.
func TestEngineAway(t *testing.T) {
	e := three()
	in(t, e, func(t *testing.T, d *Dashboard) {
		pass(time.Second)
		_, _, seq := d.hub.now()
		b, _ := watch(t.Context(), d, fmt.Sprintf("/events?since=%d", seq))
		e.fail(fault.New(fault.NoAnswer, "the supervisor does not answer").WithHint("hermes up"))
		away := time.Now()
		pass(time.Second)
		got := data[update](t, b, "fleet")
		if len(got) != 1 || got[0].Head == nil || got[0].Head.Away < away.UnixMilli() || got[0].Head.Hint != "hermes up" || !got[0].Head.Known || got[0].Head.Counts.All != 3 || got[0].Head.NewEngine != 0 {
			t.Fatalf("away: %+v", got)
		}
		_, page := get(t, d, "/")
		mustContain(t, "the page meanwhile", page, `<div id="away" class="banner bad" role="alert">`, "the supervisor does not answer", `id="gw-coder"`, "hermes up")
		status, page := get(t, d, "/profile/coder")
		if status != http.StatusOK {
			t.Errorf("the profile's page meanwhile: %d", status)
		}
		mustContain(t, "the profile's page meanwhile", page, `<b id="state-word">running</b>`, "the supervisor does not answer")
		e.fail(nil)
		e.set(func(f *api.Fleet) { f.EnginePID = 13 })
		pass(time.Second)
		got = data[update](t, b, "fleet")
		if last := got[len(got)-1]; last.Head == nil || last.Head.Away != 0 || last.Head.NewEngine == 0 || last.Head.EnginePID != 13 || len(last.Set) != 0 {
			t.Errorf("back: %+v", last)
		}
	})
}

// A log comes in batches, goes on over the end of an engine, and skips what
// nobody could read.
func TestLogStream(t *testing.T) {
	e := three()
	readings := 0
	e.lines = func(ctx context.Context, q client.LogQuery, each func(string) error) error {
		if !q.Follow {
			return nil
		}
		readings++
		for i := range 3 * readings {
			if err := each(fmt.Sprintf("2026-11-23T12:00:%02d.000000Z <b>", i)); err != nil {
				return err
			}
		}
		if readings == 1 {
			return fault.New(fault.NoAnswer, "the engine ended")
		}
		for i := range 5 * logKept {
			if err := each(fmt.Sprintf("2026-11-23T12:01:00.%06dZ much", i)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
	in(t, e, func(t *testing.T, d *Dashboard) {
		b, _ := watch(t.Context(), d, "/profile/coder/log")
		pass(logAgain / 2)
		got := data[logBatch](t, b, "log")
		if len(got) != 1 || !got[0].Reset || len(got[0].Lines) != 3 || got[0].Error != "the engine ended" {
			t.Fatalf("at first: %+v", got)
		}
		pass(5 * time.Second)
		lines, skipped := 0, 0
		for _, batch := range data[logBatch](t, b, "log")[1:] {
			if len(batch.Lines) > logKept || batch.Reset || batch.Error != "" {
				t.Errorf("a batch of %d lines, %+v", len(batch.Lines), batch.Error)
			}
			lines, skipped = lines+len(batch.Lines), skipped+batch.Skipped
		}
		if lines < logKept || lines+skipped != 3+5*logKept { // three of the six were shown before
			t.Errorf("%d lines and %d skipped", lines, skipped)
		}
	})
}

// The number of streams is bounded, and they end with the dashboard.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := three()
		d := New(Options{Connect: e.connect, Logger: discard()})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- d.Run(ctx) }()
		gone, leave := context.WithCancel(t.Context())
		_, left := watch(gone, d, "/events")
		var open []chan struct{}
		for range maxStreams - 1 {
			_, done := watch(t.Context(), d, "/events")
			open = append(open, done)
		}
		synctest.Wait()
		if status, _ := get(t, d, "/events"); status != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d", status)
		}
		if status, _ := get(t, d, "/profile/coder/log"); status != http.StatusServiceUnavailable {
			t.Errorf("a log too many: %d", status)
		}
		leave()
		<-left
		_, done := watch(t.Context(), d, "/profile/coder/log")
		open = append(open, done)
		pass(time.Second)
		cancel()
		for _, done := range open {
			<-done
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

func TestWordsOfErrors(t *testing.T) {
	if msg, hint := words(fmt.Errorf("wrapped: %w", fault.New(fault.Usage, "no").WithHint("yes"))); msg != "no" || hint != "yes" {
		t.Errorf("%q %q", msg, hint)
	}
	if msg, _ := words(context.DeadlineExceeded); msg != "the engine does not answer" {
		t.Errorf("%q", msg)
	}
	if msg, _ := words(errors.New("x")); msg != "internal error: x" {
		t.Errorf("%q", msg)
	}
}
