package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// plain is a page in a browser without JavaScript.
func (f *fleet) plain(t testing.TB, path string) *page {
	t.Helper()
	p := newPage(t, f.base())
	p.noScript()
	p.open(path)
	return p
}

// again reloads until the page says what it is waited for: without JavaScript
// nothing changes by itself.
func (p *page) again(selector, text string) {
	p.t.Helper()
	until(p.t, selector+" says "+text, func() bool {
		got, err := try[bool](p, "("+one(selector)+"?.innerText ?? '').includes("+quote(text)+")")
		if err == nil && got {
			return true
		}
		p.do("reload", chromedp.Reload())
		return false
	})
}

// TestWithoutJavaScript: the page works by its links and forms alone.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	f := mixed(t)
	p := f.plain(t, "/")
	if js[bool](p, `document.querySelector("#theme").checkVisibility()`) {
		t.Error("there is a button that does nothing")
	}
	if got := js[string](p, shownRows); got != "broken flappy ok default idle" {
		t.Errorf("the rows are %s", got)
	}
	p.click(`#counts [data-state="parked"]`)
	p.until("the link filters", shownRows+` === "broken"`)
	p.open("/")
	p.fill("#q", "fla")
	p.press("\r")
	p.until("the form filters", shownRows+` === "flappy"`)
	p.open("/")
	p.click(`[data-sort="profile"]`)
	p.until("the head sorts", shownRows+` === "broken default flappy idle ok"`)
	p.click(`[data-sort="profile"]`)
	p.until("the head sorts downwards", shownRows+` === "ok idle flappy default broken"`)

	p.open("/")
	p.click("#create summary")
	p.fill("#create-name", "late")
	p.press("\r")
	p.reads("#results .ok", "created profile 'late'")
	p.until("it leads back to the fleet", `location.pathname === "/" && document.querySelector("#gw-late")`)
	p.do("reload", chromedp.Reload())
	if text := p.text("#results"); text != "" {
		t.Errorf("the result is shown again after a reload: %q", text)
	}
	p.click(button("idle", "start"))
	p.reads("#results .ok", "idle is running")
	pid := f.running("idle")
	p.again(row("idle")+" td b", "running")
	p.click(button("idle", "restart"))
	p.reads(`#results .ok[data-verb="restart"]`, "idle is running")
	if again := f.running("idle"); again == pid {
		t.Errorf("idle still has pid %d after the restart", pid)
	}
	p.click(button("idle", "stop"))
	p.reads("#results .ok", "idle is stopped")
	p.again(row("idle")+" td b", "stopped")
	p.click(button("broken", "start"))
	p.reads("#results li", "broken")
	p.again(row("broken")+" td b", "parked")
}

// TestProfileWithoutJavaScript: the page of one profile, too.
func TestProfileWithoutJavaScript(t *testing.T) {
	t.Parallel()
	f := mixed(t)
	p := f.plain(t, "/profile/ok")
	p.reads("#state-word", "running")
	p.reads("#log", "probe up")
	if js[bool](p, `document.querySelector("#log-tools").checkVisibility()`) {
		t.Error("there are controls of the log that do nothing")
	}
	p.click(`[data-do="stop"]`)
	p.reads("#results .ok", "ok is stopped")
	p.until("the page is the profile's still", `location.pathname === "/profile/ok"`)
	p.again("#state-word", "stopped")
	p.click("#rename summary")
	p.fill("#rename-to", "fine")
	p.press("\r")
	p.reads("#results .ok", "renamed profile 'ok' to 'fine'")
	p.click("#delete summary")
	p.fill("#delete-confirm", "ok")
	p.press("\r")
	p.reads("#results .bad", "was not deleted")
	p.click("#delete summary")
	p.fill("#delete-confirm", "fine")
	p.press("\r")
	p.reads("#results .ok", "deleted profile 'fine'")
	p.until("its row is gone", one("#fleet")+" && !"+one(row("fine")))
}

// TestLogInWithoutJavaScript: the form of the log-in, and the one that ends it.
func TestLogInWithoutJavaScript(t *testing.T) {
	t.Parallel()
	f := guarded(t)
	p := f.plain(t, "/")
	p.allow("status of 401")
	p.logIn(user, "wrong")
	p.reads("[role=alert]", "wrong")
	p.logIn(user, password)
	p.reads(row("coder")+" td b", "running")
	p.click(button("coder", "stop"))
	p.reads("#results .ok", "coder is stopped")
	p.click("#sign-out")
	p.until("the form is shown again", one("#password"))
}
