package s6fleet

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// Boot is the boot of a home under s6: it is over before s6-svscan is started,
// which then finds every slot in its place.
type Boot struct {
	Home     *store.Home
	Scandir  s6.Scandir // prepared
	Settings config.Settings
	Self     string // the absolute path of this program
	// Wanted are profiles whose intent becomes running, By says who wants it;
	// Commands is what the container's command means for gateways.
	Wanted   []profile.Name
	By       string
	Commands []reconcile.Command
	// Dashboard: there is a slot for it.
	Dashboard bool
	Log       *slog.Logger
}

// Run observes, plans and acts: intents are on disk, then every profile has its
// slot, up or down. A slot that cannot be made is reported and costs no other
// its own. It tells how many are up.
func (b Boot) Run() (up int, err error) {
	w, senseless, err := census.World(b.Home)
	if err != nil {
		return 0, err
	}
	for name, err := range senseless {
		b.Log.Warn("state file not used", "profile", string(name), "error", err)
	}
	w.Keeper, w.Commands, w.Wanted = keeper(), b.Commands, b.Wanted
	w.By = map[string]string{}
	for _, n := range b.Wanted {
		w.By[string(n)] = b.By
	}
	for _, c := range b.Commands {
		w.By[string(c.Profile)] = census.ByCommand
	}
	plan := reconcile.Plan(w)
	b.writeIntents(plan)
	ports, err := census.Ports(b.Home, b.Settings)
	if err != nil {
		b.Log.Warn("ports clash", "error", err)
	}
	files := map[profile.Name]reconcile.Profile{}
	for _, p := range w.Found {
		files[p.Name] = p
	}
	for _, a := range plan {
		if a.Kind == reconcile.Ignore {
			b.Log.Warn("not a profile", "entry", a.Skipped, "reason", a.Reason)
			continue
		}
		if err := b.lay(a, files[a.Name], ports[a.Name]); err != nil {
			b.Log.Error("no slot", "profile", string(a.Name), "error", err)
		} else if isUp(a) {
			up++
		}
	}
	if b.Dashboard {
		if err := b.Scandir.Lay(DashboardSlot(b.Home.Path(), b.Settings, b.Self)); err != nil {
			b.Log.Error("no slot for the dashboard", "error", err)
		}
	}
	if err := b.Home.AppendBootLog(census.Lines(plan, time.Now().UTC())); err != nil {
		b.Log.Warn("boot log not written", "error", err)
	}
	return up, nil
}

// isUp tells whether an action starts its gateway.
func isUp(a reconcile.Action) bool { return a.Resume == reconcile.Up || a.Resume == reconcile.Wait }

// writeIntents writes those a plan sets; one that cannot be written leaves its
// gateway as it is found.
func (b Boot) writeIntents(plan []reconcile.Action) {
	var writes []store.IntentWrite
	var of []*reconcile.Action
	for i := range plan {
		if a := &plan[i]; a.Write != nil {
			writes = append(writes, store.IntentWrite{Name: a.Name, Record: *a.Write})
			of = append(of, a)
		}
	}
	for i, err := range b.Home.WriteIntents(writes) {
		if err != nil {
			of[i].Resume, of[i].Reason = reconcile.Outside, err.Error()
			b.Log.Warn("intent not written", "profile", string(of[i].Name), "error", err)
		}
	}
}

// lay makes the slot of an action. What a gateway of the boot before left
// behind is removed: nothing of it runs.
func (b Boot) lay(a reconcile.Action, found reconcile.Profile, port int) error {
	p, err := b.Home.Profile(a.Name)
	if err != nil {
		return err
	}
	defer p.Close()
	if removed, err := p.RemoveStale(); err != nil {
		b.Log.Warn("stale files not removed", "profile", string(a.Name), "error", err)
	} else if len(removed) > 0 {
		b.Log.Info("stale files removed", "profile", string(a.Name), "files", strings.Join(removed, " "))
	}
	if found.LegacyFile == reconcile.Corrupt {
		if _, err := p.SetAsideLegacy(); err != nil {
			b.Log.Warn("state file not set aside", "profile", string(a.Name), "error", err)
		}
	}
	if a.Resume != reconcile.Outside || found.FileProblem == "" { // nothing is written where not all can be read
		if err := p.WriteSupervision(b.observed(a, port)); err != nil {
			b.Log.Warn("observation not written", "profile", string(a.Name), "error", err)
		}
	}
	spec := GatewaySlot(b.Home.Path(), p, b.Settings, b.Self, !isUp(a))
	if slices.Contains(b.Commands, reconcile.Command{Profile: a.Name}) {
		spec.Data[commandedFile] = ""
	}
	return b.Scandir.Lay(spec)
}

// observed is what is known of a slot before its first run in this boot. A
// failure goes on counting, a parked one stays parked.
func (b Boot) observed(a reconcile.Action, port int) profile.Supervision {
	last := a.Last
	last.Version, last.Keeper, last.Port = profile.SupervisionVersion, keeper(), cmp.Or(port, last.Port)
	last.IntentGeneration, last.Health, last.ReadyAt = a.Intent.Generation, "", time.Time{}
	last.Reason = a.Reason
	switch a.Resume {
	case reconcile.Up, reconcile.Wait:
		last.State = profile.StateStarting
	case reconcile.Park:
		last.State = profile.StateParked
		last.Reason = cmp.Or(a.Reason, a.Last.Reason)
	case reconcile.Down, reconcile.Leave, reconcile.Outside:
		last.State = profile.StateStopped
	}
	if a.Resume != reconcile.Park {
		last.Hint = ""
	}
	return last
}
