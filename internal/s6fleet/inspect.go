package s6fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/capability"
	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/store"
)

const (
	whyExits = 5
	whyLines = 10
)

// Why explains one gateway: its past, its words and what comes next.
func (f *Fleet) Why(_ context.Context, name profile.Name) (api.Why, error) {
	p, err := f.open(name)
	if err != nil {
		return api.Why{}, err
	}
	defer p.Close()
	v := f.look(p)
	w := api.Why{Gateway: v.row(), Exits: []api.Exit{}, Log: []string{}}
	for _, e := range slices.Backward(v.last.Exits) {
		if len(w.Exits) < whyExits {
			w.Exits = append(w.Exits, wireExit(e))
		}
	}
	if lines, err := logfile.Tail(f.logDir(name), whyLines); err == nil {
		for _, l := range lines {
			w.Log = append(w.Log, logfile.Clean(l))
		}
	}
	w.Next, w.Hint = recipe.Next(w.Gateway, time.Now())
	return w, nil
}

// Exits are how the last runs of a gateway ended, newest first.
func (f *Fleet) Exits(_ context.Context, name profile.Name) (api.ExitList, error) {
	p, err := f.open(name)
	if err != nil {
		return api.ExitList{}, err
	}
	defer p.Close()
	last, state, err := p.Supervision()
	if state == store.Unreadable {
		return api.ExitList{}, fault.Wrap(fault.Unreadable, err, "cannot tell how %s ended", name.Slot()).WithHint("ls -l %s", p.Path())
	}
	list := api.ExitList{Exits: []api.Exit{}}
	for _, e := range slices.Backward(last.Exits) {
		list.Exits = append(list.Exits, wireExit(e))
	}
	return list, nil
}

func (f *Fleet) logDir(name profile.Name) string {
	return filepath.Join(f.home.Path(), "logs", "gateways", string(name))
}

// Log emits the last lines of a gateway's log, and with follow those that come,
// as [logfile.Show] does. A gateway that has no log yet is a fault.
func (f *Fleet) Log(ctx context.Context, name profile.Name, lines int, follow bool, emit func(line string) error) error {
	p, err := f.open(name)
	if err != nil {
		return err
	}
	p.Close()
	err = logfile.Show(ctx, logfile.Reading{Dir: f.logDir(name), Slot: name.Slot(), Lines: lines, Follow: follow}, emit)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unreadable, "%s has no log yet: it never ran under a supervisor", name.Slot()).
			WithHint("hermes gateway status %s", name)
	}
	return err
}

// Config is with what a gateway would be run if it were started now.
func (f *Fleet) Config(_ context.Context, name profile.Name) (api.Config, error) {
	p, err := f.open(name)
	if err != nil {
		return api.Config{}, err
	}
	defer p.Close()
	file, err := p.Config()
	if err != nil {
		return api.Config{}, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return api.Config{}, err
	}
	number, err := config.ExplicitPort(name, f.o.Settings, file.Gateway, dotenv)
	if err != nil {
		return api.Config{}, err
	}
	if number == 0 {
		ports, _ := census.Ports(f.home, f.o.Settings)
		number = ports[name]
	}
	soul, _ := p.Soul() // a start says what is wrong with it
	user, userHome := owner(f.home.Path())
	told := recipe.Told{
		Settings: f.o.Settings, File: file, User: f.runsAs(), Soul: soul,
		Input: launch.Input{
			Profile: name, Dir: p.Path(),
			Environ: f.o.Environ, Dotenv: dotenv, Env: file.Gateway.Env,
			Command: file.Gateway.Command, FleetCommand: f.o.Settings.GatewayCommand,
			Self: f.o.Self, Port: number, UserName: user, UserHome: userHome, NotifyFD: NotificationFD,
		},
	}.Config()
	told.Warnings = append(slices.Clip(told.Warnings), lacks(file)...)
	return told, nil
}

// lacks says what of a configuration s6 does not do.
func lacks(file config.File) (warnings []string) {
	switch file.Gateway.Ready.Kind {
	case config.ReadyHTTP:
		warnings = append(warnings, "gateway.ready: engine s6 does not do http: "+capability.Of(capability.S6, capability.ReadyHTTP).How)
	case config.ReadyNotify:
		if len(file.Gateway.Command) > 0 {
			warnings = append(warnings, "gateway.ready: engine s6 does not do notify for a command: "+capability.Of(capability.S6, capability.ReadyNotify).How)
		}
	case config.ReadyExec:
	}
	return warnings
}

// runsAs is who gateways run as: whoever s6-svscan is.
func (f *Fleet) runsAs() api.Setting {
	s := api.Setting{Name: "user", Value: "as s6-svscan", From: "default"}
	var st unix.Stat_t
	if unix.Stat(f.scandir.Dir, &st) == nil {
		s.Value = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
		s.From = "owner of " + f.scandir.Dir
	}
	return s
}

// Codes of notices.
const (
	noticeCopy  = "second_copy"
	noticeStray = "stray"
	noticeBlind = "strays_unseen"
)

// notices are what an operator should know of the whole fleet.
func (f *Fleet) notices(ctx context.Context, rows []api.Gateway) (all []api.Notice) {
	var slots []string
	for _, g := range rows {
		slots = append(slots, g.Slot)
	}
	copies, err := f.scandir.FindCopies(ctx, slots, f.lineage(), f.helper())
	if err != nil {
		return []api.Notice{{Code: noticeBlind, Message: "cannot look for second copies: " + err.Error(), Hint: "hermes doctor"}}
	}
	for _, c := range copies {
		if f.ended(c.Slot, c.Mark.Generation) {
			all = append(all, api.Notice{
				Code: noticeStray, Hint: c.End(),
				Message: fmt.Sprintf("%s left a process running: %s", c.Slot, named(c.Name, c.PIDs)),
			})
			continue
		}
		all = append(all, api.Notice{
			Code: noticeCopy, Hint: c.End(),
			Message: fmt.Sprintf("%s runs twice: its s6-supervise was killed, and what it ran lives on: %s", c.Slot, named(c.Name, c.PIDs)),
		})
	}
	return all
}

// ended says whether the end of a run is on record.
func (f *Fleet) ended(slot string, run uint64) bool {
	name, ok := profile.FromSlot(slot)
	if !ok {
		return false
	}
	p, err := f.open(name)
	if err != nil {
		return false
	}
	defer p.Close()
	last, _, _ := p.Supervision()
	return slices.ContainsFunc(last.Exits, func(e profile.Exit) bool { return e.Run == run })
}

func named(name string, pids []int) string {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = fmt.Sprint(pid)
	}
	what := "pid "
	if len(pids) > 1 {
		what = "pids "
	}
	return logfile.Clean(name) + " (" + what + strings.Join(words, ", ") + ")"
}

// dashboard is the state of the dashboard, nil where it has no slot.
func (f *Fleet) dashboard() *api.Dashboard {
	v, ok := f.lookAtDashboard()
	if !ok {
		return nil
	}
	g := v.row()
	d := &api.Dashboard{
		Slot: g.Slot, State: g.State, Health: g.Health, PID: g.PID, Since: g.Since, Restarts: g.Restarts,
		Reason: g.Reason, Hint: g.Hint, LastExit: g.LastExit, MemoryBytes: g.MemoryBytes, URL: f.dashboardURL(),
	}
	if now := profile.State(g.State); d.Hint == "" && (now == profile.StateParked || now == profile.StateBackoff) {
		d.Hint = "hermes dashboard --restart"
	}
	if d.State == string(profile.StateRunning) {
		d.Health = string(profile.HealthOK) // it says that it is ready when it listens, and serves until it ends
	}
	return d
}

func (f *Fleet) lookAtDashboard() (v view, ok bool) {
	if _, err := os.Stat(f.slotDir(profile.DashboardSlot)); err != nil {
		return v, false
	}
	v = view{slot: profile.DashboardSlot, health: profile.HealthUnknown}
	f.readState(&v)
	v.last = readObserved(filepath.Join(f.slotDir(v.slot), dataDir, observedFile))
	return v, true
}

// dashboardURL is where the machine it runs on finds it, as the settings say.
func (f *Fleet) dashboardURL() string {
	var dotenv map[string]string
	if p, err := f.open(profile.Default); err == nil {
		dotenv, _ = p.Dotenv()
		_ = p.Close()
	}
	said, _ := config.DashboardFrom(f.o.Environ, dotenv)
	host := said.Host
	if config.BeyondLoopback(host) && (host == "0.0.0.0" || host == "::") {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(said.Port))
}

// RestartDashboard ends the dashboard's run, if it has one, and waits until a
// new one is ready.
func (f *Fleet) RestartDashboard(ctx context.Context, r profile.Request) (api.Dashboard, error) {
	if _, ok := f.lookAtDashboard(); !ok {
		return api.Dashboard{}, fault.New(fault.DashboardOff, "the supervisor runs no dashboard: HERMES_DASHBOARD is not set for it").
			WithHint("hermes dashboard")
	}
	patience := r.Timeout
	if patience == 0 {
		patience = dashboardStartTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := f.againDashboard(bounded, patience)
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	d := f.dashboard()
	if d == nil {
		d = &api.Dashboard{}
	}
	return *d, err
}

// dashboardStartTimeout is how long the dashboard may take to listen.
const dashboardStartTimeout = 30 * time.Second

func (f *Fleet) againDashboard(ctx context.Context, patience time.Duration) error {
	release, err := f.lock(ctx, profile.DashboardSlot)
	if err != nil {
		return err
	}
	defer release()
	if err := f.markRestart(profile.DashboardSlot); err != nil {
		return err
	}
	began, err := f.scandir.Restart(ctx, profile.DashboardSlot)
	if err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		v, ok := f.lookAtDashboard()
		switch s := v.shown(); {
		case !ok, s == profile.StateStopped, s == profile.StateParked, s == profile.StateBackoff:
			return v.notUp()
		case s == profile.StateRunning && !v.state.Since.Before(began.Since):
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return v.late(patience)
			}
			return ctx.Err()
		}
	}
}
