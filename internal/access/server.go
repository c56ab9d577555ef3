package access

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the server. A peer that is slower than these is none.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 5 * time.Second
	writeTimeout  = 30 * time.Second // of each piece of an answer, see recorder
	idleTimeout   = time.Minute
	maxHeader     = 32 << 10
	// maxConnections is far more than people and scrapers open, and far less
	// than a process has descriptors.
	maxConnections = 512
)

// NewServer has the limits of a server for strangers. Requests' contexts come
// from base: cancel it to end what does not end by itself.
func NewServer(base context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send is no news
	}
}

// readBody reads the body of a request, of at most maxBody bytes, before
// anybody waits for it. The deadline does not outlive the body: at its end
// net/http lifts it, as it watches the connection from then on.
func readBody(w http.ResponseWriter, r *http.Request) *refusal {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a test's recorder has none
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return tooLarge()
	}
	if err != nil {
		return &refusal{status: http.StatusBadRequest, code: "usage", message: "the request cannot be read"}
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	return nil
}

// Limit accepts no more connections at a time than a dashboard has use for; the
// others wait until one is closed.
func Limit(ln net.Listener) net.Listener {
	return &limited{Listener: ln, free: make(chan struct{}, maxConnections), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	free   chan struct{} // as many as are open
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.free })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
