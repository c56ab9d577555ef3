package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// Limits of a post.
const (
	maxForm    = 8 << 10
	actionMost = 10 * time.Minute // longer than a start or a stop takes
)

// order is what a person asked for.
type order struct {
	verb, name string
	to         string // of rename
}

// flights are the orders that are being carried out. A second one of the same
// words joins the first: a double click is one click.
type flights struct {
	mu    sync.Mutex // guards under
	under map[order]*flight
	wait  sync.WaitGroup
}

type flight struct {
	done   chan struct{} // closed when result is there
	result result
}

// post carries out the order of a form: POST /profile/{name}/{verb}, and POST
// /profiles, which has the name in the form. A browser that asks for JSON gets
// the result, another one is sent back to a page that shows it.
func (d *Dashboard) post(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	o := order{verb: r.PathValue("verb"), name: r.PathValue("name"), to: strings.TrimSpace(r.PostForm.Get("to"))}
	if o.verb == "" {
		o.verb, o.name = "create", strings.TrimSpace(r.PostForm.Get("name"))
	}
	do := d.verbs()[o.verb]
	if do == nil {
		d.notFound(w, r)
		return
	}
	if o.verb != "rename" {
		o.to = ""
	}
	var res result
	if o.verb == "delete" && strings.TrimSpace(r.PostForm.Get("confirm")) != o.name {
		res = o.failed(fault.New(fault.Usage, "profile '%s' was not deleted: its name was not typed", o.name))
	} else {
		var ok bool
		if res, ok = d.fly(r, o, do); !ok {
			return // the browser has gone, the order goes on
		}
		d.hub.fresh(r.Context(), time.Now())
	}
	res.Hint = d.address(res.Hint)
	d.answer(w, r, res)
}

// answer tells the result in the way the browser asked for.
func (d *Dashboard) answer(w http.ResponseWriter, r *http.Request, res result) {
	back := pageBefore(r)
	if res.OK {
		switch {
		case res.Verb == "delete":
			back = &url.URL{Path: "/"}
		case res.Verb == "rename" && back.Path != "/":
			back = &url.URL{Path: "/profile/" + res.Profile}
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		http.Redirect(w, r, d.showing(back, res), http.StatusSeeOther)
		return
	}
	if before := pageBefore(r); before.Path != back.Path {
		res.Location = d.showing(back, res)
	}
	status := http.StatusOK
	if !res.OK {
		status = fault.Code(res.Code).HTTPStatus()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(res) // the browser may be gone
}

// showing is the address of a page that shows a result.
func (d *Dashboard) showing(page *url.URL, res result) string {
	q := page.Query()
	q.Set("result", d.results.keep(res))
	return (&url.URL{Path: page.Path, RawQuery: q.Encode()}).String()
}

// pageBefore is the page a form was on, as the browser says; nothing but one of
// ours.
func pageBefore(r *http.Request) *url.URL {
	before, err := url.Parse(r.Referer())
	if err != nil {
		return &url.URL{Path: "/"}
	}
	name, of := strings.CutPrefix(before.Path, "/profile/")
	if before.Path != "/" && (!of || strings.Contains(name, "/") || strings.Contains(name, "..")) {
		return &url.URL{Path: "/"}
	}
	q := before.Query()
	q.Del("result")
	return &url.URL{Path: before.Path, RawQuery: q.Encode()}
}

// fly carries an order out, or waits for the one under way; false if the
// browser or the dashboard went away meanwhile.
func (d *Dashboard) fly(r *http.Request, o order, do verb) (result, bool) {
	by := d.by(r)
	d.flights.mu.Lock()
	f := d.flights.under[o]
	if f == nil && d.life.Err() != nil {
		d.flights.mu.Unlock()
		return o.failed(fault.New(fault.Shutdown, "the dashboard is ending")), true
	}
	if f == nil {
		f = &flight{done: make(chan struct{})}
		if d.flights.under == nil {
			d.flights.under = map[order]*flight{}
		}
		d.flights.under[o] = f
		d.flights.wait.Go(func() { d.carryOut(o, by, do, f) })
	}
	d.flights.mu.Unlock()
	select {
	case <-f.done:
		return f.result, true
	case <-r.Context().Done():
		return result{}, false
	}
}

// carryOut does what was ordered whether or not the browser waits: half a
// restart helps nobody.
func (d *Dashboard) carryOut(o order, by string, do verb, f *flight) {
	ctx, cancel := context.WithTimeout(d.life, actionMost)
	defer cancel()
	c, err := d.o.Connect(by)
	if err != nil {
		f.result = o.failed(err)
	} else {
		f.result = do(ctx, c, o)
	}
	d.o.Logger.Info("action", "verb", o.verb, "profile", o.name, "by", by, "ok", f.result.OK)
	d.flights.mu.Lock()
	delete(d.flights.under, o)
	d.flights.mu.Unlock()
	close(f.done)
}

// verb carries out one kind of order.
type verb func(ctx context.Context, c Control, o order) result

func (d *Dashboard) verbs() map[string]verb {
	return map[string]verb{
		"start":   act(Control.Start),
		"stop":    act(Control.Stop),
		"restart": act(Control.Restart),
		"create":  create,
		"rename":  rename,
		"delete":  remove,
	}
}

// act is one of the actions on a gateway.
func act(do func(Control, context.Context, string, api.ActionRequest) (api.ActionResult, error)) verb {
	return func(ctx context.Context, c Control, o order) result {
		res, err := do(c, ctx, o.name, api.ActionRequest{})
		if err != nil {
			return o.failed(err)
		}
		return o.acted(res)
	}
}

func create(ctx context.Context, c Control, o order) result {
	p, err := c.CreateProfile(ctx, o.name)
	if err != nil {
		return o.failed(err)
	}
	return o.done("created profile '"+o.name+"', its gateway is down until you start it", warning(p)...)
}

func rename(ctx context.Context, c Control, o order) result {
	p, err := c.RenameProfile(ctx, o.name, o.to)
	if err != nil {
		return o.failed(err)
	}
	res := o.done("renamed profile '"+o.name+"' to '"+o.to+"'", warning(p)...)
	res.Profile = o.to
	return res
}

func remove(ctx context.Context, c Control, o order) result {
	if err := c.DeleteProfile(ctx, o.name); err != nil {
		return o.failed(err)
	}
	return o.done("deleted profile '" + o.name + "'")
}

func warning(p api.Profile) []string {
	if p.Warning == "" {
		return nil
	}
	return []string{p.Warning}
}
