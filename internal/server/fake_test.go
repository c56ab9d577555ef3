package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hermes/api"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// TestMain also lets the test binary be a client of another uid.
func TestMain(m *testing.M) {
	if sock := os.Getenv("SERVER_TEST_SOCKET"); sock != "" {
		os.Exit(getAs(sock, os.Getenv("SERVER_TEST_PATH")))
	}
	goleak.VerifyTestMain(m)
}

// backend is a fleet of one gateway, "coder", whose actions do what the test
// says.
type backend struct {
	mu   sync.Mutex // guards said
	said []string
	// act is what every action does; nil succeeds at once.
	act  func(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error)
	all  func(ctx context.Context, each func(api.ActionResult)) error
	bad  error // what the reads fail with
	sick bool
	rows []api.Gateway // of the fleet; nil for coder alone
	log  *event.Log    // of events; nil: none happens
	// show is what Log does; nil emits two lines.
	show func(ctx context.Context, lines int, follow bool, emit func(string) error) error
}

var (
	_ Fleet    = (*backend)(nil)
	_ Operator = (*backend)(nil)
	_ Profiles = (*backend)(nil)
	_ Planner  = (*backend)(nil)
	_ Events   = (*backend)(nil)

	_ Inspector = (*backend)(nil)
)

func (b *backend) Page(q event.Query) api.EventList {
	if b.log == nil {
		return api.EventList{Events: []api.Event{}}
	}
	return b.log.Page(q)
}

func (b *backend) Next(ctx context.Context, q event.Query) (api.EventList, error) {
	if b.log == nil {
		<-ctx.Done()
		return api.EventList{}, ctx.Err()
	}
	return b.log.Next(ctx, q)
}

func (b *backend) say(words ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line, _ := json.Marshal(words)
	b.said = append(b.said, string(line))
}

func (b *backend) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.said...)
}

func (b *backend) Fleet(context.Context) (api.Fleet, error) {
	rows := b.rows
	if rows == nil {
		rows = []api.Gateway{coder("running")}
	}
	return api.Fleet{Engine: "native", Gateways: rows}, b.bad
}

func (b *backend) Gateway(_ context.Context, name profile.Name) (api.Gateway, error) {
	if name != "coder" {
		return api.Gateway{}, fault.NotRegistered(string(name))
	}
	return coder("running"), b.bad
}

func (b *backend) Why(_ context.Context, name profile.Name) (api.Why, error) {
	if name != "coder" {
		return api.Why{}, fault.NotRegistered(string(name))
	}
	return api.Why{Gateway: coder("running"), Next: "nothing"}, b.bad
}

func (b *backend) Exits(_ context.Context, name profile.Name) (api.ExitList, error) {
	if name != "coder" {
		return api.ExitList{}, fault.NotRegistered(string(name))
	}
	return api.ExitList{Exits: []api.Exit{{Code: new(3)}}}, b.bad
}

func (b *backend) Config(_ context.Context, name profile.Name) (api.Config, error) {
	if name != "coder" {
		return api.Config{}, fault.NotRegistered(string(name))
	}
	return api.Config{Profile: "coder"}, b.bad
}

func (b *backend) Log(ctx context.Context, name profile.Name, lines int, follow bool, emit func(string) error) error {
	switch {
	case name != "coder":
		return fault.NotRegistered(string(name))
	case b.show != nil:
		return b.show(ctx, lines, follow, emit)
	case b.bad != nil:
		return b.bad
	}
	return errors.Join(emit("one"), emit("two"))
}

func (b *backend) Live(context.Context) api.Health { return api.Health{OK: !b.sick} }

func (b *backend) Ready(context.Context) api.Health {
	if b.sick {
		return api.Health{Conditions: []api.Condition{{Profile: "coder", Code: "parked", Message: "exit 78"}}}
	}
	return api.Health{OK: true}
}

func (b *backend) do(ctx context.Context, what string, name profile.Name, r profile.Request) (api.ActionResult, error) {
	b.say(what, name, r)
	if b.act == nil {
		return api.ActionResult{Gateway: coder(what)}, nil
	}
	return b.act(ctx, name, r)
}

func (b *backend) Start(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return b.do(ctx, "start", name, r)
}

func (b *backend) Stop(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return b.do(ctx, "stop", name, r)
}

func (b *backend) Restart(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return b.do(ctx, "restart", name, r)
}

func (b *backend) All(ctx context.Context, action string, r profile.Request, each func(api.ActionResult)) error {
	b.say("all", action, r)
	return b.all(ctx, each)
}

func (b *backend) RestartDashboard(_ context.Context, r profile.Request) (api.Dashboard, error) {
	b.say("restart dashboard", r)
	return api.Dashboard{Slot: "dashboard", State: "running"}, b.bad
}

func (b *backend) Create(_ context.Context, name profile.Name, by string) (api.Profile, error) {
	b.say("create", name, by)
	return api.Profile{Name: string(name)}, b.bad
}

func (b *backend) Delete(_ context.Context, name profile.Name, by string) error {
	b.say("delete", name, by)
	return b.bad
}

func (b *backend) Rename(_ context.Context, from, to profile.Name, by string) (api.Profile, error) {
	b.say("rename", from, to, by)
	return api.Profile{Name: string(to)}, b.bad
}

func (b *backend) List(context.Context) ([]api.Profile, error) {
	return []api.Profile{{Name: "coder"}}, b.bad
}

func (b *backend) Plan(context.Context) ([]string, error) {
	return []string{"profile=coder action=started"}, b.bad
}

func coder(state string) api.Gateway {
	return api.Gateway{Profile: "coder", Slot: "gateway-coder", State: state}
}

// logs is a log the test can read while it is written.
type logs struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// running is a server under test.
type running struct {
	socket string
	logs   *logs
	client *http.Client
	stop   context.CancelFunc
	done   chan error // Run's result, once
}

// serve runs a server over a real socket until the test ends.
func serve(t *testing.T, b *backend, adjust func(*Options), tune ...func(*Server)) *running {
	t.Helper()
	dir := t.TempDir()
	rn := &running{socket: filepath.Join(dir, "s"), logs: &logs{}, done: make(chan error, 1)}
	l, err := net.Listen("unix", rn.socket)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Listener: l, Fleet: b, Inspector: b, Operator: b, Profiles: b, Planner: b, Events: b,
		Allowed: AllowUIDs(uint32(os.Geteuid())), UID: 10000,
		Logger: slog.New(slog.NewTextHandler(rn.logs, nil)),
	}
	if adjust != nil {
		adjust(&o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rn.stop = cancel
	s := New(o)
	for _, f := range tune {
		f(s)
	}
	go func() { rn.done <- s.Run(ctx) }()
	rn.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", rn.socket)
		},
	}}
	t.Cleanup(func() {
		rn.client.CloseIdleConnections()
		rn.stop()
		rn.wait(t)
	})
	return rn
}

// wait checks that Run returned, without an error; it may be called again.
func (rn *running) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-rn.done:
		rn.done <- nil
		if err != nil {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not return")
	}
}

// ask makes one request and returns status and body.
func (rn *running) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://hermes"+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rn.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// eventually polls until ok, without which the test fails.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
