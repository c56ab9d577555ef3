package access

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// The paths of the guard itself.
const (
	LoginPath  = "/login"     // GET: the form; POST: username and password, or token, and next
	StylePath  = "/login.css" // of the form, which who is not logged in yet may have
	LogoutPath = "/logout"    // POST
)

//go:embed login.html
var loginPage string

//go:embed login.css
var loginStyle []byte

// pages are the pages of the guard.
type pages struct{ form *template.Template }

func newPages() (*pages, error) {
	form, err := template.New("login").Parse(loginPage)
	if err != nil {
		return nil, err
	}
	return &pages{form}, nil
}

// style answers with the style of the form.
func (p *pages) style(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(loginStyle) // the browser may be gone
}

// page is what the template is given.
type page struct {
	Title, Message, Hint string
	Form, User, Token    bool
	Next, Login, Style   string
}

// refusal shows why not, with the form where that helps.
func (p *pages) refusal(w http.ResponseWriter, r *http.Request, g *Guard, f *refusal) {
	next := f.next
	if next == "" && r.Method == http.MethodGet && r.URL.Path != LoginPath {
		next = r.URL.RequestURI()
	}
	data := page{
		Title: http.StatusText(f.status), Message: f.message, Hint: f.hint,
		Form: f.form, User: g.keys.hasUser, Token: g.keys.hasToken && !g.keys.hasUser,
		Next: localPath(next), Login: LoginPath, Style: StylePath,
	}
	if f.form {
		data.Title, data.Hint = "Log in", ""
		if f.code == "unauthorized" {
			data.Message = ""
		}
	}
	p.show(w, g, f.status, data)
}

func (p *pages) show(w http.ResponseWriter, g *Guard, status int, data page) {
	var b bytes.Buffer
	if err := p.form.Execute(&b, data); err != nil {
		g.log.Error("cannot show the log-in", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may be gone
}

// login shows the form, or takes what was filled in.
func (g *Guard) login(w http.ResponseWriter, r *http.Request) *refusal {
	if g.keys.none() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if _, expires, refusal := g.identify(r); refusal == nil && !expires.IsZero() {
			http.Redirect(w, r, localPath(r.URL.Query().Get("next")), http.StatusSeeOther)
			return nil
		}
		g.pages.show(w, g, http.StatusOK, page{
			Title: "Log in", Form: true, User: g.keys.hasUser, Token: !g.keys.hasUser,
			Next: localPath(r.URL.Query().Get("next")), Login: LoginPath, Style: StylePath,
		})
		return nil
	case http.MethodPost:
		return g.enter(w, r)
	}
	return wrongMethod()
}

// enter begins a session if the credentials are right.
func (g *Guard) enter(w http.ResponseWriter, r *http.Request) *refusal {
	if err := r.ParseForm(); err != nil {
		return &refusal{status: http.StatusBadRequest, code: "usage", message: "the form cannot be read"}
	}
	form, kind := r.PostForm, byPassword
	next := localPath(form.Get("next"))
	name, refusal := g.attempt(r, func() (string, bool) {
		if form.Has("token") {
			kind = byToken
			return tokenName, g.keys.checkToken(form.Get("token"))
		}
		return g.keys.name, g.keys.checkPassword(r.Context(), form.Get("username"), form.Get("password"))
	})
	if refusal != nil {
		refusal.next = next
		return refusal
	}
	g.log.Info("logged in", "user", name, "peer", peerOf(r.RemoteAddr).String())
	g.sessions.set(w, r, g.sessions.seal(kind, g.now()))
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// logout takes the session's cookie away.
func (g *Guard) logout(w http.ResponseWriter, r *http.Request) *refusal {
	if r.Method != http.MethodPost {
		return wrongMethod()
	}
	g.sessions.set(w, r, "")
	http.Redirect(w, r, LoginPath, http.StatusSeeOther)
	return nil
}

// localPath is a path of the dashboard's own to go to, "/" for anything else:
// browsers take "//host", "/\host" and "/<tab>/host" for other hosts.
func localPath(s string) string {
	const longest = 2048
	odd := func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }
	u, err := url.Parse(s)
	switch {
	case err != nil, len(s) > longest, !strings.HasPrefix(s, "/"), strings.HasPrefix(s, "//"),
		strings.ContainsFunc(s, odd), u.Host != "", u.Scheme != "",
		u.Path == LoginPath, u.Path == LogoutPath:
		return "/"
	}
	return s
}
