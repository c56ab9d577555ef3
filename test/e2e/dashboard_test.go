package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hermes/api"
)

const (
	dashboardUser     = "admin"
	dashboardPassword = "correct horse"
	dashboardToken    = "0123456789abcdef"
)

// credentials are the variables for all ways into a dashboard.
func dashboardCredentials() []string {
	return []string{
		"HERMES_DASHBOARD_BASIC_AUTH_USERNAME=" + dashboardUser, "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD=" + dashboardPassword,
		"HERMES_DASHBOARD_TOKEN=" + dashboardToken,
	}
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// newDashboardHost is a host whose supervisor runs the dashboard.
func newDashboardHost(t *testing.T, env ...string) (h *host, port string) {
	t.Helper()
	port = freePort(t)
	return newHost(t, append([]string{"HERMES_DASHBOARD=1", "HERMES_DASHBOARD_PORT=" + port}, env...)...), port
}

func (h *host) dashboard() api.Dashboard {
	h.t.Helper()
	f := h.fleet()
	if f.Dashboard == nil {
		h.t.Fatal("the supervisor says nothing of a dashboard")
	}
	return *f.Dashboard
}

// dashboardIs waits until it is in that state.
func (h *host) dashboardIs(want string) api.Dashboard {
	h.t.Helper()
	var d api.Dashboard
	h.eventually("the dashboard is "+want, func() error {
		if d = h.dashboard(); d.State != want {
			return fmt.Errorf("it is %s (%s)", d.State, d.Reason)
		}
		return nil
	})
	return d
}

// browse asks for a page as a request says; redirects are not followed.
func browse(t *testing.T, req *http.Request, jar http.CookieJar) (status int, body string) {
	t.Helper()
	client := &http.Client{
		Timeout: 10 * time.Second, Jar: jar, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 200)) // a stream has no end
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}

func ask(t *testing.T, method, address string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// paths are pages, posts and files of the dashboard, and what is none.
func dashboardPaths() []string {
	return []string{"/", "/profile/default", "/static/app.css", "/events", "/livez", "/readyz", "/metrics", "/nothing"}
}

// TestDashboardWithoutCredentials: beyond loopback it is parked with the name of
// the variable, not tried again, and nobody else is affected; once that is in
// .env, what the reason says to type starts it.
func TestDashboardWithoutCredentials(t *testing.T) {
	t.Parallel()
	h, port := newDashboardHost(t, "HERMES_DASHBOARD_HOST=0.0.0.0")
	h.probe("works", "-notify")
	h.start("works")
	h.state("works", "running")
	d := h.dashboardIs("parked")
	for _, want := range []string{"exit 78", "HERMES_DASHBOARD_BASIC_AUTH_USERNAME", "HERMES_DASHBOARD_TOKEN"} {
		if !strings.Contains(d.Reason, want) {
			t.Errorf("the reason %q does not say %s", d.Reason, want)
		}
	}
	if status := h.must("status"); !strings.Contains(status, "Dashboard: parked: exit 78") || !strings.Contains(status, "HERMES_DASHBOARD_TOKEN") {
		t.Errorf("status:\n%s", status)
	}
	pause(3 * time.Second)
	if again := h.dashboardIs("parked"); again.Restarts != 0 || !again.Since.Equal(*d.Since) {
		t.Errorf("it was tried again: %+v", again)
	}
	if log := h.read("logs/dashboard/current"); strings.Count(log, "cannot serve the dashboard") != 1 {
		t.Errorf("log:\n%s", log)
	}
	if out := h.output.String(); !strings.Contains(out, "[dashboard] ✗ cannot serve the dashboard on 0.0.0.0 without authentication") {
		t.Errorf("output:\n%s", out)
	}
	for _, health := range []string{"--live", "--ready"} {
		h.must("health", health)
	}
	if list := h.must("gateway", "list") + h.must("gateway", "status", "--all") + h.must("profile", "list"); strings.Contains(list, "dashboard") {
		t.Errorf("it is among the gateways:\n%s", list)
	}
	h.write("default", ".env", "HERMES_DASHBOARD_TOKEN="+dashboardToken+"\n")
	h.must("dashboard", "--restart")
	address := "http://127.0.0.1:" + port
	if status, _ := browse(t, ask(t, "GET", address), nil); status != 401 {
		t.Errorf("without the token: %d", status)
	}
	if status, _ := browse(t, ask(t, "GET", address, "Authorization", "Bearer "+dashboardToken), nil); status != 200 {
		t.Errorf("with the token: %d", status)
	}
}

// read is a file of the home.
func (h *homeDir) read(path string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.home, path))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// TestDashboardAccess: with credentials nothing is answered without them, and
// everything by each way in; what a foreign page tries does nothing.
func TestDashboardAccess(t *testing.T) {
	t.Parallel()
	h, port := newDashboardHost(t, append(dashboardCredentials(), "HERMES_DASHBOARD_HOST=0.0.0.0")...)
	h.probe("works", "-notify")
	h.start("works")
	h.dashboardIs("running")
	address := "http://127.0.0.1:" + port
	jar := logIn(t, address)
	password := ask(t, "GET", address)
	password.SetBasicAuth(dashboardUser, dashboardPassword)
	ways := map[string]string{"Basic": password.Header.Get("Authorization"), "Bearer": "Bearer " + dashboardToken}
	for _, path := range dashboardPaths() {
		for _, method := range []string{"GET", "POST"} {
			if status, body := browse(t, ask(t, method, address+path), nil); status != 401 || !strings.Contains(body, "unauthorized") {
				t.Errorf("%s %s without credentials: %d %s", method, path, status, body)
			}
		}
		if status, body := browse(t, ask(t, "GET", address+path, "Accept", "text/html"), nil); status != 401 || !strings.Contains(body, "<!doctype html>") {
			t.Errorf("GET %s by a browser: %d %s", path, status, body)
		}
		if path == "/events" {
			continue // a stream that begins when something happens
		}
		if status, body := browse(t, ask(t, "GET", address+path), jar); status == 401 || status == 403 {
			t.Errorf("GET %s with a session: %d %s", path, status, body)
		}
		for way, value := range ways {
			if status, body := browse(t, ask(t, "GET", address+path, "Authorization", value), nil); status == 401 || status == 403 {
				t.Errorf("GET %s by %s: %d %s", path, way, status, body)
			}
		}
	}
	if status, _ := browse(t, ask(t, "GET", address), jar); status != 200 {
		t.Errorf("the page with a session: %d", status)
	}
	for path, want := range map[string]string{"/livez": `"ok":true`, "/readyz": `"ok":true`, "/metrics": "hermes_up 1"} {
		if code, body, err := get(address+path, dashboardToken); err != nil || code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, %v", path, code, body, err)
		}
	}
	h.refusesForeigners(address, port, jar)
	if log := h.read("logs/dashboard/current") + h.output.String(); strings.Contains(log, dashboardPassword) || strings.Contains(log, dashboardToken) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}

// refusesForeigners has pages and names of others try what a person who is
// logged in may do.
func (h *host) refusesForeigners(address, port string, jar http.CookieJar) {
	t := h.t
	t.Helper()
	pid := h.gateway("works").PID
	for name, req := range map[string]*http.Request{
		"a foreign form":   ask(t, "POST", address+"/profile/works/stop", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"),
		"an old browser":   ask(t, "POST", address+"/profile/works/stop", "Origin", "https://evil.example"),
		"a neighbour":      ask(t, "POST", address+"/profile/works/stop", "Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"),
		"another's script": ask(t, "GET", address, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"),
	} {
		if status, _ := browse(t, req, jar); status != 403 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, body := browse(t, ask(t, "GET", address, "Host", "evil.example:"+port), jar); status != 421 || !strings.Contains(body, "HERMES_DASHBOARD_ALLOWED_HOSTS") {
		t.Errorf("a foreign Host: %d %s", status, body)
	}
	if now := h.gateway("works"); now.PID != pid || now.Intent != "running" {
		t.Errorf("something was done: %+v", now)
	}
}

// logIn fills in the form and returns the session.
func logIn(t *testing.T, address string) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"username": {dashboardUser}, "password": {dashboardPassword}, "next": {"/"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", address)
	if status, body := browse(t, req, jar); status != http.StatusSeeOther {
		t.Fatalf("log-in: %d %s", status, body)
	}
	return jar
}

// dashboardKills is how often the issue has it killed.
const dashboardKills = 50

// TestDashboardKilledUnderLoad: whatever becomes of it, no gateway notices, and
// it is back each time: by itself, or at once when told to.
func TestDashboardKilledUnderLoad(t *testing.T) {
	t.Parallel()
	h, port := newDashboardHost(t)
	names := []string{"one", "two", "three"}
	for _, name := range names {
		h.probe(name, "-notify")
	}
	h.start(names...)
	for _, name := range names {
		h.state(name, "running")
	}
	pids := map[string]int{}
	for _, name := range names {
		pids[name] = h.gateway(name).PID
	}
	answered, end := h.load("http://127.0.0.1:" + port)
	const byItself = 4 // waits of a quarter of a second, then twice as long each time
	last := h.dashboardIs("running").PID
	for i := range soak(dashboardKills) {
		before := answered.Load()
		h.kill(last, syscall.SIGKILL)
		if i >= byItself {
			h.eventually("the kill is known", func() error {
				if h.dashboard().PID == last {
					return errors.New("it is not")
				}
				return nil
			})
			h.must("dashboard", "--restart")
		}
		h.eventually("another dashboard runs and answers", func() error {
			d := h.dashboard()
			if d.State != "running" || d.PID == last || answered.Load() == before {
				return fmt.Errorf("%s, pid %d, %d answers", d.State, d.PID, answered.Load()-before)
			}
			last = d.PID
			return nil
		})
	}
	end()
	for _, name := range names {
		if g := h.gateway(name); g.PID != pids[name] || g.Restarts != 0 || g.State != "running" {
			t.Errorf("%s noticed: %+v, was pid %d", name, g, pids[name])
		}
	}
	h.noDoubles(map[string]int{"one": 1, "two": 1, "three": 1})
	t.Logf("%d kills, %d answers under load", soak(dashboardKills), answered.Load())
}

// load asks for the page as fast as it is answered, and keeps streams open.
func (h *host) load(address string) (answered *atomic.Int64, end func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	answered = new(atomic.Int64)
	var wg sync.WaitGroup
	for i := range 4 {
		path := "/"
		if i == 0 {
			path = "/events"
		}
		wg.Go(func() {
			client := &http.Client{}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
				if err != nil {
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					pause(5 * time.Millisecond) // it is being restarted
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body) // a stream ends with the dashboard
				_ = resp.Body.Close()
				if path == "/" && resp.StatusCode == 200 {
					answered.Add(1)
				}
			}
		})
	}
	return answered, func() { cancel(); wg.Wait() }
}

// TestDashboardOutlivesTheEngine: the engine killed, and everything told to
// restart and to stop: it is the same process. It ends with the supervisor,
// whose streams do not hold it up.
func TestDashboardOutlivesTheEngine(t *testing.T) {
	t.Parallel()
	h, port := newDashboardHost(t)
	h.probe("works", "-notify")
	h.start("works")
	h.state("works", "running")
	first := h.dashboardIs("running")
	_, end := h.load("http://127.0.0.1:" + port)
	defer end()
	for range 3 {
		h.killEngine()
		if d := h.dashboardIs("running"); d.PID != first.PID || d.URL != first.URL {
			t.Fatalf("%+v, want %+v", d, first)
		}
	}
	h.must("gateway", "restart", "--all")
	h.must("gateway", "stop", "--all")
	if d := h.dashboardIs("running"); d.PID != first.PID {
		t.Errorf("--all reached it: pid %d, was %d", d.PID, first.PID)
	}
	if status, _ := browse(t, ask(t, "GET", "http://127.0.0.1:"+port), nil); status != 200 {
		t.Errorf("the page: %d", status)
	}
	began := time.Now()
	h.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if err := syscall.Kill(first.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("it lives: %v", err)
	}
}

// TestDashboardByItself: it starts before its supervisor, says so, and a taken
// port names who has it.
func TestDashboardByItself(t *testing.T) {
	t.Parallel()
	h, port := newDashboardHost(t)
	h.spawnProgram(h.binary, "dashboard")
	address := "http://127.0.0.1:" + port
	h.eventually("the page is there", func() error {
		code, _, err := get(address, "")
		if err == nil && code != 200 {
			err = fmt.Errorf("%d", code)
		}
		return err
	})
	if _, stderr, code := h.run("dashboard"); code != 1 || !strings.Contains(stderr, fmt.Sprintf("port %s is taken: pid %d (", port, h.up.Process.Pid)) {
		t.Errorf("a second one: exit %d: %s", code, stderr)
	}
	h.stop() // with 0, as `hermes up` ends
}
