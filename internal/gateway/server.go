package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Paths of the API.
const (
	healthPath = "/health"
	modelsPath = "/v1/models"
	chatPath   = "/v1/chat/completions"
)

// server is the API of one gateway.
type server struct {
	settings settings
	version  string
	log      *slog.Logger
	limits   limits
	keyHash  [sha256.Size]byte
	started  time.Time
	busy     chan struct{} // one for every chat under way

	mu       sync.Mutex // guards what is below
	draining bool
	active   int           // API requests under way
	idle     chan struct{} // closed once draining and nothing is under way
}

var _ http.Handler = (*server)(nil)

func newServer(s settings, version string, log *slog.Logger) *server {
	l := defaultLimits()
	return &server{
		settings: s, version: version, log: log, limits: l, started: time.Now(),
		keyHash: sha256.Sum256([]byte(s.key.Reveal())),
		busy:    make(chan struct{}, l.chats), idle: make(chan struct{}),
	}
}

// close releases connections to the provider.
func (s *server) close() {
	if c, ok := s.settings.provider.(interface{ close() }); ok {
		c.close()
	}
}

// handler answers one route.
type handler func(w *recorder, r *http.Request) error

// routes maps path and method to what answers.
func (s *server) routes() map[string]map[string]handler {
	return map[string]map[string]handler{
		healthPath: {http.MethodGet: s.health, http.MethodHead: s.health},
		modelsPath: {http.MethodGet: s.api(s.models), http.MethodHead: s.api(s.models)},
		chatPath:   {http.MethodPost: s.api(s.chat)},
	}
}

// ServeHTTP answers a request, renders its error and logs it.
func (s *server) ServeHTTP(hw http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w := &recorder{ResponseWriter: hw}
	defer func() {
		if w.entered { // and its answer, or error, is written
			s.leave()
		}
	}()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	err := s.route(w, r)
	e := (*apiError)(nil)
	if err != nil {
		e = s.fail(w, r, err)
	}
	if r.URL.Path == healthPath && err == nil {
		return // a probe asks every few seconds
	}
	attrs := []any{"method", r.Method, "path", shorten(r.URL.Path), "status", w.status, "duration", time.Since(began).Round(time.Microsecond).String()}
	if e != nil {
		attrs = append(attrs, "code", e.code)
	}
	s.log.Info("request", attrs...)
}

// shorten keeps a hostile path from filling the log.
func shorten(path string) string {
	const most = 200
	if len(path) > most {
		return path[:most] + "…"
	}
	return path
}

// fail tells the client about err as far as there is a client and nothing was
// answered yet, and returns what it told.
func (s *server) fail(w *recorder, r *http.Request, err error) *apiError {
	e := asError(r.Context(), err)
	switch {
	case e == nil:
		w.status = statusClientGone
		return nil
	case e.code == codeInternal:
		s.log.Error("internal error", "path", shorten(r.URL.Path), "error", err)
	}
	if w.status == 0 {
		writeError(w, e)
	}
	return e
}

func (s *server) route(w *recorder, r *http.Request) error {
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	methods, ok := s.routes()[r.URL.Path]
	if !ok {
		if err := s.checkKey(r); err != nil { // strangers learn nothing
			return err
		}
		return newError(http.StatusNotFound, codeNotFound, "there is no "+shorten(r.URL.Path)+" here; there are "+
			healthPath+", "+modelsPath+" and "+chatPath)
	}
	h, ok := methods[r.Method]
	if !ok {
		e := newError(http.StatusMethodNotAllowed, codeMethod, r.URL.Path+" does not answer to this method")
		e.header = http.Header{"Allow": {allowed(methods)}}
		return e
	}
	return h(w, r)
}

func allowed(methods map[string]handler) string {
	if _, ok := methods[http.MethodPost]; ok {
		return http.MethodPost
	}
	return http.MethodGet + ", " + http.MethodHead
}

// api wraps what needs the key and is refused while draining.
func (s *server) api(h handler) handler {
	return func(w *recorder, r *http.Request) error {
		if err := s.checkKey(r); err != nil {
			return err
		}
		if !s.enter() {
			return shuttingDown()
		}
		w.entered = true
		return h(w, r)
	}
}

// checkKey compares in constant time; hashes make that independent of length.
func (s *server) checkKey(r *http.Request) error {
	if s.settings.key == "" {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if subtle.ConstantTimeCompare(got[:], s.keyHash[:]) == 1 && strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	e := newError(http.StatusUnauthorized, codeInvalidKey, "the key is missing or wrong: send Authorization: Bearer <API_SERVER_KEY>")
	e.header = http.Header{"Www-Authenticate": {"Bearer"}}
	return e
}

// checkOrigin protects a gateway without a key, which trusts whoever is on
// this machine, from the pages in a browser on this machine: a foreign Origin
// is a page that tries, a foreign Host a page whose name was bound to our
// address.
func (s *server) checkOrigin(r *http.Request) error {
	if s.settings.key != "" {
		return nil
	}
	if !isLoopback(hostOf(r.Host)) {
		return newError(http.StatusForbidden, codeForbidden, "without API_SERVER_KEY only localhost is served, not this Host")
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || !isLoopback(u.Hostname()) {
			return newError(http.StatusForbidden, codeForbidden, "without API_SERVER_KEY pages of other hosts are refused")
		}
	}
	return nil
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// enter admits an API request, unless the gateway drains.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.active++
	return true
}

func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.draining && s.active == 0 {
		close(s.idle)
	}
}

// drain refuses requests from now on. The channel is closed once the n under
// way are finished. It is called once.
func (s *server) drain() (finished <-chan struct{}, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.active == 0 {
		close(s.idle)
	}
	return s.idle, s.active
}

func (s *server) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

func (s *server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// recorder remembers what became of a request.
type recorder struct {
	http.ResponseWriter
	status  int  // of the answer, 0 before there is one
	entered bool // it counts as under way
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// errGone ends a stream whose client is gone.
var errGone = errors.New("the client is gone")
