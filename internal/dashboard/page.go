package dashboard

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hermes/internal/amount"
)

// frame is what every page has around its content.
type frame struct {
	Title   string
	Page    string // which one: "fleet", "profile", "problem"
	Profile string // that it is about, "" for the fleet
	Head    head
	Seq     uint64
	Now     time.Time
	User    string
	SignOut string
	Result  *result // of the post that led here
}

// NowMillis is the clock that the page sets its own by.
func (f frame) NowMillis() int64 { return f.Now.UnixMilli() }

func (d *Dashboard) frame(r *http.Request, page, title string) frame {
	f := frame{Title: title, Page: page, Now: time.Now(), SignOut: d.o.SignOut}
	_, f.Head, f.Seq = d.hub.now()
	f.Head.Hint = d.address(f.Head.Hint)
	f.Result = d.results.take(r.URL.Query().Get("result"))
	if d.o.User != nil {
		f.User = d.o.User(r)
	}
	return f
}

// parsePages reads the templates; that they are well formed is a matter of the
// tests.
func parsePages(f files) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"file":    f.address,
		"segment": url.PathEscape,
		"ago":     func(now time.Time, at int64) string { return ago(now, at) },
		"in":      func(now time.Time, at int64) string { return until(now, at) },
		"utc":     utc,
	}).ParseFS(embedded, "templates/*.html"))
}

// ago is how long ago at was, "" for no time.
func ago(now time.Time, at int64) string {
	if at == 0 {
		return ""
	}
	return amount.Span(now.Sub(time.UnixMilli(at)))
}

// until is how soon at is, "" for no time.
func until(now time.Time, at int64) string {
	if at == 0 {
		return ""
	}
	return "in " + amount.Span(time.UnixMilli(at).Sub(now))
}

// utc is at for people, "" for no time.
func utc(at int64) string {
	if at == 0 {
		return ""
	}
	return time.UnixMilli(at).UTC().Format("2006-01-02 15:04:05 UTC")
}

// render answers with a page. It is made as a whole first: half a page cannot
// be taken back.
func (d *Dashboard) render(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := d.pages.ExecuteTemplate(&b, name, data); err != nil {
		d.o.Logger.Error("cannot make a page", "page", name, "error", err)
		http.Error(w, "internal error: the page cannot be made; the dashboard's log says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may be gone
}

// problem is a page that says what is wrong.
type problem struct {
	frame
	Message, Fix string
}

func (d *Dashboard) notFound(w http.ResponseWriter, r *http.Request) {
	d.render(w, http.StatusNotFound, "problem.html", problem{
		frame: d.frame(r, "problem", "No such page"), Message: "There is no such page.",
	})
}
