package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// The credentials of a dashboard that is reached from elsewhere.
const (
	user     = "admin"
	password = "correct horse battery staple"
)

// guarded is a fleet whose dashboard listens everywhere and asks for a password.
func guarded(t testing.TB) *fleet {
	t.Helper()
	f := newFleet(t)
	f.env = append(f.env,
		"HERMES_DASHBOARD_HOST=0.0.0.0", "HERMES_DASHBOARD_BASIC_AUTH_USERNAME="+user,
		"HERMES_DASHBOARD_BASIC_AUTH_PASSWORD="+password)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	return f
}

// logIn fills in the form of the page that is shown.
func (p *page) logIn(name, secret string) {
	p.t.Helper()
	p.fill("#username", name)
	p.fill("#password", secret)
	p.press("\r")
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	f := guarded(t)
	p := newPage(t, f.base())
	p.allow("status of 401")
	status := func(path string) int {
		t.Helper()
		return js[int](p, `fetch(`+quote(path)+`).then(r => r.status)`)
	}
	p.open("/?q=cod")
	p.until("the form is shown", one("#password"))
	for _, path := range []string{"/", "/events", "/profile/coder", "/static/app.js"} {
		if got := status(path); got != http.StatusUnauthorized {
			t.Errorf("%s is answered with %d without a log-in", path, got)
		}
	}
	p.logIn(user, "wrong")
	p.reads("[role=alert]", "wrong")
	p.until("there is no fleet to see", "!"+one("#fleet"))
	p.logIn(user, password)
	p.until("the log-in leads where it was asked for", `location.search === "?q=cod" && document.querySelector("#gw-coder")`)
	p.reads("#user", user)
	p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
	if cookie := js[string](p, "document.cookie"); cookie != "" {
		t.Errorf("scripts can read the session: %q", cookie)
	}
	p.hit(button("coder", "stop"))
	p.reads(row("coder")+" td b", "stopped")
	if why := f.hermes("why", "coder"); !strings.Contains(why, "dashboard "+user) {
		t.Errorf("why does not tell who stopped it:\n%s", why)
	}
	p.click("#sign-out")
	p.until("the form is shown again", one("#password"))
	p.open("/")
	p.until("the session is over", one("#password")+" && !"+one("#fleet"))
}

// TestForeignHost: a page of a name that was pointed at this machine gets
// nothing, though to the browser it is of one origin with what it asks.
func TestForeignHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up()
	p := newPage(t, "http://"+foreignHost+":"+strconv.Itoa(f.port))
	p.allow("status of 421|MIME type") // nor is there a style for it
	p.open("/")
	p.reads("body", "HERMES_DASHBOARD_ALLOWED_HOSTS")
	if js[bool](p, `document.documentElement.outerHTML.includes("default")`) {
		t.Error("the fleet is shown to a foreign name")
	}
	for _, path := range []string{"/", "/events", "/static/app.js", "/login"} {
		if got := js[int](p, `fetch(`+quote(path)+`).then(r => r.status)`); got != http.StatusMisdirectedRequest {
			t.Errorf("%s is answered with %d to a foreign name", path, got)
		}
	}
}

// TestCrossOrigin: a page of another origin gets nothing done and learns
// nothing, be it of the same machine, the browser logged in or no log-in needed.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	t.Run("logged in", func(t *testing.T) {
		f := guarded(t)
		p := newPage(t, f.base())
		p.open("/")
		p.logIn(user, password)
		p.attacked(f)
	})
	t.Run("open", func(t *testing.T) {
		f := newFleet(t)
		f.profile("default", shared.probe)
		f.profile("coder", shared.probe)
		f.up("coder")
		p := newPage(t, f.base())
		p.open("/")
		p.attacked(f)
	})
}

// attack is what a foreign page tries with the dashboard at base; it gives what
// became of it.
const attack = `(async base => {
	const got = [];
	const tryTo = async (path, options) => {
		try { const r = await fetch(base + path, options); got.push(path + " " + r.type + " " + r.status); } catch (e) { got.push(path + " refused"); }
	};
	const body = new URLSearchParams({confirm: "coder"});
	await tryTo("/profile/coder/stop", {method: "POST", mode: "no-cors", credentials: "include", body});
	await tryTo("/profile/coder/delete", {method: "POST", mode: "no-cors", credentials: "include", body});
	await tryTo("/profile/coder/stop", {method: "POST", credentials: "include", headers: {Accept: "application/json"}, body});
	await tryTo("/", {credentials: "include"});
	await tryTo("/events", {credentials: "include"});
	navigator.sendBeacon(base + "/profile/coder/stop", body);
	document.querySelector("#framed").submit();
	// A script of the dashboard's would run in this page.
	await new Promise(done => { const s = document.createElement("script"); s.src = base + "/static/app.js"; s.onload = s.onerror = done; document.head.append(s); });
	return got;
})`

// attacked visits a foreign page, which tries to stop and to delete coder.
func (p *page) attacked(f *fleet) {
	p.t.Helper()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>innocent</title>
			<form id="stop" method="post" action="%[1]s/profile/coder/stop"><button>Win!</button></form>
			<form id="framed" method="post" target="hidden" action="%[1]s/profile/coder/stop"></form><iframe name="hidden"></iframe>
			<iframe id="frame" src="%[1]s/"></iframe>`, f.base())
	}))
	defer other.Close()
	p.allow("status of 40[13]|frame-ancestors|X-Frame-Options|blocked by CORS|net::ERR_FAILED|ERR_BLOCKED_BY_RESPONSE|MIME type")
	pid := p.runs(f, "coder")
	p.visit(other.URL)
	for _, outcome := range js[[]string](p, attack+"("+quote(f.base())+")") {
		if !strings.Contains(outcome, "refused") && !strings.Contains(outcome, "opaque 0") {
			p.t.Errorf("a foreign page reads the answer to %s", outcome)
		}
	}
	if js[bool](p, `Boolean(document.querySelector("#frame").contentDocument)`) {
		p.t.Error("a foreign page can look into a frame with the dashboard")
	}
	p.click("#stop button") // the person is talked into a click
	p.until("the answer is there", `location.origin === `+quote(f.base()))
	p.reads("body", "another origin")
	if state, now := f.state("coder"); state != "running" || now != pid {
		p.t.Errorf("coder is %s with pid %d after a foreign page's posts, it ran with %d", state, now, pid)
	}
	p.open("/") // whoever was logged in is, so that was not the reason
	if now := p.runs(f, "coder"); now != pid {
		p.t.Errorf("coder has pid %d, had %d", now, pid)
	}
}
