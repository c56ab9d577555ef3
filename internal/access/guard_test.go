package access

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// TestSettings: what may be served where, and which variable is named if not.
func TestSettings(t *testing.T) {
	tests := []struct {
		name  string
		bind  Bind
		d     config.Dashboard
		wrong []string // variables; nil for allowed
	}{
		{"loopback, nothing set", loopback(), config.Dashboard{}, nil},
		{"everywhere, nothing set", everywhere(), config.Dashboard{}, []string{config.EnvDashboardUsername, config.EnvDashboardPassword, config.EnvDashboardToken}},
		{"every address, nothing set", Bind{Port: 1}, config.Dashboard{}, []string{"every address", config.EnvDashboardUsername}},
		{"everywhere, password", everywhere(), config.Dashboard{Username: "a", Password: "12345678"}, nil},
		{"everywhere, hash", everywhere(), config.Dashboard{Username: "a", PasswordHash: goodHash}, nil},
		{"everywhere, token", everywhere(), config.Dashboard{Token: goodToken}, nil},
		{"both", everywhere(), protected(), nil},
		{"user alone", loopback(), config.Dashboard{Username: "a"}, []string{config.EnvDashboardUsername, config.EnvDashboardPassword}},
		{"user alone, with a token", everywhere(), config.Dashboard{Username: "a", Token: goodToken}, []string{config.EnvDashboardUsername}},
		{"password alone", loopback(), config.Dashboard{Password: "12345678"}, []string{config.EnvDashboardPassword, config.EnvDashboardUsername}},
		{"hash alone", loopback(), config.Dashboard{PasswordHash: goodHash}, []string{config.EnvDashboardPasswordHash, config.EnvDashboardUsername}},
		{"password and hash", loopback(), config.Dashboard{Username: "a", Password: "12345678", PasswordHash: goodHash}, []string{config.EnvDashboardPassword, config.EnvDashboardPasswordHash}},
		{"password too short", loopback(), config.Dashboard{Username: "a", Password: "1234567"}, []string{config.EnvDashboardPassword}},
		{"token too short", loopback(), config.Dashboard{Token: "123456789012345"}, []string{config.EnvDashboardToken}},
		{"secret too short", loopback(), config.Dashboard{SessionSecret: "x"}, []string{config.EnvDashboardSecret}},
		{"colon", loopback(), config.Dashboard{Username: "a:b", Password: "12345678"}, []string{config.EnvDashboardUsername}},
		{"hash of another kind", loopback(), config.Dashboard{Username: "a", PasswordHash: "pbkdf2:sha256:1000$s$00"}, []string{config.EnvDashboardPasswordHash}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Options{Bind: tt.bind, Settings: tt.d})
			if tt.wrong == nil {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatalf("error %v", err)
			}
			for _, w := range tt.wrong {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %s", err, w)
				}
			}
			for _, secret := range []string{tt.d.Password.Reveal(), tt.d.Token.Reveal(), tt.d.PasswordHash.Reveal(), tt.d.SessionSecret.Reveal()} {
				if len(secret) > 3 && strings.Contains(err.Error(), secret) {
					t.Errorf("%q has a secret in it", err)
				}
			}
		})
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// TestWaysIn: who gets what, by every way in.
func TestWaysIn(t *testing.T) {
	hashed := config.Dashboard{Username: goodUser, PasswordHash: goodHash, SessionTTL: time.Hour}
	tokenOnly := config.Dashboard{Token: goodToken, SessionTTL: time.Hour}
	tests := []struct {
		name   string
		d      config.Dashboard
		header []string
		want   int
		caller string
	}{
		{"open", config.Dashboard{}, nil, 200, "hello "},
		{"nothing", protected(), nil, 401, ""},
		{"Basic", protected(), []string{"Authorization", basic(goodUser, goodPassword)}, 200, "hello admin"},
		{"basic, in small letters", protected(), []string{"Authorization", strings.Replace(basic(goodUser, goodPassword), "B", "b", 1)}, 200, "hello admin"},
		{"Basic, wrong password", protected(), []string{"Authorization", basic(goodUser, "wrong")}, 401, ""},
		{"Basic, wrong user", protected(), []string{"Authorization", basic("Admin", goodPassword)}, 401, ""},
		{"Basic, no user", protected(), []string{"Authorization", basic("", "")}, 401, ""},
		{"Basic, no pair", protected(), []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(goodUser))}, 401, ""},
		{"Basic, no base64", protected(), []string{"Authorization", "Basic %%%"}, 401, ""},
		{"Bearer", protected(), []string{"Authorization", "Bearer " + goodToken}, 200, "hello token"},
		{"Bearer, wrong", protected(), []string{"Authorization", "Bearer " + goodToken + "x"}, 401, ""},
		{"Bearer, empty", protected(), []string{"Authorization", "Bearer "}, 401, ""},
		{"Bearer, the password", protected(), []string{"Authorization", "Bearer " + goodPassword}, 401, ""},
		{"another scheme", protected(), []string{"Authorization", "Digest x"}, 401, ""},
		{"hash", hashed, []string{"Authorization", basic(goodUser, goodPassword)}, 200, "hello admin"},
		{"hash, wrong", hashed, []string{"Authorization", basic(goodUser, goodPassword+" ")}, 401, ""},
		{"hash, wrong user", hashed, []string{"Authorization", basic("root", goodPassword)}, 401, ""},
		{"hash, the hash", hashed, []string{"Authorization", basic(goodUser, goodHash)}, 401, ""},
		{"hash, no token is set", hashed, []string{"Authorization", "Bearer "}, 401, ""},
		{"token", tokenOnly, []string{"Authorization", "Bearer " + goodToken}, 200, "hello token"},
		{"token, no user is set", tokenOnly, []string{"Authorization", basic("", "")}, 401, ""},
		{"token as a password", tokenOnly, []string{"Authorization", basic("", goodToken)}, 401, ""},
		{"a foreign cookie", protected(), []string{"Cookie", "session=1; hermes=x"}, 401, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/", "/profiles/coder", "/api/fleet", "/metrics", "/livez", "/static/app.js", "/events"} {
				r := newRig(t, loopback(), tt.d)
				resp := r.do(request("GET", path, tt.header...))
				if resp.StatusCode != tt.want {
					t.Fatalf("%s: status %d, want %d", path, resp.StatusCode, tt.want)
				}
				if tt.want == 200 && body(t, resp) != tt.caller {
					t.Errorf("%s: caller is not %q", path, tt.caller)
				}
				if reached := r.reached > 0; reached != (tt.want == 200) {
					t.Errorf("%s: the page was reached: %v", path, reached)
				}
				if strings.Contains(r.logged.String(), goodPassword) || strings.Contains(r.logged.String(), goodToken) {
					t.Errorf("a secret was logged: %s", r.logged.String())
				}
			}
		})
	}
}

// TestChallenges: a browser is shown the form and no window of its own, a
// program is told what to send.
func TestChallenges(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		page   bool
		basic  bool
	}{
		{"program", nil, false, true},
		{"browser", []string{"Accept", "text/html,application/xhtml+xml"}, true, false},
		{"script of the page", []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := newRig(t, loopback(), protected()).do(request("GET", "/profiles/coder?x=%3Cscript%3E", tt.header...))
			if resp.StatusCode != 401 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			challenges := strings.Join(resp.Header.Values("WWW-Authenticate"), " ")
			if got := strings.Contains(challenges, "Basic"); got != tt.basic || !strings.Contains(challenges, "Bearer") {
				t.Errorf("challenges: %s", challenges)
			}
			text := body(t, resp)
			if got := strings.Contains(text, "<form"); got != tt.page {
				t.Errorf("form: %v, want %v: %s", got, tt.page, text)
			}
			if !tt.page && !strings.Contains(text, `"code":"unauthorized"`) {
				t.Errorf("answer %s", text)
			}
			if tt.page && !strings.Contains(text, `value="/profiles/coder?x=%3Cscript%3E"`) {
				t.Errorf("the form does not lead back: %s", text)
			}
		})
	}
}

// TestSessionFromLogInToLogOut: the way of a person.
func TestSessionFromLogInToLogOut(t *testing.T) {
	r := newRig(t, loopback(), protected())
	resp := r.logIn(userForm(goodUser, goodPassword), "Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:9119")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/profiles/coder?tab=log" {
		t.Fatalf("log-in: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || cookie.Path != "/" || cookie.MaxAge != 3600 {
		t.Errorf("cookie %+v", cookie)
	}
	send := cookie.Name + "=" + cookie.Value
	if resp := r.do(request("GET", "/", "Cookie", send)); resp.StatusCode != 200 || body(t, resp) != "hello admin" {
		t.Fatalf("with the session: %d", resp.StatusCode)
	}
	if resp := r.do(request("GET", LoginPath+"?next=/a", "Cookie", send)); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/a" {
		t.Errorf("the form of who is logged in: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	out := r.do(request("POST", LogoutPath, "Cookie", send))
	if c := out.Cookies(); out.StatusCode != http.StatusSeeOther || len(c) != 1 || c[0].Name != cookie.Name || c[0].MaxAge != -1 {
		t.Errorf("log-out: %d, %v", out.StatusCode, c)
	}
	if out := r.do(request("GET", LogoutPath, "Cookie", send)); out.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a link logs out: %d", out.StatusCode)
	}
	r.clock = r.clock.Add(time.Hour)
	if resp := r.do(request("GET", "/", "Cookie", send)); resp.StatusCode != 401 {
		t.Errorf("after its time: %d", resp.StatusCode)
	}
}

// TestSecureCookie: where TLS is spoken, by us or before us, the cookie is for
// TLS alone.
func TestSecureCookie(t *testing.T) {
	r := newRig(t, loopback(), protected())
	if resp := r.logIn(userForm(goodUser, goodPassword), "X-Forwarded-Proto", "https"); !resp.Cookies()[0].Secure {
		t.Error("not secure")
	}
}

// TestTokenInTheForm: where there is no user, a person logs in with the token.
func TestTokenInTheForm(t *testing.T) {
	r := newRig(t, loopback(), config.Dashboard{Token: goodToken, SessionTTL: time.Hour})
	if text := body(t, r.do(request("GET", LoginPath))); !strings.Contains(text, `name="token"`) || strings.Contains(text, `name="username"`) {
		t.Errorf("form %s", text)
	}
	resp := r.logIn(url.Values{"token": {goodToken}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Fatalf("%d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	c := resp.Cookies()[0]
	if got := body(t, r.do(request("GET", "/", "Cookie", c.Name+"="+c.Value))); got != "hello token" {
		t.Errorf("caller: %s", got)
	}
	if resp := r.logIn(url.Values{"token": {"x"}}, "Accept", "text/html"); resp.StatusCode != 401 || !strings.Contains(body(t, resp), "wrong") {
		t.Errorf("wrong token: %d", resp.StatusCode)
	}
}

// TestSessionsEndWithTheirCredentials: another password, or another key, and
// the cookies of before are worth nothing; the same ones survive a restart.
func TestSessionsEndWithTheirCredentials(t *testing.T) {
	kept := protected()
	kept.SessionSecret = "a secret of sixteen"
	for _, tt := range []struct {
		name          string
		before, after config.Dashboard
		want          int
	}{
		{"no secret", protected(), protected(), 401},
		{"the same secret", kept, kept, 200},
		{"another password", kept, func() config.Dashboard { d := kept; d.Password = "another one"; return d }(), 401},
		{"another user", kept, func() config.Dashboard { d := kept; d.Username = "root"; return d }(), 401},
		{"another secret", kept, func() config.Dashboard { d := kept; d.SessionSecret = "another secret of it"; return d }(), 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newRig(t, loopback(), tt.before).session()
			after := newRig(t, loopback(), tt.after)
			for _, name := range []string{c.Name, after.sessions.cookie} {
				resp := after.do(request("GET", "/", "Cookie", name+"="+c.Value))
				if name == after.sessions.cookie && resp.StatusCode != tt.want {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
				}
			}
		})
	}
}

// TestNoOpenRedirect: a log-in leads to a page of the dashboard and nowhere else.
func TestNoOpenRedirect(t *testing.T) {
	for next, want := range map[string]string{
		"":                              "/",
		"/":                             "/",
		"/profiles/coder?tab=log#x":     "/profiles/coder?tab=log#x",
		"profiles":                      "/",
		"//evil.example":                "/",
		"///evil.example":               "/",
		"/\\evil.example":               "/",
		"/\t/evil.example":              "/",
		"/%5cevil":                      "/%5cevil",
		"https://evil.example":          "/",
		"javascript:alert(1)":           "/",
		"/a\r\nSet-Cookie: x=y":         "/",
		LoginPath:                       "/",
		LogoutPath:                      "/",
		"/" + strings.Repeat("x", 3000): "/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
		form := userForm(goodUser, goodPassword)
		form.Set("next", next)
		resp := newRig(t, loopback(), protected()).logIn(form)
		if to, err := url.Parse(resp.Header.Get("Location")); err != nil || to.Host != "" || to.Scheme != "" || !strings.HasPrefix(to.Path, "/") {
			t.Errorf("%q redirects to %q", next, resp.Header.Get("Location"))
		}
	}
}
