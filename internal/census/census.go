// Package census counts what there is in a home before a fleet is brought up:
// the facts [reconcile.Plan] decides from, the lines of container-boot.log, the
// ports. Whatever boots a fleet asks it: the engine, and init under s6.
package census

import (
	"cmp"
	"errors"
	"time"

	"hermes/internal/config"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

// ByCommand is who changed an intent because of the container's command.
const ByCommand = "container command"

// Plan is what a boot would do now, one line of container-boot.log each.
func Plan(home *store.Home, commands []reconcile.Command) ([]string, error) {
	w, _, err := World(home)
	if err != nil {
		return nil, err
	}
	w.Commands = commands
	var lines []string
	for _, line := range Lines(reconcile.Plan(w), w.Now) {
		lines = append(lines, line.String())
	}
	return lines, nil
}

// World observes every profile. senseless is about files of theirs that make no
// sense, and were set aside unless the home is open read-only.
func World(home *store.Home) (w reconcile.World, senseless map[profile.Name]error, err error) {
	scan, err := home.Scan()
	if err != nil {
		return w, nil, err
	}
	w = reconcile.World{Now: time.Now().UTC(), Skipped: Skipped(scan)}
	senseless = map[profile.Name]error{}
	for _, e := range scan.Entries {
		p, err := Observe(home, e)
		if err != nil {
			senseless[e.Name] = err
		}
		w.Found = append(w.Found, p)
	}
	return w, senseless, nil
}

// Skipped are the entries of profiles/ that are no profiles.
func Skipped(scan store.Scan) []reconcile.Skip {
	var all []reconcile.Skip
	for _, s := range scan.Skipped {
		all = append(all, reconcile.Skip{Name: s.Name, Reason: s.Reason})
	}
	return all
}

// Observe reads what boot needs to know of a profile. The error is about files
// that make no sense and were set aside.
func Observe(home *store.Home, e store.Entry) (reconcile.Profile, error) {
	p, err := home.Profile(e.Name)
	if err != nil {
		return NotOpened(e, err), nil
	}
	defer p.Close()
	return ObserveOpen(p, e)
}

// NotOpened is a profile of which nothing can be known.
func NotOpened(e store.Entry, err error) reconcile.Profile {
	return reconcile.Profile{Name: e.Name, ID: reconcile.ID(e.ID), IntentFile: reconcile.Unreadable, FileProblem: err.Error()}
}

// ObserveOpen is [Observe] of one that is open.
func ObserveOpen(p *store.Profile, e store.Entry) (reconcile.Profile, error) {
	out := reconcile.Profile{Name: e.Name, ID: reconcile.ID(e.ID)}
	var senseless []error
	note := func(state store.FileState, err error) reconcile.FileState {
		switch state {
		case store.Valid:
			return reconcile.Valid
		case store.Corrupt:
			senseless = append(senseless, err)
			return reconcile.Corrupt
		case store.Unreadable:
			out.FileProblem = cmp.Or(out.FileProblem, err.Error())
			return reconcile.Unreadable
		case store.Absent:
		}
		return reconcile.Absent
	}
	var state store.FileState
	var err error
	out.Intent, state, err = p.Intent()
	out.IntentFile = note(state, err)
	intentErr := err
	out.Last, state, err = p.Supervision()
	out.LastFile = note(state, err)
	legacy, state, err := p.Legacy()
	out.LegacyFile = note(state, err)
	out.Legacy = reconcile.Legacy{Desired: legacy.DesiredState, Observed: legacy.GatewayState}
	if out.IntentFile == reconcile.Corrupt && out.FileProblem == "" {
		out.FileProblem = intentErr.Error()
	}
	return out, errors.Join(senseless...)
}

// Lines renders a plan for container-boot.log.
func Lines(plan []reconcile.Action, at time.Time) []store.BootLine {
	var lines []store.BootLine
	for _, a := range plan {
		if a.Kind == reconcile.Ignore {
			if a.Skipped == string(profile.Default) {
				continue // profiles/default: there is a line of that name, of another directory
			}
			a.Name = profile.Name(a.Skipped)
		}
		lines = append(lines, store.BootLine{
			At: at, Profile: a.Name, PriorState: a.PriorState, Action: a.Logged(), PriorExit: a.PriorExit,
		})
	}
	return lines
}

// Ports is every profile's port. A file that cannot be read claims nothing
// here; whoever starts that gateway reports it. The error is about clashes.
func Ports(home *store.Home, settings config.Settings) (map[profile.Name]int, error) {
	scan, err := home.Scan()
	if err != nil {
		return nil, err
	}
	var claims []port.Claim
	for _, entry := range scan.Entries {
		claim := port.Claim{Name: entry.Name}
		if p, err := home.Profile(entry.Name); err == nil {
			file, _ := p.Config()
			dotenv, _ := p.Dotenv()
			claim.Explicit, _ = config.ExplicitPort(entry.Name, settings, file.Gateway, dotenv)
			seen, _, _ := p.Supervision()
			claim.Recorded = seen.Port
			_ = p.Close()
		}
		claims = append(claims, claim)
	}
	return port.Assign(claims)
}
