// Package server is the control API: HTTP and JSON over a unix socket.
//
// # Usage
//
// [New] takes the listener and what answers; [Server.Run] serves until its
// context ends. What can be asked is the table in route.go, from which
// docs/reference/control-api.md is generated.
//
// # Concurrency
//
// Requests run in parallel. An action goes on when its client goes away: only
// the wait for it ends.
//
// # Failure
//
// Handlers return errors and one function renders them. What is not a
// *fault.Error, and every panic, is "internal error" with a number to the
// client and is logged in full under that number.
//
// # Testing
//
// The tests use real sockets, and real uids where they run as root.
package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"hermes/api"
	"hermes/internal/profile"
)

// Fleet answers what is. All methods return at once. An unknown profile is
// fault.GatewayNotRegistered.
type Fleet interface {
	Fleet(ctx context.Context) (api.Fleet, error)
	Gateway(ctx context.Context, name profile.Name) (api.Gateway, error)
	Why(ctx context.Context, name profile.Name) (api.Why, error)
	Live(ctx context.Context) api.Health
	Ready(ctx context.Context) api.Health
}

// Inspector looks closer at one gateway. An unknown profile is
// fault.GatewayNotRegistered.
type Inspector interface {
	Exits(ctx context.Context, name profile.Name) (api.ExitList, error)
	Config(ctx context.Context, name profile.Name) (api.Config, error)
	// Log emits the last lines of the gateway's log, and with follow goes on until
	// ctx ends. It calls emit from its own goroutine and stops at its error.
	Log(ctx context.Context, name profile.Name, lines int, follow bool, emit func(line string) error) error
}

// Operator changes what operators want, and waits for the outcome. The
// contexts end when the server must, not when a client goes away. An error is
// about the gateway named; the result describes it as far as it is known.
type Operator interface {
	Start(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error)
	Stop(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error)
	Restart(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error)
	// All does action, "stop" or "restart", to every gateway whose intent is
	// running, and calls each, from any goroutine, with every result before it
	// returns. Its error is about the whole.
	All(ctx context.Context, action string, r profile.Request, each func(api.ActionResult)) error
	// RestartDashboard ends the dashboard's run and waits for a new one. Where
	// there is to be none it is fault.DashboardOff.
	RestartDashboard(ctx context.Context, r profile.Request) (api.Dashboard, error)
}

// Profiles makes and unmakes profiles. Contexts as [Operator]'s.
type Profiles interface {
	Create(ctx context.Context, name profile.Name, by string) (api.Profile, error)
	Delete(ctx context.Context, name profile.Name, by string) error
	Rename(ctx context.Context, from, to profile.Name, by string) (api.Profile, error)
	List(ctx context.Context) ([]api.Profile, error)
}

// Planner tells what a boot would do now, a line per profile.
type Planner interface {
	Plan(ctx context.Context) (lines []string, err error)
}

// Options are the parts of a [Server]; all but Container, Drain and, for an
// engine that has none, Events are needed.
type Options struct {
	Listener  net.Listener // of a unix socket; Run closes it
	Fleet     Fleet
	Inspector Inspector
	Operator  Operator
	Profiles  Profiles
	Planner   Planner
	Events    Events
	// Allowed tells whether a peer of that uid may use the API: root, the
	// home's owner and the fleet's uid. See [AllowUIDs].
	Allowed func(uid uint32) bool
	// UID is the uid a refused peer is told to use, and Container the id of the
	// container in which, "" on a host.
	UID       uint32
	Container string
	// Drain is how long Run lets requests and actions finish; 0 is 3 s, which
	// fits into the 10 s that Docker gives.
	Drain  time.Duration
	Logger *slog.Logger
}

// AllowUIDs is an Allowed function: root and those.
func AllowUIDs(uids ...uint32) func(uint32) bool {
	set := map[uint32]bool{0: true}
	for _, uid := range uids {
		set[uid] = true
	}
	return func(uid uint32) bool { return set[uid] }
}

// Server serves the control API on one listener, once.
type Server struct {
	o        Options
	http     *http.Server
	kill     context.Context // ends the actions and requests that outlast Drain
	killNow  context.CancelFunc
	leaving  context.Context // ends the streams that have no end of their own
	leave    context.CancelFunc
	inflight *inflight

	bodyTime, keepalive time.Duration // bodyTimeout and keepalive, but for tests
}

// Limits of a request. A peer is a local user, but not a trusted one.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 5 * time.Second
	writeTimeout  = 10 * time.Second // of one piece of an answer
	idleTimeout   = 30 * time.Second
	maxHeader     = 16 << 10
	maxBody       = 64 << 10
	maxBy         = 64
	maxWait       = 24 * time.Hour
	defaultDrain  = 3 * time.Second
)

// New makes a server; it does nothing before [Server.Run].
func New(o Options) *Server {
	if o.Drain == 0 {
		o.Drain = defaultDrain
	}
	s := &Server{o: o, inflight: newInflight(), bodyTime: bodyTimeout, keepalive: keepalive}
	s.kill, s.killNow = context.WithCancel(context.Background())
	s.leaving, s.leave = context.WithCancel(s.kill)
	s.http = &http.Server{
		Handler:           s.handler(),
		ConnContext:       withPeer,
		BaseContext:       func(net.Listener) context.Context { return s.kill },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// Run serves until ctx ends. Then no request is accepted any more, those in
// flight get Options.Drain to finish, and Run returns nil once none is left.
func (s *Server) Run(ctx context.Context) error {
	defer s.killNow()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.o.Listener) }()
	var failed error
	select {
	case err := <-served:
		served <- err
		failed = fmt.Errorf("cannot serve the control API: %w", err)
	case <-ctx.Done():
	}
	s.leave()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Drain)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		s.killNow()
		s.http.Close()
	}
	idle := s.inflight.close()
	select {
	case <-idle:
	case <-drain.Done():
		s.killNow()
		<-idle
	}
	<-served //nolint:errcheck // told already
	return failed
}
