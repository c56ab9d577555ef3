package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// Options is what a gateway has to be told; all but Hurry is required.
type Options struct {
	Profile profile.Name
	// Dir is the profile's directory, absolute.
	Dir string
	// Environ is the complete environment: the profile's .env is in it.
	Environ []string
	// Argv is the process's command line, for gateway.pid.
	Argv    []string
	Version string
	// Log gets one line per request and per event of the gateway's life.
	Log io.Writer
	// Hurry, once closed, ends a drain at once; nil never does.
	Hurry <-chan struct{}
}

// Run serves the profile until ctx is done; then it finishes what is under way
// and returns nil. The error is a *fault.Error: invalid_config is for exit
// status 78, gateway_held means that another process is this gateway.
func Run(ctx context.Context, o Options) error {
	path, _ := config.SplitHome(o.Dir)
	home, err := store.Open(path)
	if err != nil {
		return err
	}
	defer home.Close()
	p, err := home.Profile(o.Profile)
	if err != nil {
		return err
	}
	defer p.Close()
	dir, err := os.OpenRoot(p.Path())
	if err != nil {
		return fault.Wrap(fault.HomeUnusable, err, "cannot open profile %s", p.Path())
	}
	defer dir.Close()
	g := &gateway{options: o, profile: p, dir: dir, log: newLogger(o), id: selfIdentity(o)}
	lock, err := takeLock(ctx, p, dir, g.id)
	if err != nil {
		return err
	}
	defer lock.release()
	return g.live(ctx)
}

// gateway is one run, from the lock on.
type gateway struct {
	options  Options
	profile  *store.Profile
	dir      *os.Root
	log      *slog.Logger
	id       identity
	state    *stateFile
	settings settings
	notifier notifier
}

// live is the gateway's life between taking and releasing its lock, as its
// files tell it.
func (g *gateway) live(ctx context.Context) error {
	g.state = newStateFile(g.profile, g.dir, g.id, g.options.Version, g.log)
	g.state.write(stateStarting, "")
	if err := writePIDFile(g.dir, g.id); err != nil {
		g.log.Warn("pid file not written", "file", pidFile, "error", err)
	}
	defer removePIDFile(g.dir)
	ln, err := g.start(ctx)
	if err != nil {
		g.state.write(stateStartupFailed, err.Error())
		return err
	}
	if err := g.serve(ctx, ln); err != nil {
		g.state.write(stateStopped, err.Error())
		return err
	}
	g.state.write(stateStopped, "")
	return nil
}

// start reads the settings and listens.
func (g *gateway) start(ctx context.Context) (net.Listener, error) {
	var err error
	if g.settings, err = readSettings(g.profile, g.options.Environ); err != nil {
		return nil, err
	}
	g.notifier = notifier{path: g.settings.notify, fd: g.settings.notifyFD, log: g.log}
	return g.listen(ctx)
}

func (g *gateway) listen(ctx context.Context) (net.Listener, error) {
	address := net.JoinHostPort(g.settings.host, strconv.Itoa(g.settings.port))
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	slot := g.profile.Name().Slot()
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.PortTaken, "cannot start %s: port %d is taken: %s", slot, g.settings.port, owner(ctx, g.settings)).
			WithHint("set gateway.port in %s to another one, or stop what has it", g.settings.configFile)
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.InvalidConfig, "cannot start %s: uid %d may not listen on port %d", slot, os.Geteuid(), g.settings.port).
			WithHint("set gateway.port in %s to one from 1024 on", g.settings.configFile)
	}
	return nil, fault.Wrap(fault.GatewayFailed, err, "cannot start %s", slot).
		WithHint("set gateway.host in %s to an address of this machine", g.settings.configFile)
}

// Deadlines of the server. A client that is slower than these is none.
const (
	headerTimeout = 10 * time.Second // of a request's header
	idleTimeout   = 2 * time.Minute  // of a kept connection
	maxHeader     = 64 << 10         // bytes
	// lastWords is how long requests that were cut off may take to say so.
	lastWords = 500 * time.Millisecond
)

// errShutdown is why requests that outlast the drain end.
var errShutdown = errors.New("the gateway is shutting down")

// serve answers on ln until ctx is done and what was under way is finished, or
// cut off at the end of the grace.
func (g *gateway) serve(ctx context.Context, ln net.Listener) error {
	s := newServer(g.settings, g.options.Version, g.log)
	defer s.close()
	kill, killNow := context.WithCancelCause(context.WithoutCancel(ctx)) // requests outlive ctx: that is the drain
	defer killNow(nil)
	srv := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return kill },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- srv.Serve(ln) })
	defer wg.Wait()
	defer srv.Close()
	g.announce(ln)
	select {
	case err := <-failed:
		return fault.Wrap(fault.Internal, err, "cannot serve %s", g.profile.Name().Slot())
	case <-ctx.Done():
	}
	srv.SetKeepAlivesEnabled(false) // every answer from now on is its connection's last
	g.drain(s, killNow)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = srv.Shutdown(end) // what it does not finish, Close cuts
	return nil
}

// announce says that the gateway serves.
func (g *gateway) announce(ln net.Listener) {
	state, health, status := stateRunning, profile.HealthOK, "listening on "+ln.Addr().String()
	if fix := g.settings.fix; fix != "" {
		state, health, status = stateDegraded, profile.HealthDegraded, status+"; "+fix
		g.log.Warn("no model provider", "fix", fix)
	}
	g.state.write(state, "")
	g.log.Info("listening", "address", ln.Addr().String(), "profile", string(g.profile.Name()), "version", g.options.Version)
	g.notifier.ready("STATUS="+status, "X_HERMES_HEALTH="+string(health))
}

// drain refuses new requests and waits for those under way until the grace is
// over or somebody is in a hurry; then it cuts them off.
func (g *gateway) drain(s *server, kill context.CancelCauseFunc) {
	g.state.write(stateDraining, "")
	finished, n := s.drain()
	g.log.Info("draining", "requests", n, "grace", g.settings.grace.String())
	g.notifier.send("STOPPING=1", "STATUS=draining "+strconv.Itoa(n)+" requests", "X_HERMES_HEALTH="+string(profile.HealthDraining))
	grace := time.NewTimer(g.settings.grace)
	defer grace.Stop()
	select {
	case <-finished:
		return
	case <-grace.C:
	case <-g.options.Hurry:
	}
	g.log.Warn("requests cut off", "requests", s.underWay())
	kill(errShutdown)
	last := time.NewTimer(lastWords)
	defer last.Stop()
	select {
	case <-finished:
	case <-last.C:
	}
}
