package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// page is a tab of the browser, alone with its cookies and storage. When the
// test ends, it fails for every request to another host, every error in the
// console and every script that should not have run.
type page struct {
	t   testing.TB
	ctx context.Context
	// close closes the tab. The end of the test does it, too.
	close func()
	base  string // "http://127.0.0.1:9119"
	also  string // another origin that a test has the browser visit

	mu       sync.Mutex       // guards what the browser tells
	requests []string         // addresses
	said     []string         // errors and warnings of the console
	allowed  []*regexp.Regexp // of said
}

// canary is set by every hostile text of the tests, if it is ever executed.
const canary = "hermesCanary"

// open opens a tab with a page of the dashboard.
func (f *fleet) open(path string) *page {
	f.t.Helper()
	p := newPage(f.t, f.base())
	p.open(path)
	return p
}

func newPage(t testing.TB, base string) *page {
	t.Helper()
	p := &page{t: t, base: base}
	ctx, cancel := chromedp.NewContext(shared.browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	p.ctx = ctx
	p.close = sync.OnceFunc(func() {
		p.check()
		cancel()
	})
	t.Cleanup(p.close)
	p.do("open a tab", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}))
	return p
}

// hear notes what the browser tells of the tab.
func (p *page) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			p.said = append(p.said, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventConsoleAPICalled:
		p.said = append(p.said, "console."+string(e.Type))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.said = append(p.said, "exception: "+text)
	}
}

// listen has f hear what the browser tells of the tab. It must not block.
func (p *page) listen(f func(event any)) {
	p.t.Helper()
	if err := chromedp.Listen(p.ctx, f); err != nil {
		p.t.Fatal(err)
	}
}

// allow expects messages in the console, such as those of a dashboard that is
// away.
func (p *page) allow(expression string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, regexp.MustCompile(expression))
}

// visit goes to a page of another origin, which may ask the dashboard for what
// it likes: that is noted, and no failure.
func (p *page) visit(url string) {
	p.t.Helper()
	p.mu.Lock()
	p.also = url
	p.mu.Unlock()
	p.do("visit "+url, chromedp.Navigate(url))
}

// check fails the test for what no page may do.
func (p *page) check() {
	if p.t.Failed() {
		p.show()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range p.requests {
		if u, err := url.Parse(address); err != nil || u.Scheme+"://"+u.Host != p.base && u.Scheme+"://"+u.Host != p.also {
			p.t.Errorf("the page asked another host: %s", address)
		}
	}
	for _, message := range p.said {
		fine := false
		for _, a := range p.allowed {
			fine = fine || a.MatchString(message)
		}
		if !fine {
			p.t.Errorf("in the console: %s", message)
		}
	}
}

// show logs what a person would see of a page on which a test has failed.
func (p *page) show() {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`)); err == nil {
		p.t.Logf("the page: %s", text)
	}
}

// do carries steps out, as a person does.
func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	// The first use of the context starts the tab and must not have a deadline.
	ctx, cancel := p.ctx, context.CancelFunc(func() {})
	if chromedp.FromContext(p.ctx).Target != nil {
		ctx, cancel = context.WithTimeout(p.ctx, patience)
	}
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("cannot %s: %v", what, err)
	}
}

// call sends a command of the browser's protocol.
func call[P, R any](p *page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

// open goes to a page of the dashboard and waits until it is loaded.
func (p *page) open(path string) {
	p.t.Helper()
	p.do("open "+path, chromedp.Navigate(p.base+path))
}

// js evaluates an expression in the page.
func js[T any](p *page, expression string) T {
	p.t.Helper()
	v, err := try[T](p, expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func try[T any](p *page, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// until waits until an expression is true in the page. The page may be on its
// way to another one meanwhile.
func (p *page) until(what, expression string) {
	p.t.Helper()
	until(p.t, what, func() bool {
		v, err := try[bool](p, "Boolean("+expression+")")
		return err == nil && v
	})
}

// quote is text as an expression of JavaScript's.
func quote(text string) string {
	b, _ := json.Marshal(text) // a string always has a form in JSON
	return string(b)
}

// one is the expression for an element.
func one(selector string) string { return "document.querySelector(" + quote(selector) + ")" }

// text is an element's, "" if there is none.
func (p *page) text(selector string) string {
	p.t.Helper()
	return js[string](p, "("+one(selector)+"?.innerText ?? '').trim()")
}

// reads waits until an element's text contains what is given.
func (p *page) reads(selector, text string) {
	p.t.Helper()
	p.until(selector+" says "+strconv.Quote(text), "("+one(selector)+"?.innerText ?? '').includes("+quote(text)+")")
}

// hit focuses an element and presses Enter there: what is clicked with a mouse
// may have moved on.
func (p *page) hit(selector string) {
	p.t.Helper()
	p.focus(selector)
	p.press("\r")
}

// focus waits for an element that can be seen and used.
func (p *page) focus(selector string) {
	p.t.Helper()
	p.until(selector+" can have the focus", fmt.Sprintf("(e => { if (!e || !e.checkVisibility() || e.disabled) return false; e.focus(); return document.activeElement === e })(%s)", one(selector)))
}

// click clicks with the mouse.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// press presses keys wherever the focus is. A key and its letter are one event,
// as a page that takes the key for itself keeps the letter from being typed.
func (p *page) press(keys string) {
	p.t.Helper()
	p.do("press "+strconv.Quote(keys), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for _, r := range keys {
			events := kb.Encode(r) // down, the letter, up
			down, up := events[0], events[len(events)-1]
			down.Type = input.DispatchKeyEventTypeRawKeyDown
			if len(events) > 2 {
				down.Type, down.Text = input.DispatchKeyEventTypeKeyDown, events[1].Text
			}
			for _, e := range []*input.DispatchKeyEventParams{down, up} {
				if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, *e); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// fill replaces what is in a field.
func (p *page) fill(selector, text string) {
	p.t.Helper()
	p.focus(selector)
	js[chromedp.Void](p, one(selector)+".select()")
	if text == "" {
		p.press("\b")
		return
	}
	p.press(text)
}

// size makes the window of that many CSS pixels.
func (p *page) size(width, height int64, options ...chromedp.EmulateViewportOption) {
	p.t.Helper()
	p.do("resize", chromedp.EmulateViewport(width, height, options...))
}

// prefers sets the colour scheme that the system asks pages for.
func (p *page) prefers(scheme string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// noScript turns JavaScript off.
func (p *page) noScript() {
	p.t.Helper()
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// harmless fails the test if a hostile text did something.
func (p *page) harmless(where string) {
	p.t.Helper()
	if js[bool](p, "'"+canary+"' in window") {
		p.t.Errorf("%s: a script of a gateway's ran", where)
	}
	if strings.Contains(js[string](p, "document.title"), canary) {
		p.t.Errorf("%s: the title is a gateway's", where)
	}
}
