package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// running is a gateway in this process.
type running struct {
	*api
	dir     string
	notify  *net.UnixConn
	stop    context.CancelFunc
	hurry   chan struct{}
	ended   chan error
	options Options
}

// freePort is a port nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// prepareGateway makes a profile coder and what it takes to run it.
func prepareGateway(t *testing.T, configuration string, environ ...string) *running {
	t.Helper()
	home := newProfile(t, "coder", map[string]string{"config.yaml": configuration})
	// A socket's path has to be short.
	short, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	socket := filepath.Join(short, "n")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notify.Close() })
	port := freePort(t)
	g := &running{
		api: &api{t: t, url: "http://127.0.0.1:" + strconv.Itoa(port), client: &http.Client{Transport: &http.Transport{}, Timeout: 2 * patience}, log: &syncBuffer{}},
		dir: filepath.Join(home, "profiles", "coder"), notify: notify, hurry: make(chan struct{}), ended: make(chan error, 1),
	}
	t.Cleanup(g.client.CloseIdleConnections)
	g.options = Options{
		Profile: "coder", Dir: g.dir, Argv: []string{"hermes", "gateway", "run"}, Version: "1.2.3", Log: g.log, Hurry: g.hurry,
		Environ: append([]string{"API_SERVER_PORT=" + strconv.Itoa(port), "NOTIFY_SOCKET=" + socket}, environ...),
	}
	return g
}

// start runs the gateway and returns once it is ready.
func (g *running) start() *running {
	g.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	finished := make(chan struct{})
	go func() {
		g.ended <- Run(ctx, g.options)
		close(finished)
	}()
	g.t.Cleanup(func() {
		stop()
		wait(g.t, "end", finished)
	})
	if got := g.notice(); !strings.HasPrefix(got, "READY=1\n") {
		g.t.Fatalf("the first notice is %q", got)
	}
	return g
}

// notice is the next notification.
func (g *running) notice() string {
	g.t.Helper()
	b := make([]byte, 4096)
	_ = g.notify.SetReadDeadline(time.Now().Add(patience))
	n, err := g.notify.Read(b)
	if err != nil {
		select {
		case ended := <-g.ended:
			g.t.Fatalf("no notice: the gateway ended with %v\n%s", ended, g.log)
		default:
			g.t.Fatalf("no notice: %v\n%s", err, g.log)
		}
	}
	return string(b[:n])
}

// state is gateway_state.json.
func (g *running) state() map[string]any {
	g.t.Helper()
	return readJSON(g.t, filepath.Join(g.dir, "gateway_state.json"))
}

func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

func (g *running) wantState(state string) {
	g.t.Helper()
	if got := g.state()["gateway_state"]; got != state {
		g.t.Errorf("gateway_state is %v, want %s", got, state)
	}
}

func TestLifeOfAGateway(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}", "HERMES_SLOT_ID=gateway-coder.1", "API_SERVER_KEY="+testKey)
	writeFile(t, g.dir, "gateway_state.json", `{"desired_state":"running","gateway_state":"stopped","exit_reason":"old","pid":1}`)
	writeFile(t, g.dir, "gateway.pid", "1")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { g.ended <- Run(ctx, g.options) }()
	address := strings.TrimPrefix(g.url, "http://")
	if got, want := g.notice(), "READY=1\nSTATUS=listening on "+address+"\nX_HERMES_HEALTH=ok"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	readAll(t, g.do("POST", chatPath, hello, "Authorization: Bearer "+testKey).Body) // it listens
	self := float64(os.Getpid())
	state := g.state()
	for k, want := range map[string]any{
		"gateway_state": "running", "desired_state": "running", "pid": self, "kind": "hermes-gateway",
		"hermes_home": g.dir, "exit_reason": nil, "code_version": "1.2.3",
	} {
		if state[k] != want {
			t.Errorf("%s is %v, want %v", k, state[k], want)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, state["updated_at"].(string)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("updated_at: %v, %v", at, err)
	}
	for _, file := range []string{"gateway.pid", "gateway.lock"} {
		record := readJSON(t, filepath.Join(g.dir, file))
		if record["pid"] != self || record["kind"] != "hermes-gateway" || record["hermes_home"] != g.dir || record["start_time"] != state["start_time"] || record["start_time"] == 0.0 {
			t.Errorf("%s: %v", file, record)
		}
		if !slices.Equal(record["argv"].([]any), []any{"hermes", "gateway", "run"}) {
			t.Errorf("%s: argv %v", file, record["argv"])
		}
	}
	if held, pid, err := openProfile(t, filepath.Dir(filepath.Dir(g.dir)), "coder").GatewayLockHeld(); !held || pid != os.Getpid() || err != nil {
		t.Errorf("held %v by %d, %v", held, pid, err)
	}
	stop()
	if got := g.notice(); !strings.HasPrefix(got, "STOPPING=1\n") || !strings.HasSuffix(got, "\nX_HERMES_HEALTH=draining") {
		t.Errorf("got %q", got)
	}
	if err := wait(t, "end", g.ended); err != nil {
		t.Fatal(err)
	}
	g.wantState("stopped")
	if _, err := os.Stat(filepath.Join(g.dir, "gateway.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gateway.pid: %v", err)
	}
	if held, _, err := openProfile(t, filepath.Dir(filepath.Dir(g.dir)), "coder").GatewayLockHeld(); held || err != nil {
		t.Errorf("held %v after the end, %v", held, err)
	}
	if log := g.log.String(); strings.Contains(log, testKey) || strings.Contains(log, "time=") {
		t.Errorf("the log has a key, or a time beside the supervisor's:\n%s", log)
	}
}

func TestDegradedGateway(t *testing.T) {
	g := prepareGateway(t, "")
	ctx, stop := context.WithCancel(t.Context())
	go func() { g.ended <- Run(ctx, g.options) }()
	notice := g.notice()
	if !strings.HasPrefix(notice, "READY=1\n") || !strings.HasSuffix(notice, "\nX_HERMES_HEALTH=degraded") || !strings.Contains(notice, "model.base_url") || strings.Count(notice, "\n") != 2 {
		t.Errorf("got %q", notice)
	}
	g.wantState("degraded")
	message := wantError(t, g.chat(hello), 503, "no_provider")
	if !strings.Contains(message, filepath.Join(g.dir, "config.yaml")) || !strings.Contains(message, filepath.Join(g.dir, ".env")) {
		t.Errorf("got %s", message)
	}
	if log := g.log.String(); !strings.Contains(log, "no model provider") || !strings.Contains(log, "time=") {
		t.Errorf("the log:\n%s", log)
	}
	stop()
	if err := wait(t, "end", g.ended); err != nil {
		t.Error(err)
	}
}

func TestSecondGatewayIsRefused(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}").start()
	before := g.state()
	err := Run(t.Context(), g.options)
	f, ok := err.(*fault.Error)
	if !ok || f.Code != fault.GatewayHeld || f.Msg != "gateway-coder runs already, pid "+strconv.Itoa(os.Getpid()) || f.Hint != "hermes -p coder gateway run --replace" {
		t.Errorf("got %v", err)
	}
	if after := g.state(); after["updated_at"] != before["updated_at"] {
		t.Error("the second wrote the state of the first")
	}
	if _, err := os.Stat(filepath.Join(g.dir, "gateway.pid")); err != nil {
		t.Errorf("the second removed gateway.pid: %v", err)
	}
}

// Whoever asks whether a gateway lives takes the lock for a moment; that must
// not keep one from starting.
func TestAskingDoesNotPreventAStart(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}")
	fd, err := unix.Open(filepath.Join(g.dir, "gateway.lock"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	release := time.AfterFunc(30*time.Millisecond, func() { _ = unix.Flock(fd, unix.LOCK_UN) })
	defer release.Stop()
	g.start()
}

func TestStartFailures(t *testing.T) {
	other := newAPI(t, settings{profile: "writer", provider: echo{}})
	taken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok"}`) // healthy, and no gateway
	}))
	defer taken.Close()
	_, otherPort, _ := net.SplitHostPort(strings.TrimPrefix(other.url, "http://"))
	_, takenPort, _ := net.SplitHostPort(taken.Listener.Addr().String())
	for _, tt := range []struct {
		name, configuration string
		environ             []string
		code                fault.Code
		says                string
	}{
		{"no key", "gateway: {host: 0.0.0.0}", nil, fault.InvalidConfig, "API_SERVER_KEY is not set"},
		{"wrong config", "gateway: {prot: 1}", nil, fault.InvalidConfig, "gateway.prot"},
		{"a gateway's port", "", []string{"API_SERVER_PORT=" + otherPort}, fault.PortTaken, "port " + otherPort + " is taken: the gateway of profile 'writer' has it"},
		{"another's port", "", []string{"API_SERVER_PORT=" + takenPort}, fault.PortTaken, "port " + takenPort + " is taken: another program listens on it"},
		{"no address of ours", "gateway: {host: 192.0.2.1}", []string{"API_SERVER_KEY=" + testKey}, fault.GatewayFailed, "cannot assign requested address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := prepareGateway(t, tt.configuration)
			g.options.Environ = slices.Concat(tt.environ, g.options.Environ)
			err := Run(t.Context(), g.options)
			if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v", err)
			}
			state := g.state()
			if reason, _ := state["exit_reason"].(string); state["gateway_state"] != "startup_failed" || !strings.Contains(reason, tt.says) {
				t.Errorf("got %v", state)
			}
			if _, err := os.Stat(filepath.Join(g.dir, "gateway.pid")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("gateway.pid: %v", err)
			}
		})
	}
}

// A lock on a file that has lost its name keeps nobody out.
func TestLockFileThatLostItsName(t *testing.T) {
	path := t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, replaced := range []bool{false, true} {
		writeFile(t, path, "gateway.lock", "")
		file, err := dir.OpenFile("gateway.lock", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := os.Remove(filepath.Join(path, "gateway.lock")); err != nil {
			t.Fatal(err)
		}
		if replaced {
			writeFile(t, path, "gateway.lock", "")
		}
		if err := lockAndCheck(dir, file); !errors.Is(err, errLocked) {
			t.Errorf("replaced %v: got %v", replaced, err)
		}
	}
	l, err := tryLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.release()
}

func TestFilesThatCannotBe(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}")
	if err := os.Symlink("/etc/passwd", filepath.Join(g.dir, "gateway.lock")); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), g.options); fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a link as the lock: %v", err)
	}
	if err := os.Remove(filepath.Join(g.dir, "gateway.lock")); err != nil {
		t.Fatal(err)
	}
	// What cannot be written is told, and costs nobody an answer.
	for _, name := range []string{"gateway_state.json", "gateway.pid"} {
		if err := os.MkdirAll(filepath.Join(g.dir, name, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	if resp := g.chat(hello); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	for _, want := range []string{"state not written", "pid file not written"} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, g.log)
		}
	}
}

// Nobody hears it: that is no reason not to serve.
func TestNobodyToNotify(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}")
	_ = g.notify.Close()
	ctx, stop := context.WithCancel(t.Context())
	go func() { g.ended <- Run(ctx, g.options) }()
	until(t, "it listens", func() bool { return strings.Contains(g.log.String(), "listening") })
	readAll(t, g.chat(hello).Body)
	stop()
	if err := wait(t, "end", g.ended); err != nil {
		t.Error(err)
	}
	if !strings.Contains(g.log.String(), "supervisor not notified") {
		t.Errorf("the log:\n%s", g.log)
	}
}

func TestNoSuchProfile(t *testing.T) {
	g := prepareGateway(t, "")
	g.options.Profile, g.options.Dir = "typo", filepath.Join(filepath.Dir(g.dir), "typo")
	if err := Run(t.Context(), g.options); fault.CodeOf(err) != fault.GatewayNotRegistered {
		t.Errorf("got %v", err)
	}
}

func TestStartTime(t *testing.T) {
	for stat, want := range map[string]uint64{
		"7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20": 4711,
		"7 (a) S 1": 0,
		"":          0,
		")":         0,
	} {
		if got := startTime(stat); got != want {
			t.Errorf("%q: got %d, want %d", stat, got, want)
		}
	}
	if id := selfIdentity(Options{Profile: profile.Default}); id.StartTime == 0 {
		t.Error("this process has no start time")
	}
}
