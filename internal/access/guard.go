package access

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"hermes/internal/config"
)

// Options is what a guard is made of.
type Options struct {
	Bind     Bind // where the dashboard listens
	Settings config.Dashboard
	Logger   *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Guard is the rules of one dashboard.
type Guard struct {
	log      *slog.Logger
	now      func() time.Time
	hosts    hosts
	keys     *credentials
	sessions *sessions
	attempts *limiter
	origins  *http.CrossOriginProtection
	pages    *pages
}

// New makes a guard. The error is an invalid_config fault that names every
// variable that is missing or wrong.
func New(o Options) (*Guard, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := check(o.Bind, o.Settings); err != nil {
		return nil, err
	}
	keys, err := newCredentials(o.Settings)
	if err != nil {
		return nil, err
	}
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	return &Guard{
		log: o.Logger, now: o.Now,
		hosts: newHosts(o.Bind, o.Settings.AllowedHosts),
		keys:  keys, sessions: newSessions(o.Settings),
		attempts: newLimiter(),
		origins:  http.NewCrossOriginProtection(),
		pages:    pages,
	}, nil
}

// Open reports that whoever reaches the dashboard may use it: no credentials
// are set, and only this machine reaches it.
func (g *Guard) Open() bool { return g.keys.none() }

// Caller is who asks. The zero value is whoever is on this machine, where no
// credentials are set.
type Caller struct {
	Name    string // the user, or "token"
	Session bool   // a browser that logged in, and may log out
}

type callerKey struct{}

// CallerOf is the caller of a request that a guard let pass.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// maxBody is the longest body of a request: a form.
const maxBody = 64 << 10

// Wrap puts the rules before next. The paths [LoginPath], [StylePath] and
// [LogoutPath] are the guard's own.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(hw http.ResponseWriter, r *http.Request) {
		w := &recorder{ResponseWriter: hw}
		setHeaders(w.Header())
		defer w.hurry()
		defer g.recovered(w, r)
		if refusal := g.serve(w, r, next); refusal != nil {
			g.refuse(w, r, refusal)
		}
	})
}

// serve passes the rules in their order; nil says that r was answered.
func (g *Guard) serve(w http.ResponseWriter, r *http.Request, next http.Handler) *refusal {
	if refusal := g.hosts.check(r.Host); refusal != nil {
		return refusal
	}
	if refusal := g.checkOrigin(r); refusal != nil {
		return refusal
	}
	if refusal := readBody(w, r); refusal != nil {
		return refusal
	}
	switch r.URL.Path {
	case StylePath:
		g.pages.style(w)
		return nil
	case LoginPath:
		return g.login(w, r)
	case LogoutPath:
		return g.logout(w, r)
	}
	caller, expires, refusal := g.identify(r)
	if refusal != nil {
		return refusal
	}
	ctx := context.WithValue(r.Context(), callerKey{}, caller)
	if !expires.IsZero() { // a stream ends with its session
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, expires)
		defer cancel()
	}
	next.ServeHTTP(w, r.WithContext(ctx))
	return nil
}

// identify says who asks, and until when that holds if it ends. A session is
// looked at first: it is no attempt, and goes on while attempts are refused.
func (g *Guard) identify(r *http.Request) (Caller, time.Time, *refusal) {
	if g.keys.none() {
		return Caller{}, time.Time{}, nil
	}
	for _, c := range r.CookiesNamed(g.sessions.cookie) {
		if name, expires, ok := g.sessions.open(c.Value, g.now()); ok {
			return Caller{Name: name, Session: true}, expires, nil
		}
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return Caller{}, time.Time{}, unauthorized()
	}
	name, refusal := g.attempt(r, func() (string, bool) { return g.keys.checkHeader(r.Context(), header) })
	return Caller{Name: name}, time.Time{}, refusal
}

// attempt has somebody try credentials, unless too many were wrong before. The
// try is counted before its outcome is known: a thousand at a time are not less
// than one after the other.
func (g *Guard) attempt(r *http.Request, try func() (name string, ok bool)) (string, *refusal) {
	peer := peerOf(r.RemoteAddr)
	if wait := g.attempts.take(peer, g.now()); wait > 0 {
		return "", tooMany(wait)
	}
	name, ok := try()
	if ok {
		g.attempts.giveBack(peer)
		return name, nil
	}
	if r.Context().Err() == nil {
		g.log.Warn("credentials refused", "peer", peer.String(), "path", shorten(r.URL.Path))
	}
	return "", wrongCredentials()
}
