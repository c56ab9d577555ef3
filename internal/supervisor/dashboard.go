package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/stray"
)

// dashboard is the service of the slot that is no gateway's. It has no intent
// file, as HERMES_DASHBOARD says whether it is wanted; and its observation is
// the supervisor's own: the next boot, whose settings may be better, starts
// afresh.
type dashboard struct{ fleet *Fleet }

var _ service = dashboard{}

// dashboardFile in the runtime directory has the observation of the dashboard.
const dashboardFile = "dashboard.json"

// dashboardStartTimeout is how long the dashboard may take to listen.
const dashboardStartTimeout = 30 * time.Second

func (d dashboard) slotName() string { return profile.DashboardSlot }

func (d dashboard) log() (dir, label string) {
	return filepath.Join(d.fleet.home.Path(), "logs", profile.DashboardSlot), profile.DashboardSlot
}

func (d dashboard) words() (cause, advice string) {
	return "HERMES_DASHBOARD is set", "hermes dashboard --restart"
}

func (d dashboard) prepare(r *run) (engine.Spec, setup, error) {
	f, su := d.fleet, d.setup()
	cmd := launch.Dashboard(launch.DashboardInput{
		Home: f.home.Path(), Self: f.options.Self, Environ: f.options.Environ,
		UserName: f.options.UserName, UserHome: f.options.UserHome,
		Notify: f.notifyPath(r.Slot),
		SlotID: stray.Mark{Slot: r.Slot, Generation: r.Generation, Lineage: f.options.Lineage}.String(),
	})
	return engine.Spec{
		Slot: r.Slot, Generation: r.Generation,
		Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir,
		Credential: f.options.Credential,
		Plan:       engine.Plan{Signal: stopSignal, Grace: su.stopTimeout},
		Notify:     f.notifyPath(r.Slot), Lock: f.lockPath(r.Slot),
	}, su, nil
}

// setup has what the settings say of the address for who looks for the
// dashboard; what is wrong with them the dashboard says itself.
func (d dashboard) setup() setup {
	f := d.fleet
	su := f.defaults()
	su.restart, su.ready = profile.RestartAlways, config.Ready{Kind: config.ReadyNotify}
	su.startTimeout = dashboardStartTimeout
	var dotenv map[string]string
	if p, err := f.home.Profile(profile.Default); err == nil {
		dotenv, _ = p.Dotenv()
		_ = p.Close()
	}
	said, _ := config.DashboardFrom(f.options.Environ, dotenv)
	su.host, su.port = said.Host, said.Port
	return su
}

// file replaces the observation in the runtime directory, which is nobody's
// but the supervisor's.
func (d dashboard) file(s *slot) error {
	b, err := json.Marshal(s.last)
	if err != nil {
		return err
	}
	path := d.path()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d dashboard) path() string { return filepath.Join(d.fleet.options.Runtime, dashboardFile) }

// last is what was observed before, nothing in a new supervisor.
func (d dashboard) last() profile.Supervision {
	var last profile.Supervision
	b, err := os.ReadFile(d.path())
	if err == nil {
		err = json.Unmarshal(b, &last)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.fleet.log.Warn("observation of the dashboard not read", "error", err)
		}
		return profile.Supervision{}
	}
	return last
}

// bootDashboard makes the dashboard's slot, if the settings want it, and
// resumes it. runs are those the runner has for it.
func (f *Fleet) bootDashboard(runs []engine.Run) {
	if !f.options.Dashboard {
		return
	}
	d := dashboard{f}
	a := reconcile.Action{Kind: reconcile.Register, Last: d.last()}
	a.Intent = profile.IntentRecord{
		Version: profile.IntentVersion, Intent: profile.Running,
		Generation: max(1, a.Last.IntentGeneration), ChangedAt: time.Now().UTC(), ChangedBy: "HERMES_DASHBOARD",
	}
	a.Resume, a.Reason = reconcile.Continue(a.Intent, a.Last, lives(runs), f.options.Keeper)
	su := d.setup()
	if lives(runs) {
		su.port = a.Last.Port // whatever the settings say by now
	}
	f.bring(newSlot(f, d), a, runs, su)
}

// Dashboard is the state of the dashboard, nil where the settings want none.
func (f *Fleet) Dashboard() *api.Dashboard {
	s := f.dashboardSlot()
	if s == nil {
		return nil
	}
	g, v := s.gateway(), s.shown.Load()
	d := &api.Dashboard{
		Slot: g.Slot, State: g.State, Health: g.Health, PID: g.PID, Since: g.Since, Restarts: g.Restarts,
		NextRetryAt: g.NextRetryAt, Reason: g.Reason, Hint: g.Hint, LastExit: g.LastExit, MemoryBytes: g.MemoryBytes,
		URL: "http://" + net.JoinHostPort(probeHost(v.host), strconv.Itoa(g.Port)),
	}
	if now := profile.State(g.State); d.Hint == "" && (now == profile.StateParked || now == profile.StateBackoff) {
		_, d.Hint = s.service.words()
	}
	return d
}

func (f *Fleet) dashboardSlot() *slot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dashboard
}

// everySlot are the slots of the gateways and the dashboard's.
func (f *Fleet) everySlot() []*slot {
	all := f.slots()
	if s := f.dashboardSlot(); s != nil {
		all = append(slices.Clip(all), s) // who has the list of the gateways keeps it
	}
	return all
}

// bySlot is the slot of that name, nil if there is none.
func (f *Fleet) bySlot(slotName string) *slot {
	if slotName == profile.DashboardSlot {
		return f.dashboardSlot()
	}
	if name, ok := profile.FromSlot(slotName); ok {
		return f.get(name)
	}
	return nil
}

// RestartDashboard ends the dashboard's run, if it has one, and waits until a
// new one is ready. It is how one that is parked starts again.
func (f *Fleet) RestartDashboard(ctx context.Context, r profile.Request) (api.Dashboard, error) {
	s := f.dashboardSlot()
	if s == nil {
		return api.Dashboard{}, fault.NoDashboard()
	}
	nothing := order{by: r.By, write: func(profile.Name, profile.IntentRecord) error { return nil }, decided: func() {}}
	err := f.command(ctx, s, r, nothing, (*slot).restart)
	return *f.Dashboard(), err
}

// DashboardUp waits until the dashboard is ready or has failed to be. It is
// false where the settings want none.
func (f *Fleet) DashboardUp(ctx context.Context) (wanted bool, err error) {
	s := f.dashboardSlot()
	if s == nil {
		return false, nil
	}
	outcome, err := ask(ctx, s, func() <-chan error { return s.await(ctx, s.isUp(0)) })
	if err == nil {
		err = s.outcome(ctx, outcome)
	}
	if err != nil {
		err = f.explain(err, s, 0)
	}
	return true, err
}

// lives says whether one of the runs has not ended.
func lives(runs []engine.Run) bool {
	for _, r := range runs {
		if r.Exit == nil {
			return true
		}
	}
	return false
}
