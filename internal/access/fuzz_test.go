package access

import (
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
)

func testSessions() *sessions {
	d := protected()
	d.SessionSecret = "a secret of sixteen"
	return newSessions(d)
}

// FuzzSession: no bytes but ours are a session, and none of them hurt.
func FuzzSession(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	s := testSessions()
	own := s.seal(byPassword, now)
	for _, seed := range []string{own, own[:len(own)-1], own + "A", strings.Replace(own, ".", "", 1), "", ".", strings.Repeat("A", len(own)), "\r\n" + own, own[:10] + "\n" + own[10:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		name, expires, ok := s.open(value, now)
		if !ok {
			return
		}
		payload, signature, _ := splitSession(value)
		if name != goodUser && name != tokenName || !expires.After(now) || encode(payload)+"."+encode(signature) != value {
			t.Errorf("%q is a session of %q until %s", value, name, expires)
		}
	})
}

// TestForgedSessions: a byte changed anywhere is another value.
func TestForgedSessions(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := testSessions()
	own := s.seal(byToken, now)
	if name, _, ok := s.open(own, now); !ok || name != tokenName {
		t.Fatalf("own session: %q %v", name, ok)
	}
	for i := range own {
		for _, c := range "AzBx9_-." {
			if rune(own[i]) == c {
				continue
			}
			if _, _, ok := s.open(own[:i]+string(c)+own[i+1:], now); ok {
				t.Errorf("with %c at %d it is still a session", c, i)
			}
		}
	}
	for _, kind := range []byte{0, 3, 255} {
		if _, _, ok := s.open(s.seal(kind, now), now); ok {
			t.Errorf("a session of kind %d", kind)
		}
	}
	if s.seal(byToken, now) == own {
		t.Error("two sessions are the same")
	}
}

// FuzzHash: a hash is refused, or can be checked within the bounds.
func FuzzHash(f *testing.F) {
	for _, seed := range []string{
		goodHash, "scrypt:32768:8:1$salt$" + strings.Repeat("ab", 64), "scrypt:2147483648:8:1$salt$00", "scrypt:1073741824:1:1$salt$" + strings.Repeat("00", 64),
		"scrypt:2:1:2147483647$salt$" + strings.Repeat("00", 64), "scrypt:65536:2147483647:2147483647$salt$" + strings.Repeat("00", 64),
		"scrypt:0:8:1$salt$00", "scrypt:-2:8:1$s$", "scrypt:1:1:1$$", "$$", "scrypt:::$$", "pbkdf2:sha256:600000$salt$00", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if 128*h.n*h.r > maxHashMemory || h.n*h.r*h.p > maxHashWork || h.n*h.r*h.p < minHashWork {
			t.Errorf("%q is allowed to cost %d %d %d", text, h.n, h.r, h.p)
		}
		if h.n*h.r*h.p <= 1<<14 { // the others are as good, and take long
			if _, err := h.sum("password"); err != nil {
				t.Errorf("%q cannot be checked: %v", text, err)
			}
		}
	})
}

// TestHashes: which are taken, and that the error does not show them.
func TestHashes(t *testing.T) {
	key := strings.Repeat("ab", 64)
	for text, want := range map[string]bool{
		goodHash:                                true,
		"scrypt:32768:8:1$salt1234$" + key:      true, // Werkzeug's own cost
		"scrypt:65536:8:1$salt$" + key:          true,
		"scrypt:32768:8:4$salt$" + key:          true,
		"scrypt:131072:8:1$salt$" + key:         false,
		"scrypt:32768:8:5$salt$" + key:          false,
		"scrypt:2147483647:1:1$salt$" + key:     false,
		"scrypt:1024:1:99999999999$salt$" + key: false,
		"scrypt:2:1:1$salt$" + key:              false,
		"scrypt:1000:8:1$salt$" + key:           false,
		"scrypt:1024:1:1$$" + key:               false,
		"scrypt:1024:1:1$salt$xyz":              false,
		"scrypt:1024:1:1$salt$":                 false,
		"scrypt:1024:1:1$salt$" + key + key:     false,
		"scrypt:1024:1$salt$" + key:             false,
		"pbkdf2:sha256:1000000$salt$" + key:     false,
		"correct horse":                         false,
	} {
		_, err := parseHash(text)
		if (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
}

// FuzzHost: a Host header is one of ours or refused; nothing of it is a name
// that it is not.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:9119", "localhost", "[::1]:1", "[::1", "]", "::1", "a:b:c", "localhost:80:80", "LOCALHOST.", "localhost..", "127.0.0.1%00", "[fe80::1%25eth0]:1", ":", "[]", ""} {
		f.Add(seed)
	}
	h := newHosts(loopback(), []string{"hermes.example.com"})
	f.Fuzz(func(t *testing.T, header string) {
		if h.check(header) != nil {
			return
		}
		host := config.HostOf(header)
		lower := strings.ToLower(header)
		if host == "" || !strings.Contains(lower, host) {
			t.Errorf("%q is allowed as %q", header, host)
		}
		if host != "localhost" && host != "hermes.example.com" && !strings.HasPrefix(host, "127.") && !strings.Contains(host, ":") {
			t.Errorf("%q is allowed as %q", header, host)
		}
	})
}

// FuzzNext: a log-in never leads to another host.
func FuzzNext(f *testing.F) {
	for _, seed := range []string{"/", "//x", "/\\x", "/a?b#c", "http://x", "/%2f/x", "/./\t/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t ") {
			t.Errorf("%q leads to %q", next, got)
		}
	})
}
