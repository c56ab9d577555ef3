package dashboard

import (
	"bytes"
	"strings"
	"testing"
)

// The rows of the page are what html/template would have made of them, whatever
// is in them.
func FuzzRowIsTheTemplates(f *testing.F) {
	d := New(Options{})
	f.Add("coder", "running", "exit 78: no key", "ok", int64(1), 9300)
	f.Add("", "", "", "", int64(0), 0)
	f.Add(`x" onload="alert(1)`, "</td><script>alert(1)</script>", "a+b&c<d>'e'\"\x00\xff\u2028", "javascript:alert(1)", int64(-1), -5)
	f.Add("../%2e?x#y é日", "&amp;", "\r\n\t`{{.}}`", "<!--", int64(1<<62), 1<<30)
	f.Fuzz(func(t *testing.T, name, state, reason, health string, n int64, port int) {
		r := shownRow{
			row:       row{Profile: name, Level: level(state), Intent: health, State: state, Health: health, Since: n, Restarts: port, Retry: n, Port: port, Memory: n, Reason: reason},
			SinceText: reason, RetryText: state,
		}
		var want bytes.Buffer
		if err := d.pages.ExecuteTemplate(&want, "row", r); err != nil {
			t.Fatal(err)
		}
		if got := string(rowsHTML([]shownRow{r})); got != want.String() {
			t.Errorf("got\n%q\nwant\n%q", got, want.String())
		}
	})
}

// Nothing of what a gateway says leaves its place, in any part of any page.
func TestHostileText(t *testing.T) {
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\x1b[31m\u202e"
	e := three()
	g := &e.fleet.Gateways[0]
	g.Reason, g.Status, g.IntentBy, g.Hint = evil, evil, evil, evil
	e.fleet.Notices = append(e.fleet.Notices, noticeOf(evil))
	e.cfg = configOf(evil)
	e.exits, e.past = exitsOf(evil), eventsOf(evil)
	d := start(t, e, nil)
	for _, path := range []string{"/?q=%3Cscript%3E&state=%22", "/profile/broken", "/profile/broken/panel", "/profile/%3Cscript%3Ealert(1)%3C%2Fscript%3E"} {
		_, page := get(t, d, path)
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
			t.Errorf("%s: %s", path, page)
		}
		if strings.Contains(page, " style=") || strings.Contains(page, "<style") || strings.Contains(page, "onclick") {
			t.Errorf("%s has what the content security policy forbids", path)
		}
	}
}
