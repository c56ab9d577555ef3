package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// shownRows are the profiles of the rows that can be seen, in their order.
const shownRows = `[...document.querySelectorAll("#rows tr")].filter(tr => tr.checkVisibility()).map(tr => tr.dataset.p).join(" ")`

// mixed is a fleet with a gateway of each kind: default and idle are stopped, ok
// runs, broken is parked, flappy waits for its next try.
func mixed(t testing.TB) *fleet {
	t.Helper()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("idle", shared.probe)
	f.profile("ok", shared.probe)
	f.profile("broken", shared.probe, "-exit=78")
	f.profile("flappy", shared.probe, "-exit=3")
	f.up("ok", "broken", "flappy")
	f.running("ok")
	f.until("broken is parked and flappy has crashed", func() bool {
		parked, _ := f.state("broken")
		s, err := f.tryStatus()
		if err != nil || parked != "parked" {
			return false
		}
		for _, g := range s.Gateways {
			if g.Profile == "flappy" {
				return g.Restarts > 3 && g.State == "backoff" // the waits are long by now
			}
		}
		return false
	})
	return f
}

func TestFilterAndSort(t *testing.T) {
	t.Parallel()
	f := mixed(t)
	p := f.open("/")
	p.until("all rows are shown, what is amiss first", shownRows+` === "broken flappy ok default idle"`)
	p.reads("#count-amiss", "2")

	p.press("/")
	p.until("/ goes to the filter", `document.activeElement.id === "q"`)
	p.press("FL")
	p.until("the filter matches names", shownRows+` === "flappy"`)
	p.reads("#shown", "1 of 5")
	p.press(kb.Escape)
	p.reads("#shown", "5 of 5")
	p.press("exit 78")
	p.until("the filter matches reasons", shownRows+` === "broken"`)
	p.fill("#q", "no such thing")
	p.reads("#none", "No gateway matches")
	p.fill("#q", "")

	js[any](p, `(s => { s.value = "parked"; s.dispatchEvent(new Event("change", {bubbles: true})); return true })(document.querySelector("#state"))`)
	p.until("the filter knows states", shownRows+` === "broken"`)
	if where := js[string](p, "location.search"); where != "?state=parked" {
		t.Errorf("the address remembers %q", where)
	}
	p.do("reload", chromedp.Reload())
	p.until("a reload keeps the filter", shownRows+` === "broken"`)
	p.click(`#counts [data-state=""]`)
	p.reads("#shown", "5 of 5")

	p.click(`[data-sort="profile"]`)
	p.until("the rows are sorted", shownRows+` === "broken default flappy idle ok"`)
	p.until("a screen reader is told", `document.querySelector('[data-sort="profile"]').parentElement.ariaSort === "ascending"`)
	p.click(`[data-sort="profile"]`)
	p.until("the rows are sorted downwards", shownRows+` === "ok idle flappy default broken"`)
	p.do("reload", chromedp.Reload())
	p.until("a reload keeps the order", shownRows+` === "ok idle flappy default broken"`)
}

// TestLongList: of a fleet that is longer than what is drawn at once all can be
// found and come to.
func TestLongList(t *testing.T) {
	t.Parallel()
	const n = 250
	f := newFleet(t)
	f.profile("default", shared.probe)
	for i := 1; i < n; i++ {
		f.profile(fmt.Sprintf("agent-%03d", i), shared.probe)
	}
	f.up("default")
	p := f.open("/?sort=profile")
	const drawn = `document.querySelectorAll("#rows tr").length`
	p.reads("#shown", "250 of 250")
	if got := js[int](p, drawn); got >= n {
		t.Errorf("%d rows are drawn at once", got)
	}
	p.until("scrolling comes to the end", `scrollTo(0, document.body.scrollHeight), `+drawn+` === 250 && document.querySelector("#gw-default").getBoundingClientRect().top < innerHeight`)
	p.open("/?sort=profile")
	p.fill("#q", "agent-249")
	p.until("the filter finds what is not drawn", shownRows+` === "agent-249"`)
	p.press("\r")
	p.press("\t")
	p.press("\r")
	p.runs(f, "agent-249")
	p.fill("#q", "")
	p.reads("#count-running", "2")
	f.hermes("gateway", "start", "agent-200") // which is not drawn
	p.reads("#count-running", "3")
	p.open("/?state=running")
	p.until("it is found", shownRows+` === "agent-200 agent-249 default"`)

	plain := f.plain(t, "/?sort=profile")
	if got := js[int](plain, drawn); got >= n {
		t.Errorf("%d rows are drawn at once without JavaScript", got)
	}
	plain.click("noscript a")
	plain.until("all are there to see without JavaScript", drawn+" === 250")
}

// TestKeyboard: the fleet can be worked without a mouse.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up()
	p := f.open("/")
	p.press("\t")
	if text := js[string](p, "document.activeElement.textContent"); !strings.Contains(text, "Skip") {
		t.Errorf("Tab goes to %q first, want the link past the head", text)
	}
	p.press("\r")
	p.until("Enter skips", `document.activeElement.id === "main" || location.hash === "#main"`)

	// Tab meets every control in the order in which they are in the page.
	p.open("/")
	var order []int
	for range 60 {
		p.press("\t")
		at := js[int](p, `[...document.querySelectorAll("a, button, input, select, summary")].filter(e => e.checkVisibility()).indexOf(document.activeElement)`)
		if at < 0 {
			break
		}
		order = append(order, at)
	}
	if all := js[int](p, `[...document.querySelectorAll("a, button, input, select, summary")].filter(e => e.checkVisibility() && e.type !== "hidden").length`); len(order) != all || !slices.IsSorted(order) {
		t.Errorf("Tab goes to %v of %d controls", order, all)
	}
	if !js[bool](p, `(b => { b.focus({focusVisible: true}); return getComputedStyle(b).outlineStyle !== "none" })(`+one(button("coder", "start"))+`)`) {
		t.Error("the focus cannot be seen")
	}

	p.press("/")
	p.press("cod")
	p.press("\r")
	p.until("Enter goes to the first row", `document.activeElement.closest("tr")?.dataset.p === "coder"`)
	p.press("\t")
	p.press("\r") // the first button is Start
	p.runs(f, "coder")
}

func TestTheme(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up()
	p := f.open("/")
	const paper = `getComputedStyle(document.body).backgroundColor`
	p.prefers("light")
	light := js[string](p, paper)
	p.prefers("dark")
	dark := js[string](p, paper)
	if light == dark {
		t.Errorf("the page is %s whether the system is light or dark", light)
	}
	for _, want := range []struct{ name, colour string }{{"light", light}, {"dark", dark}, {"system", dark}} {
		p.click("#theme")
		p.reads("#theme", want.name)
		p.do("reload", chromedp.Reload())
		p.reads("#theme", want.name)
		if got := js[string](p, paper); got != want.colour {
			t.Errorf("with the theme %s the page is %s, want %s", want.name, got, want.colour)
		}
	}
}

// TestPhone: on 360 pixels nothing has to be scrolled sideways, and buttons are
// large enough for a thumb.
func TestPhone(t *testing.T) {
	t.Parallel()
	f := mixed(t)
	p := newPage(t, f.base())
	p.allow("status of 404")
	p.size(360, 740, chromedp.EmulateMobile, chromedp.EmulateTouch)
	for _, path := range pages() {
		p.open(path)
		p.fits(path)
		small := js[[]string](p, `[...document.querySelectorAll("button, summary")].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).map(e => e.textContent)`)
		if len(small) > 0 {
			t.Errorf("%s: too small for a thumb: %q", path, small)
		}
	}
}

// fits fails the test if the page is wider than the window.
func (p *page) fits(where string) {
	p.t.Helper()
	wide := js[[]string](p, `(() => {
		const most = document.documentElement.clientWidth;
		const over = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && getComputedStyle(e).position !== "absolute" && e.getBoundingClientRect().right > most + 1 && !e.closest("pre, .scrolls, svg"));
		const said = over.map(e => e.tagName + "#" + e.id + "." + e.className + " " + Math.round(e.getBoundingClientRect().right) + " of " + most);
		if (document.documentElement.scrollWidth > most) said.unshift("the page is " + document.documentElement.scrollWidth + " of " + most);
		return said.slice(0, 10);
	})()`)
	if len(wide) > 0 {
		p.t.Errorf("%s is wider than the window:\n%s", where, strings.Join(wide, "\n"))
	}
}

// pages are all pages, of the fleet that mixed makes.
func pages() []string {
	return []string{"/", "/?state=amiss", "/profile/ok", "/profile/broken", "/profile/flappy", "/no-such-page"}
}

// TestAccessibility: what a screen reader finds on each page.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	f := mixed(t)
	for _, path := range pages() {
		t.Run(strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			p := newPage(t, f.base())
			p.allow("status of 404")
			p.open(path)
			p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
			if n := js[int](p, `document.querySelectorAll("h1").length`); n != 1 {
				t.Errorf("%d h1, want 1", n)
			}
			if lang := js[string](p, "document.documentElement.lang"); lang != "en" {
				t.Errorf("the language is %q", lang)
			}
			if ids := js[[]string](p, `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`); len(ids) > 0 {
				t.Errorf("ids that are there twice: %q", ids)
			}
			bad := js[[]string](p, `[...document.querySelectorAll("table")].filter(e => e.checkVisibility()).filter(e => !e.querySelector("thead th[scope=col]") || !(e.caption || e.ariaLabel || e.getAttribute("aria-labelledby"))).map(e => e.id)`)
			if len(bad) > 0 {
				t.Errorf("tables without heads or a name: %q", bad)
			}
			p.named()
		})
	}
}

// named fails the test for a control, a picture or a table that a screen reader
// has no name for.
func (p *page) named() {
	p.t.Helper()
	roles := []string{"button", "link", "textbox", "searchbox", "combobox", "checkbox", "DisclosureTriangle", "img", "image", "table", "dialog", "navigation", "log", "region"}
	found := 0
	for _, node := range call(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		role, name := axText(node.Role), axText(node.Name)
		if node.Ignored || !slices.Contains(roles, role) {
			continue
		}
		found++
		if strings.TrimSpace(name) == "" {
			p.t.Errorf("a %s without a name: %s", role, p.html(node))
		}
	}
	if found < 4 {
		p.t.Errorf("only %d controls are in the accessibility tree", found)
	}
}

func axText(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

// html is the beginning of what a node was made of.
func (p *page) html(node *accessibility.Node) string {
	html := call(p, dom.GetOuterHTML, dom.GetOuterHTMLParams{BackendNodeID: node.BackendDOMNodeID}).OuterHTML
	return html[:min(len(html), 200)]
}
