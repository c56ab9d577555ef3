package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/server"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lockholderMain holds a flock until it is told to end: lockholder FILE
// [stubborn | orphan]. An orphan's lock is held by a child that it leaves, and
// that ends when the file is removed.
func lockholderMain() {
	if len(os.Args) > 2 && os.Args[2] == "orphaned" {
		for tick := time.Tick(20 * time.Millisecond); ; <-tick {
			if _, err := os.Stat(os.Args[1]); err != nil {
				return
			}
		}
	}
	fd, err := unix.Open(os.Args[1], unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	must(err)
	must(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
	if len(os.Args) > 2 && os.Args[2] == "orphan" {
		exe, err := os.Executable()
		must(err)
		path, err := filepath.Abs(os.Args[1])
		must(err)
		must((&exec.Cmd{Path: exe, Args: []string{"lockholder", path, "orphaned"}, ExtraFiles: []*os.File{os.NewFile(uintptr(fd), path)}}).Start())
		return
	}
	if len(os.Args) > 2 {
		signal.Ignore(unix.SIGTERM)
	}
	waitForEnd("")
}

// waitForEnd waits for a signal; once it would hear one it says so in the file
// up of the profile, if that is not "".
func waitForEnd(up string) {
	end := make(chan os.Signal, 1)
	if !signal.Ignored(unix.SIGTERM) {
		signal.Notify(end, unix.SIGTERM)
	}
	signal.Notify(end, os.Interrupt)
	if up != "" {
		must(os.WriteFile(filepath.Join(os.Getenv("HERMES_HOME"), up), []byte("yes\n"), 0o600))
	}
	<-end
}

// agentMain prints its arguments and the variables a gateway is promised:
// agent [exit CODE | wait [FILE] | ARGS…].
func agentMain() {
	if len(os.Args) > 2 && os.Args[1] == "exit" {
		var code int
		_, err := fmt.Sscan(os.Args[2], &code)
		must(err)
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		waitForEnd(strings.Join(os.Args[2:], ""))
		return
	}
	dir, err := os.Getwd()
	must(err)
	fmt.Printf("args %q in %s\n", os.Args[1:], dir)
	for _, kv := range slices.Sorted(slices.Values(os.Environ())) {
		for _, prefix := range []string{"HERMES_", "PORT=", "API_SERVER_PORT=", "NOTIFY_", "MY_"} {
			if strings.HasPrefix(kv, prefix) {
				fmt.Println(kv)
			}
		}
	}
}

// sleepMain is the heartbeat of a redirected command; it does not sleep.
func sleepMain() { fmt.Printf("sleep %s\n", strings.Join(os.Args[1:], " ")) }

// paperFleet is what `supervisor` reads from its file, and then pretends.
type paperFleet struct {
	Now api.Fleet
	// Fail has the errors of actions, Explain the answers of why, by profile.
	Fail    map[string]*api.Error
	Explain map[string]api.Why
	Hints   []string // of every action
	Ill     []api.Condition
	Events  []api.Event // that happen first, a second after another
	Warning string      // of every change of profiles
	Silent  bool        // hold the lease and serve nothing
}

// supervisorMain serves the control API of $HERMES_HOME: supervisor FILE
// [MAIN…], for as long as its main program runs if there is one. What it is
// told to do goes to the file journal.
func supervisorMain() {
	home := os.Getenv("HERMES_HOME")
	content, err := os.ReadFile(os.Args[1])
	must(err)
	p := &paper{}
	must(json.Unmarshal(content, &p.fleet))
	p.fleet.Now.Home = home
	if p.fleet.Now.Gateways == nil {
		p.fleet.Now.Gateways = []api.Gateway{}
	}
	p.journal, err = os.OpenFile("journal", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(err)
	dir, err := os.MkdirTemp("/tmp", "hermes-script-") // a script's own directory is too long a path for a socket
	must(err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "control.sock")
	listener, err := net.Listen("unix", socket)
	must(err)
	if p.fleet.Silent {
		must(listener.Close())
	}
	rec := lease.Self(time.Now())
	rec.Socket, rec.Manager = socket, p.fleet.Now.Manager
	events := event.Open(event.Options{Home: home})
	defer events.Close()
	for i, e := range p.fleet.Events {
		e.At = time.Date(2026, 11, 23, 10, 0, i, 1_000_000, time.UTC)
		events.Emit(e)
	}
	events.Flush()
	held, err := lease.Take(home, rec, lease.TakeOptions{})
	must(err)
	defer func() { _ = held.Release() }()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, os.Interrupt)
	defer stop()
	if p.fleet.Silent {
		<-ctx.Done()
		return
	}
	if len(os.Args) > 2 {
		go func() {
			main := exec.Command(os.Args[2], os.Args[3:]...)
			main.Stdout, main.Stderr = os.Stdout, os.Stderr
			must(main.Run())
			stop()
		}()
	}
	must(server.New(server.Options{
		Listener: listener, Fleet: p, Operator: p, Profiles: p, Planner: p, Events: events,
		Allowed: func(uint32) bool { return true }, Logger: slog.New(slog.DiscardHandler),
	}).Run(ctx))
}

// paper answers for a paperFleet.
type paper struct {
	mu      sync.Mutex
	fleet   paperFleet
	journal io.Writer
}

var (
	_ server.Fleet    = (*paper)(nil)
	_ server.Operator = (*paper)(nil)
	_ server.Profiles = (*paper)(nil)
	_ server.Planner  = (*paper)(nil)
)

func (p *paper) Live(context.Context) api.Health { return api.Health{OK: true} }

func (p *paper) Ready(context.Context) api.Health {
	return api.Health{OK: len(p.fleet.Ill) == 0, Conditions: p.fleet.Ill}
}

func (p *paper) Fleet(context.Context) (api.Fleet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fleet := p.fleet.Now
	fleet.Gateways = slices.Clone(fleet.Gateways)
	return fleet, nil
}

func (p *paper) Gateway(_ context.Context, name profile.Name) (api.Gateway, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.fleet.Now.Gateways {
		if g.Profile == string(name) {
			return g, nil
		}
	}
	return api.Gateway{}, fault.NotRegistered(string(name))
}

func (p *paper) Why(ctx context.Context, name profile.Name) (api.Why, error) {
	g, err := p.Gateway(ctx, name)
	why := p.fleet.Explain[string(name)]
	why.Gateway = g
	return why, err
}

func (p *paper) Start(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return p.act(ctx, "start", name, r)
}

func (p *paper) Stop(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return p.act(ctx, "stop", name, r)
}

func (p *paper) Restart(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return p.act(ctx, "restart", name, r)
}

func (p *paper) act(ctx context.Context, verb string, name profile.Name, r profile.Request) (api.ActionResult, error) {
	g, err := p.Gateway(ctx, name)
	if err != nil {
		return api.ActionResult{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.journal, "%s %s by %q no_wait=%v timeout=%s\n", verb, name, r.By, r.NoWait, r.Timeout)
	if e := p.fleet.Fail[string(name)]; e != nil {
		return api.ActionResult{Gateway: g}, &fault.Error{Code: fault.Code(e.Code), Msg: e.Message, Hint: e.Hint}
	}
	now := time.Now()
	switch {
	case verb == "stop" && r.NoWait:
		g.Intent, g.State = "stopped", "stopping"
	case verb == "stop":
		g.Intent, g.State, g.PID = "stopped", "stopped", 0
	case r.NoWait:
		g.Intent, g.State = "running", "starting"
	case verb == "start" && g.State == "running": // as it was
	default:
		g.Intent, g.State, g.PID, g.Since = "running", "running", 4242, &now
	}
	for i := range p.fleet.Now.Gateways {
		if p.fleet.Now.Gateways[i].Profile == g.Profile {
			p.fleet.Now.Gateways[i] = g
		}
	}
	return api.ActionResult{Gateway: g, Hints: p.fleet.Hints}, nil
}

func (p *paper) RestartDashboard(_ context.Context, r profile.Request) (api.Dashboard, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.fleet.Now.Dashboard
	if d == nil {
		return api.Dashboard{}, fault.New(fault.DashboardOff, "the supervisor runs no dashboard").WithHint("hermes dashboard")
	}
	fmt.Fprintf(p.journal, "restart dashboard by %q timeout=%s\n", r.By, r.Timeout)
	d.State, d.PID, d.Reason = "running", 4242, ""
	return *d, nil
}

func (p *paper) All(ctx context.Context, action string, r profile.Request, each func(api.ActionResult)) error {
	fleet, _ := p.Fleet(ctx)
	for _, g := range fleet.Gateways {
		if g.Intent != "running" {
			continue
		}
		res, err := p.act(ctx, action, profile.Name(g.Profile), r)
		if f, ok := errors.AsType[*fault.Error](err); ok {
			res.Error = &api.Error{Code: string(f.Code), Message: f.Msg, Hint: f.Hint}
		}
		each(res)
	}
	return nil
}

func (p *paper) profile(name profile.Name) api.Profile {
	return api.Profile{Name: string(name), Path: "/paper/" + string(name), Port: 9653, Warning: p.fleet.Warning}
}

func (p *paper) Create(_ context.Context, name profile.Name, by string) (api.Profile, error) {
	fmt.Fprintf(p.journal, "create %s by %q\n", name, by)
	return p.profile(name), nil
}

func (p *paper) Delete(_ context.Context, name profile.Name, by string) error {
	fmt.Fprintf(p.journal, "delete %s by %q\n", name, by)
	return nil
}

func (p *paper) Rename(_ context.Context, from, to profile.Name, by string) (api.Profile, error) {
	fmt.Fprintf(p.journal, "rename %s %s by %q\n", from, to, by)
	return p.profile(to), nil
}

func (p *paper) List(ctx context.Context) ([]api.Profile, error) {
	var all []api.Profile
	fleet, _ := p.Fleet(ctx)
	for _, g := range fleet.Gateways {
		all = append(all, p.profile(profile.Name(g.Profile)))
	}
	return all, nil
}

func (p *paper) Plan(context.Context) ([]string, error) {
	return []string{"2026-05-28T12:42:13Z profile=coder prior_state=none action=registered prior_exit=unknown"}, nil
}
