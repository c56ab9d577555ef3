package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/access"
	"hermes/internal/config"
	"hermes/internal/dashboard"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/notify"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/stray"
)

// dashboardSettings is what a dashboard is served with.
type dashboardSettings struct {
	config.Dashboard
	bind  access.Bind
	guard *access.Guard
	log   *slog.Logger
}

// dashboardSettings reads the settings and checks that they may be served. A
// fault of theirs has the next step as its hint.
func (e *env) dashboardSettings(ctx context.Context, at place, override func(*dashboardSettings)) (s dashboardSettings, err error) {
	defer func() {
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.InvalidConfig {
			f.Hint = e.dashboardRemedy(at)
		}
	}()
	dotenv, err := homeDotenv(at.home)
	if err != nil {
		return s, err
	}
	if s.Dashboard, err = config.DashboardFrom(e.environ, dotenv); err != nil {
		return s, err
	}
	override(&s)
	if s.bind, err = access.Resolve(ctx, s.Host, s.Port); err != nil {
		return s, err
	}
	s.log = e.dashboardLogger()
	s.guard, err = access.New(access.Options{Bind: s.bind, Settings: s.Dashboard, Logger: s.log})
	return s, err
}

// dashboardRemedy is where settings are corrected, and what to type then.
func (e *env) dashboardRemedy(at place) string {
	again := e.base() + " dashboard"
	if e.isDashboardSlot() {
		again += " --restart"
	}
	return fmt.Sprintf("correct it in %s, then: %s", filepath.Join(at.home, ".env"), again)
}

// isDashboardSlot says whether a supervisor started this process as its
// dashboard.
func (e *env) isDashboardSlot() bool {
	for _, kv := range e.environ {
		if mark, ok := strings.CutPrefix(kv, launch.EnvSlotID+"="); ok {
			m, ok := stray.ParseMark(mark)
			return ok && m.Slot == profile.DashboardSlot
		}
	}
	return false
}

// homeDotenv is the .env of the home, empty where there is no home yet.
func homeDotenv(path string) (map[string]string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the page says that there is no supervisor
	}
	home, err := store.OpenReadOnly(path)
	if err != nil {
		return nil, err // it may hold the credentials
	}
	defer home.Close()
	p, err := home.Profile(profile.Default)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Dotenv()
}

// dashboardLogger writes a line per record; a supervisor stamps the time on
// every line it reads.
func (e *env) dashboardLogger() *slog.Logger {
	supervised := e.isDashboardSlot()
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if supervised && len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// drainDashboard is how long requests under way may take to finish.
const drainDashboard = 3 * time.Second

// serveDashboard serves until ctx ends: then streams end, what is under way
// gets a moment, and a second Ctrl-C ends even that.
func (e *env) serveDashboard(ctx context.Context, at place, s dashboardSettings) error {
	ln, err := e.listenDashboard(ctx, at, s.bind)
	if err != nil {
		return err
	}
	signOut := ""
	if !s.guard.Open() {
		signOut = access.LogoutPath
	}
	pages := dashboard.New(dashboard.Options{
		Connect: e.connector(at.home), Logger: s.log, Address: e.address, SignOut: signOut,
		User: func(r *http.Request) string { return access.CallerOf(r.Context()).Name },
	})
	kill, killNow := context.WithCancel(context.WithoutCancel(ctx)) // requests outlive ctx: that is the drain
	srv := access.NewServer(kill, s.guard.Wrap(e.withVitals(pages, at)), s.log)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer killNow()
	defer srv.Close()
	failed := make(chan error, 2)
	wg.Go(func() { failed <- srv.Serve(access.Limit(ln)) })
	life, end := context.WithCancel(ctx)
	defer end()
	wg.Go(func() { failed <- pages.Run(life) })
	e.announceDashboard(s, ln.Addr())
	select {
	case err := <-failed:
		return fault.Wrap(fault.Internal, cmp.Or(err, errors.New("it ended")), "cannot serve the dashboard")
	case <-ctx.Done():
	}
	e.drain(ctx, srv, s.log)
	return nil
}

// announceDashboard says where it is served, to people and to the supervisor.
func (e *env) announceDashboard(s dashboardSettings, addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		s.bind.Port = tcp.Port
	}
	s.log.Info("dashboard is listening", "url", s.bind.URL(), "authentication", !s.guard.Open())
	if err := notify.Send(e.settings.NotifySocket, "READY=1", "STATUS=listening on "+s.bind.URL(), "X_HERMES_HEALTH=ok"); err != nil {
		s.log.Warn("supervisor not notified", "error", err)
	}
	if err := notify.Ready(e.settings.NotifyFD); err != nil {
		s.log.Warn("supervisor not notified", "error", err)
	}
}

// drain lets requests finish, for a moment.
func (e *env) drain(ctx context.Context, srv *http.Server, log *slog.Logger) {
	_ = notify.Send(e.settings.NotifySocket, "STOPPING=1") // it knows: it said so
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainDashboard)
	defer cancel()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if interruptedAgain(ctx, ended) {
			cancel()
		}
	})
	if err := srv.Shutdown(grace); err != nil {
		log.Warn("requests cut off")
	}
	close(ended)
	wg.Wait()
}

// listenDashboard listens, or says why not and who does.
func (e *env) listenDashboard(ctx context.Context, at place, b access.Bind) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", b.Address())
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, unix.EADDRINUSE):
		owner, hint := e.portOwner(ctx, at, b.Port)
		return nil, fault.New(fault.PortTaken, "cannot serve the dashboard: port %d is taken: %s", b.Port, owner).WithHint("%s", hint)
	case errors.Is(err, unix.EACCES):
		return nil, fault.New(fault.InvalidConfig, "cannot serve the dashboard: uid %d may not listen on port %d: set %s to one from 1024 on",
			unix.Geteuid(), b.Port, config.EnvDashboardPort)
	}
	return nil, fault.Wrap(fault.RuntimeUnusable, err, "cannot serve the dashboard").
		WithHint("set %s to an address of this machine", config.EnvDashboardHost)
}

// portOwner says who has the dashboard's port, and what to do about it.
func (e *env) portOwner(ctx context.Context, at place, port int) (owner, hint string) {
	another := fmt.Sprintf("set %s to another one, or stop what has it", config.EnvDashboardPort)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if c, err := e.find(at.home); err == nil {
		if fleet, err := c.Fleet(ctx); err == nil {
			if d := fleet.Dashboard; d != nil && d.PID > 0 && strings.HasSuffix(d.URL, fmt.Sprintf(":%d", port)) {
				return fmt.Sprintf("the supervised dashboard serves there already, pid %d", d.PID), "open " + d.URL
			}
			for _, g := range fleet.Gateways {
				if g.PID > 0 && g.Port == port {
					return fmt.Sprintf("%s has it, pid %d", g.Slot, g.PID), another
				}
			}
		}
	}
	return process.Listener(port), another
}
