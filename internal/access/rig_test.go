package access

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hermes/internal/config"
)

func TestMain(m *testing.M) {
	// net/http leaves a refused connection open for half a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	goodUser     = "admin"
	goodPassword = "correct horse"
	goodToken    = "0123456789abcdef"
	// goodHash is of goodPassword, as werkzeug.security.generate_password_hash
	// writes it, at a cost for tests.
	goodHash = "scrypt:1024:1:1$c2FsdHNhbHQ$" +
		"7196244796655f8e8ba949117a257c52b3649f6a2254ba785c376f04c093c0932ffa2a8247f09245cad49918435a9385bb1134ecb9cc38d7ddcc059d190f64f0"
)

func loopback() Bind {
	return Bind{Host: "127.0.0.1", Addr: netip.MustParseAddr("127.0.0.1"), Port: 9119, Loopback: true}
}

func everywhere() Bind {
	return Bind{Host: "0.0.0.0", Addr: netip.MustParseAddr("0.0.0.0"), Port: 9119}
}

// protected are settings with both kinds of credentials.
func protected() config.Dashboard {
	return config.Dashboard{Username: goodUser, Password: goodPassword, Token: goodToken, SessionTTL: time.Hour}
}

// rig is a guard before a handler that says who asked, on a clock of its own.
type rig struct {
	*Guard
	t       *testing.T
	handler http.Handler
	clock   time.Time
	reached int // how often the handler was
	logged  strings.Builder
}

func newRig(t *testing.T, b Bind, d config.Dashboard) *rig {
	t.Helper()
	r := &rig{t: t, clock: time.Unix(1_800_000_000, 0)}
	g, err := New(Options{
		Bind: b, Settings: d, Now: func() time.Time { return r.clock },
		Logger: slog.New(slog.NewTextHandler(&r.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Guard = g
	r.handler = g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.reached++
		_, _ = io.WriteString(w, "hello "+CallerOf(req.Context()).Name)
	}))
	return r
}

// request is one from a peer on this machine.
func request(method, target string, header ...string) *http.Request {
	req := httptest.NewRequest(method, target, nil)
	req.Host = "127.0.0.1:9119"
	req.RemoteAddr = "127.0.0.1:50000"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

func (r *rig) do(req *http.Request) *http.Response {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w.Result()
}

// logIn fills in the form.
func (r *rig) logIn(fields url.Values, header ...string) *http.Response {
	r.t.Helper()
	req := request("POST", LoginPath, header...)
	req.Body = io.NopCloser(strings.NewReader(fields.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r.do(req)
}

func userForm(user, password string) url.Values {
	return url.Values{"username": {user}, "password": {password}, "next": {"/profiles/coder?tab=log"}}
}

// session is the cookie of a new log-in.
func (r *rig) session() *http.Cookie {
	r.t.Helper()
	resp := r.logIn(userForm(goodUser, goodPassword))
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		r.t.Fatalf("log-in: status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
	return resp.Cookies()[0]
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
