package access

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
)

// TestHost: under which names the dashboard answers.
func TestHost(t *testing.T) {
	named := Bind{Host: "box.lan", Addr: netip.MustParseAddr("192.168.1.5"), Port: 9119}
	any6 := Bind{Host: "::", Addr: netip.IPv6Unspecified(), Port: 9119}
	allowed := []string{"hermes.example.com"}
	tests := []struct {
		bind  Bind
		hosts []string // allowed beside
		host  string
		want  bool
	}{
		{loopback(), nil, "127.0.0.1:9119", true},
		{loopback(), nil, "127.0.0.1", true},
		{loopback(), nil, "localhost:9119", true},
		{loopback(), nil, "LOCALHOST.", true},
		{loopback(), nil, "[::1]:9119", true},
		{loopback(), nil, "127.0.0.2", true},
		{loopback(), nil, "localhost.evil.example", false},
		{loopback(), nil, "evil.example:9119", false},
		{loopback(), nil, "127.0.0.1.nip.io", false},
		{loopback(), nil, "192.168.1.5", false},
		{loopback(), nil, "0.0.0.0", false},
		{loopback(), nil, "", false},
		{loopback(), nil, "localhost:x", false},
		{loopback(), nil, "[localhost", false},
		{loopback(), nil, "2130706433", false}, // 127.0.0.1 in one number
		{loopback(), allowed, "hermes.example.com", true},
		{loopback(), allowed, "Hermes.Example.com:443", true},
		{loopback(), allowed, "xhermes.example.com", false},
		{everywhere(), nil, "192.168.1.5:9119", true},
		{everywhere(), nil, "[2001:db8::1]:9119", true},
		{everywhere(), nil, "localhost:9119", true},
		{everywhere(), nil, "evil.example", false},
		{everywhere(), allowed, "hermes.example.com", true},
		{any6, nil, "192.168.1.5", true},
		{named, nil, "box.lan:9119", true},
		{named, nil, "other.lan", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s %v", tt.bind.Host, tt.host, tt.hosts), func(t *testing.T) {
			d := protected()
			d.AllowedHosts = tt.hosts
			r := newRig(t, tt.bind, d)
			resp := r.do(request("GET", "/", "Host", tt.host, "Authorization", "Bearer "+goodToken))
			if got := resp.StatusCode == 200; got != tt.want {
				t.Errorf("status %d", resp.StatusCode)
			}
			if !tt.want && (resp.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(body(t, resp), config.EnvDashboardAllowedHosts)) {
				t.Errorf("status %d, or the variable is not named", resp.StatusCode)
			}
		})
	}
}

// TestOrigin: what a page of another origin gets done here: nothing.
func TestOrigin(t *testing.T) {
	const own = "http://127.0.0.1:9119"
	navigate := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	tests := []struct {
		name   string
		method string
		header []string
		want   int
	}{
		{"curl", "POST", nil, 200},
		{"own page", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 200},
		{"own page, old browser", "POST", []string{"Origin", own}, 200},
		{"foreign page", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"foreign page, old browser", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"foreign page, no origin to tell", "POST", []string{"Origin", "null"}, 403},
		{"another port of this machine", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:8642"}, 403},
		{"foreign form", "POST", append([]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, navigate...), 403},
		{"foreign DELETE", "DELETE", []string{"Origin", "https://evil.example"}, 403},
		{"a link from elsewhere", "GET", append([]string{"Sec-Fetch-Site", "cross-site"}, navigate...), 200},
		{"typed", "GET", append([]string{"Sec-Fetch-Site", "none"}, navigate...), 200},
		{"foreign script", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		{"foreign stream", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 403},
		{"foreign frame", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"neighbour's picture", "GET", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"own script", "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 200},
	}
	for _, tt := range tests {
		for _, d := range []config.Dashboard{{}, protected()} {
			t.Run(fmt.Sprintf("%s protected=%v", tt.name, d.Token != ""), func(t *testing.T) {
				r := newRig(t, loopback(), d)
				header := append([]string{"Authorization", "Bearer " + goodToken}, tt.header...)
				if resp := r.do(request(tt.method, "/profiles/coder/stop", header...)); resp.StatusCode != tt.want {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
				}
				if reached := r.reached > 0; reached != (tt.want == 200) {
					t.Errorf("the page was reached: %v", reached)
				}
			})
		}
	}
}

// TestForeignLogIn: nobody is logged in by a page of somebody else's.
func TestForeignLogIn(t *testing.T) {
	resp := newRig(t, loopback(), protected()).logIn(userForm(goodUser, goodPassword), "Origin", "https://evil.example")
	if resp.StatusCode != 403 || len(resp.Cookies()) != 0 {
		t.Errorf("status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
}

// TestHeaders: every answer has them, a refusal too.
func TestHeaders(t *testing.T) {
	r := newRig(t, loopback(), protected())
	for name, req := range map[string]*http.Request{
		"page": request("GET", "/", "Authorization", "Bearer "+goodToken), "refused": request("GET", "/"),
		"form": request("GET", LoginPath), "style": request("GET", StylePath), "foreign": request("GET", "/", "Host", "evil.example"),
	} {
		h := r.do(req).Header
		csp := h.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
			if !strings.Contains(csp, rule) {
				t.Errorf("%s: policy %q is without %s", name, csp, rule)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: policy %q", name, csp)
		}
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if h.Get(header) != want {
				t.Errorf("%s: %s is %q", name, header, h.Get(header))
			}
		}
	}
}

// TestAttempts: guessing gets slow, by every way in, and who is in stays in.
func TestAttempts(t *testing.T) {
	wrong := map[string]func(*rig) *http.Response{
		"form": func(r *rig) *http.Response { return r.logIn(userForm(goodUser, "wrong")) },
		"Basic": func(r *rig) *http.Response {
			return r.do(request("GET", "/", "Authorization", basic(goodUser, "wrong")))
		},
		"Bearer": func(r *rig) *http.Response { return r.do(request("GET", "/", "Authorization", "Bearer wrong")) },
	}
	for name, try := range wrong {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, loopback(), protected())
			c := r.session()
			for i := range peerLimit {
				if resp := try(r); resp.StatusCode != 401 {
					t.Fatalf("attempt %d: status %d", i, resp.StatusCode)
				}
			}
			resp := try(r)
			if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "6" {
				t.Fatalf("one too many: status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			if resp := r.do(request("GET", "/", "Authorization", basic(goodUser, goodPassword))); resp.StatusCode != 429 {
				t.Errorf("the right password, while guessing is refused: status %d", resp.StatusCode)
			}
			if resp := r.do(request("GET", "/", "Cookie", c.Name+"="+c.Value)); resp.StatusCode != 200 {
				t.Errorf("a session of before: status %d", resp.StatusCode)
			}
			other := request("GET", "/", "Authorization", "Bearer "+goodToken)
			other.RemoteAddr = "192.0.2.7:1"
			if resp := r.do(other); resp.StatusCode != 200 {
				t.Errorf("another peer: status %d", resp.StatusCode)
			}
			r.clock = r.clock.Add(6 * time.Second)
			if resp := r.do(request("GET", "/", "Authorization", "Bearer "+goodToken)); resp.StatusCode != 200 {
				t.Errorf("after Retry-After: status %d", resp.StatusCode)
			}
		})
	}
}

// TestRightCredentialsAreNoAttempt: a scraper may ask as often as it likes.
func TestRightCredentialsAreNoAttempt(t *testing.T) {
	r := newRig(t, loopback(), protected())
	for range 3 * allLimit {
		if resp := r.do(request("GET", "/", "Authorization", "Bearer "+goodToken)); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

// TestAttemptsOfACrowd: many peers together are bounded, in number and memory.
func TestAttemptsOfACrowd(t *testing.T) {
	l := newLimiter()
	now := time.Unix(1_800_000_000, 0)
	allowed := 0
	for i := range 4 * maxPeers {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if l.take(netip.PrefixFrom(addr, 32), now) == 0 {
			allowed++
		}
	}
	if allowed != allLimit {
		t.Errorf("%d attempts were allowed, want %d", allowed, allLimit)
	}
	if len(l.peers) > maxPeers {
		t.Errorf("%d peers are remembered", len(l.peers))
	}
	if wait := l.take(netip.MustParsePrefix("192.0.2.1/32"), now.Add(limitWindow)); wait != 0 {
		t.Errorf("a minute later: wait %s", wait)
	}
	if wait := l.take(netip.MustParsePrefix("192.0.2.1/32"), now.Add(-time.Hour)); wait != 0 {
		t.Errorf("after the clock went back: wait %s", wait)
	}
}

func TestPeerOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1/32", "[::ffff:192.0.2.1]:5": "192.0.2.1/32",
		"[2001:db8::1]:5": "2001:db8::/64", "[2001:db8::2]:6": "2001:db8::/64", "[fe80::1%eth0]:1": "fe80::/64",
		"": "invalid Prefix", "@": "invalid Prefix",
	} {
		if got := peerOf(remote).String(); got != want {
			t.Errorf("%q counts as %s, want %s", remote, got, want)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		host     string
		loopback bool
		address  string // "" for whatever it is
	}{
		{"127.0.0.1", true, "127.0.0.1:1"},
		{"127.9.9.9", true, "127.9.9.9:1"},
		{"::1", true, "[::1]:1"},
		{"[::1]", true, "[::1]:1"},
		{"::ffff:127.0.0.1", true, "127.0.0.1:1"},
		{"localhost", true, ""},
		{"0.0.0.0", false, "0.0.0.0:1"},
		{"::", false, "[::]:1"},
		{"", false, ":1"},
		{"192.0.2.1", false, "192.0.2.1:1"},
	} {
		b, err := Resolve(context.Background(), tt.host, 1)
		if err != nil {
			t.Errorf("%q: %v", tt.host, err)
			continue
		}
		if b.Loopback != tt.loopback || tt.address != "" && b.Address() != tt.address {
			t.Errorf("%q: loopback %v, address %q", tt.host, b.Loopback, b.Address())
		}
	}
	if _, err := Resolve(context.Background(), "no-such-host.invalid", 1); err == nil || !strings.Contains(err.Error(), "no-such-host.invalid") {
		t.Errorf("an unknown host: %v", err)
	}
	mixed := Bind{Port: 1}.on([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")})
	if mixed.Loopback {
		t.Error("a name with an address of the network counts as loopback")
	}
}

// TestBody: what is sent is read in full before anybody waits for it, and has
// a bound.
func TestBody(t *testing.T) {
	r := newRig(t, loopback(), config.Dashboard{})
	var got string
	handler := r.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		got = string(b)
	}))
	for size, want := range map[int]int{0: 200, maxBody: 200, maxBody + 1: 413} {
		got = "none"
		req := request("POST", "/")
		req.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", size)))
		r.handler = handler
		if resp := r.do(req); resp.StatusCode != want {
			t.Errorf("%d bytes: status %d", size, resp.StatusCode)
		}
		if want == 200 && len(got) != size {
			t.Errorf("of %d bytes %d came", size, len(got))
		}
	}
}
