package vitals

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Limits of what strangers may take of the process that serves them. A request
// has no body and fits into a packet; an answer is read in one go.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = answerIn + 10*time.Second
	maxHeader    = 8 << 10
	// maxConns connections may be open. One more, and the oldest is cut: who
	// holds connections without using them does not keep a probe out.
	maxConns = 64
	// lastWords is what an answer under way is given when the server ends: the
	// next engine waits for it.
	lastWords = 200 * time.Millisecond
)

// Waits before the address is tried again, doubling. An engine that follows
// another one gets it at once: the kernel took it from the one that is gone.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// Server serves a handler on a TCP address. All fields are needed.
type Server struct {
	Addr    string // host:port, or :port for every address of this machine
	Handler http.Handler
	// Report is told why the address cannot be listened on, once per reason, and
	// nil when it can. It is called by Run alone.
	Report func(error)
	Logger *slog.Logger
}

// Run serves until ctx ends, and returns when nothing is served any more. An
// address that is taken, or not there yet, is tried again for as long.
func (s *Server) Run(ctx context.Context) {
	var known string
	wait := firstWait
	for ctx.Err() == nil {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Addr)
		if err == nil {
			if known != "" {
				s.Report(nil)
			}
			known, wait = "", firstWait
			err = s.serve(ctx, l)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		if err.Error() != known {
			known = err.Error()
			s.Report(err)
		}
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
		wait = min(2*wait, longestWait)
	}
}

// serve serves one listener; nil if ctx ended that.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	open := new(conns)
	server := &http.Server{
		Handler:                      s.Handler,
		ConnState:                    open.changed,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
	}
	// A connection costs who scrapes every few seconds nothing; one that is kept
	// costs us a descriptor for as long as somebody likes.
	server.SetKeepAlivesEnabled(false)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		_ = server.Close()
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// conns are the open connections.
type conns struct {
	mu   sync.Mutex // guards open
	open []net.Conn // oldest first
}

// changed follows a connection's life, and cuts the oldest one that is too many.
func (c *conns) changed(conn net.Conn, to http.ConnState) {
	switch to {
	case http.StateNew:
		if oldest := c.add(conn); oldest != nil {
			_ = oldest.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = slices.DeleteFunc(c.open, func(o net.Conn) bool { return o == conn })
	default: // it goes on
	}
}

// add notes a new connection and returns the one to be cut for it, if any.
func (c *conns) add(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, conn)
	if len(c.open) <= maxConns {
		return nil
	}
	oldest := c.open[0]
	c.open = slices.Delete(c.open, 0, 1)
	return oldest
}
