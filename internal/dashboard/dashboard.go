package dashboard

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"hermes/api"
	"hermes/internal/fault"
)

// Options are the parts of a [Dashboard]; Connect and Logger are needed.
type Options struct {
	// Connect gives a client of the control API for one request, made on behalf
	// of by ("dashboard", "dashboard alice"): see [Home].
	Connect func(by string) (Control, error)
	Logger  *slog.Logger
	// User is the name of who made the request, "" where nobody has to say it;
	// nil is the latter.
	User func(r *http.Request) string
	// SignOut is the path to which the page posts to end the session; "" shows
	// no such button.
	SignOut string
	// Address makes a command of a hint lead to this home from where people
	// type; nil leaves it as it is.
	Address func(hint string) string
}

// Dashboard is the page. It is an http.Handler from the start; until
// [Dashboard.Run] runs it shows that it knows nothing yet.
type Dashboard struct {
	o       Options
	mux     *http.ServeMux
	hub     *hub
	pages   *template.Template
	files   files
	streams chan struct{} // a token for each stream to a browser
	flights flights
	results kept
	// life ends when Run returns: streams and orders end with it.
	life context.Context
	end  context.CancelFunc
}

// maxStreams bounds the streams to browsers, each of which is a connection: a
// page has one, and one more while it shows a log.
const maxStreams = 128

// New makes a dashboard; it does nothing before it is asked.
func New(o Options) *Dashboard {
	d := &Dashboard{
		o: o, mux: http.NewServeMux(), files: readFiles(),
		streams: make(chan struct{}, maxStreams),
	}
	d.life, d.end = context.WithCancel(context.Background())
	d.hub = newHub(func(ctx context.Context) (api.Fleet, error) {
		c, err := o.Connect("dashboard")
		if err != nil {
			return api.Fleet{}, err
		}
		return c.Fleet(ctx)
	}, o.Logger)
	d.pages = parsePages(d.files)
	for _, rt := range d.routes() {
		d.mux.Handle(rt.pattern, rt.handle)
	}
	return d
}

// route is one row of what the dashboard serves.
type route struct {
	pattern string
	handle  http.HandlerFunc
}

func (d *Dashboard) routes() []route {
	return []route{
		{"GET /{$}", d.fleetPage},
		{"GET /events", d.stream},
		{"GET /profile/{name}", d.profilePage},
		{"GET /profile/{name}/panel", d.panel},
		{"GET /profile/{name}/log", d.log},
		{"POST /profiles", d.post},
		{"POST /profile/{name}/{verb}", d.post},
		{"GET /static/{file}", d.static},
		{"/", d.notFound},
	}
}

// ServeHTTP serves a page, a post or a stream. A stream lasts as long as the
// browser reads it: the server must not have a WriteTimeout.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// Run keeps the dashboard informed until ctx ends; then every stream ends, too.
// It is called once.
func (d *Dashboard) Run(ctx context.Context) error {
	var listener sync.WaitGroup
	listener.Go(func() { d.hub.listen(ctx, func() (Teller, error) { return d.o.Connect("dashboard") }) })
	d.hub.run(ctx)
	listener.Wait()
	d.flights.mu.Lock()
	d.end() // from here on nobody takes off
	d.flights.mu.Unlock()
	d.flights.wait.Wait()
	return nil
}

// by is on whose behalf a request is made: what the control API takes for that
// is a short line of ASCII.
func (d *Dashboard) by(r *http.Request) string {
	const most = 64
	by := "dashboard"
	if d.o.User != nil {
		by = strings.TrimSpace(by + " " + d.o.User(r))
	}
	by = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, by)
	return by[:min(len(by), most)]
}

// words are what a person is told about err.
func words(err error) (msg, hint string) {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Msg, f.Hint
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the engine does not answer", "hermes health --live"
	}
	return "internal error: " + err.Error(), ""
}

func (d *Dashboard) address(hint string) string {
	if hint == "" || d.o.Address == nil {
		return hint
	}
	return d.o.Address(hint)
}
