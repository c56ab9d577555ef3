package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hermes/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing here takes long.
const patience = 10 * time.Second

// until polls cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// wait waits for a channel.
func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
		panic("not reached")
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// shortLimits are those of impatient tests.
func shortLimits() limits {
	l := defaultLimits()
	l.keepAlive, l.retryWait, l.silence = patience, time.Millisecond, patience
	return l
}

// api is a gateway's API on a listener of its own.
type api struct {
	t      *testing.T
	server *server
	url    string
	client *http.Client
	log    *syncBuffer
}

func newAPI(t *testing.T, s settings, change ...func(*server)) *api {
	t.Helper()
	if s.profile == "" {
		s.profile = "coder"
	}
	a := &api{t: t, log: &syncBuffer{}}
	a.server = newServer(s, "1.2.3", slog.New(slog.NewTextHandler(a.log, nil)))
	a.server.limits = shortLimits()
	for _, c := range change {
		c(a.server)
	}
	srv := httptest.NewServer(a.server)
	a.url, a.client = srv.URL, srv.Client()
	a.client.Timeout = 2 * patience
	t.Cleanup(func() {
		srv.Close()
		a.server.close()
	})
	return a
}

// upstreamAPI is a gateway over a provider that is this handler.
func upstreamAPI(t *testing.T, key config.Secret, h http.HandlerFunc, change ...func(*upstream)) *api {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	u, err := newUpstream(srv.URL+"/v1/", "real-model", key, "I am the soul.")
	if err != nil {
		t.Fatal(err)
	}
	u.limits, u.keyFix = shortLimits(), "mend the key"
	for _, c := range change {
		c(u)
	}
	return newAPI(t, settings{provider: u}, func(s *server) { s.limits = u.limits })
}

// do sends a request; header is "Name: value" lines.
func (a *api) do(method, path, body string, header ...string) *http.Response {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		if k == "Host" {
			req.Host = v
		} else {
			req.Header.Set(k, v)
		}
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (a *api) chat(body string) *http.Response {
	a.t.Helper()
	return a.do(http.MethodPost, chatPath, body)
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wireError is an error as a client reads it.
type wireError struct {
	Error struct {
		Message, Type, Code string
		Param               *string
	}
}

// wantError checks status and code, and returns the message.
func wantError(t *testing.T, resp *http.Response, status int, code string) string {
	t.Helper()
	body := readAll(t, resp.Body)
	var e wireError
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%d, not an envelope: %q", resp.StatusCode, body)
	}
	if resp.StatusCode != status || e.Error.Code != code {
		t.Errorf("got %d %s, want %d %s: %s", resp.StatusCode, e.Error.Code, status, code, body)
	}
	if e.Error.Message == "" || e.Error.Type == "" {
		t.Errorf("an envelope without message or type: %s", body)
	}
	return e.Error.Message
}

// events splits a whole stream; comments are events with the name ":".
func events(t *testing.T, stream string) []event {
	t.Helper()
	var all []event
	for block := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		var e event
		for line := range strings.Lines(block + "\n") {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case strings.HasPrefix(line, "data: "):
				e.data = append(e.data, line[len("data: "):]...)
			case strings.HasPrefix(line, "event: "):
				e.name = line[len("event: "):]
			case strings.HasPrefix(line, ":"):
				e.name = ":"
			default:
				t.Errorf("a line that is no event's: %q", line)
			}
		}
		all = append(all, e)
	}
	return all
}

// lineReader reads a stream's lines as they come.
func lineReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

const hello = `{"model":"any","messages":[{"role":"user","content":"hello"}]}`

const helloStream = `{"model":"any","stream":true,"messages":[{"role":"user","content":"hello"}]}`

func delta(text string) string {
	quoted, _ := json.Marshal(text)
	return `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"real-model","choices":[{"index":0,"delta":{"content":` +
		string(quoted) + `},"finish_reason":null}]}` + "\n\n"
}

const finish = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"real-model","choices":[{"index":0,"delta":{},"finish_reason": "stop"}]}` + "\n\n"

const done = "data: [DONE]\n\n"

const whole = `{"id":"c","object":"chat.completion","created":1,"model":"real-model","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
