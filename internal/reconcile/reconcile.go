// Package reconcile compares what is wanted with what is, and answers with the
// actions that close the gap. Boot is its first call; a supervisor that comes
// back, a profile made by hand and a directory renamed under a running gateway
// are the same call with other facts.
//
// # Usage
//
// Collect a [World], call [Plan], carry the actions out in order. Plan is
// level-based and idempotent: planned again from the same facts, the same
// actions come out, and once they are carried out nothing is left to do.
//
// # Testing
//
// The table of the boot is the test table.
package reconcile

import (
	"cmp"
	"slices"
	"time"

	"hermes/internal/profile"
	"hermes/internal/restart"
)

// FileState is what became of reading a file.
type FileState uint8

// The file states.
const (
	Absent     FileState = iota
	Valid                // read and understood
	Corrupt              // read, not understood, set aside
	Unreadable           // there, and not readable now: nothing may be concluded
)

// ID identifies a directory whatever its name is.
type ID struct{ Dev, Ino uint64 }

// Legacy is what a home of the original says of a gateway.
type Legacy struct {
	Desired  string // desired_state, "" if it does not say
	Observed string // gateway_state
}

// Profile is what is known of one profile in the home.
type Profile struct {
	Name        profile.Name
	ID          ID
	Intent      profile.IntentRecord
	IntentFile  FileState
	Last        profile.Supervision
	LastFile    FileState
	Legacy      Legacy
	LegacyFile  FileState
	FileProblem string // why something is Unreadable, else why the intent is Corrupt
}

// Slot is a gateway's place with the supervisor.
type Slot struct {
	Name profile.Name
	ID   ID
}

// Command is what the container's main program means for one profile.
type Command struct {
	Profile profile.Name
	// Foreground: it runs the gateway itself, unsupervised.
	Foreground bool
}

// World is everything a plan depends on.
type World struct {
	Now time.Time
	// Keeper stamps observations; those of another keeper are history.
	Keeper   string
	Found    []Profile
	Skipped  []Skip
	Slots    []Slot
	Gone     []profile.Name    // slots whose profile is proven to be removed
	Live     map[string]bool   // slot → a run exists
	Wanted   []profile.Name    // named by `hermes up`: intent becomes running
	Commands []Command         // of the container
	By       map[string]string // who is behind Wanted and Commands, for changed_by
}

// Skip is an entry of profiles/ that is no profile.
type Skip struct {
	Name   string
	Reason string
}

// Kind tells actions apart.
type Kind uint8

// The kinds of Action.
const (
	Register   Kind = iota + 1 // make the slot, then resume it
	Rename                     // the slot From is now called Name: stop its run, then resume under the new name
	Unregister                 // stop its run, remove the slot
	Ignore                     // Skipped: report it
)

// Resume is what a registered slot does first.
type Resume uint8

// The ways to resume.
const (
	Down    Resume = iota + 1 // no run; one that is found is stopped
	Up                        // a run; one that is found is adopted
	Wait                      // a run once the kept backoff is over
	Park                      // no run, the reason kept
	Leave                     // it ended by itself; the reason kept
	Outside                   // down for this boot only, whatever the intent
)

// Action is one step of a plan.
type Action struct {
	Kind   Kind
	Name   profile.Name
	From   profile.Name // Rename
	ID     ID
	Resume Resume
	// Write is the intent to be written before anything else, nil for none.
	Write *profile.IntentRecord
	// Intent in force after Write.
	Intent profile.IntentRecord
	// Last is the observation to go on from; zero when there is none.
	Last   profile.Supervision
	Reason string // why it is not simply up or down
	// PriorState and PriorExit are words of container-boot.log.
	PriorState string
	PriorExit  string
	// Skipped names the entry of Ignore.
	Skipped string
}

// Logged is the word container-boot.log uses for the action.
func (a Action) Logged() string {
	switch {
	case a.Kind == Ignore:
		return "skipped"
	case a.Resume == Up, a.Resume == Wait:
		return "started"
	}
	return "registered"
}

// Plan lists what is to be done, the default profile first, then by name.
func Plan(w World) []Action {
	var actions []Action
	slots := make(map[profile.Name]Slot, len(w.Slots))
	byID := make(map[ID]profile.Name, len(w.Slots))
	for _, s := range w.Slots {
		slots[s.Name] = s
		byID[s.ID] = s.Name
	}
	found := make(map[profile.Name]bool, len(w.Found))
	for _, p := range w.Found {
		found[p.Name] = true
	}
	renamed := map[profile.Name]bool{}
	for _, p := range sorted(w.Found) {
		if _, ok := slots[p.Name]; ok {
			continue
		}
		a := register(w, p)
		if old, ok := byID[p.ID]; ok && !found[old] && old != profile.Default {
			a.Kind, a.From = Rename, old
			renamed[old] = true
		}
		actions = append(actions, a)
	}
	for _, name := range w.Gone {
		if _, ok := slots[name]; ok && !found[name] && !renamed[name] {
			actions = append(actions, Action{Kind: Unregister, Name: name, ID: slots[name].ID})
		}
	}
	for _, s := range w.Skipped {
		actions = append(actions, Action{Kind: Ignore, Skipped: s.Name, Reason: s.Reason})
	}
	return actions
}

func sorted(found []Profile) []Profile {
	return slices.SortedFunc(slices.Values(found), func(a, b Profile) int {
		if (a.Name == profile.Default) != (b.Name == profile.Default) {
			if a.Name == profile.Default {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
}

// register is the table of the boot, for one profile.
func register(w World, p Profile) Action {
	a := Action{Kind: Register, Name: p.Name, ID: p.ID, PriorState: priorState(p), PriorExit: priorExit(p)}
	if p.LastFile == Valid {
		a.Last = p.Last
	}
	command, commanded := commandFor(w, p.Name)
	switch {
	case p.IntentFile == Unreadable || p.LastFile == Unreadable || p.IntentFile != Valid && p.LegacyFile == Unreadable:
		a.Resume, a.Reason = Outside, p.FileProblem
		a.Intent = p.Intent
		return a
	case p.IntentFile == Valid:
		a.Intent = p.Intent
	default:
		a.write(migrated(p), "migration", w.Now)
	}
	if commanded && command.Foreground {
		a.Resume, a.Reason = Outside, "the container's command runs it in the foreground"
		return a
	}
	by := w.By[string(p.Name)]
	if (commanded || slices.Contains(w.Wanted, p.Name)) && !w.Live[p.Name.Slot()] {
		a.write(profile.Running, by, w.Now)
	}
	a.resume(w)
	if a.Resume == Down && p.IntentFile == Corrupt {
		a.Reason = p.FileProblem
	}
	return a
}

// write sets the intent; the generation moves on, so that what was observed
// before is history.
func (a *Action) write(want profile.Intent, by string, now time.Time) {
	a.Intent = profile.IntentRecord{
		Version:    profile.IntentVersion,
		Intent:     want,
		Generation: a.Intent.Generation + 1,
		ChangedAt:  now,
		ChangedBy:  by,
	}
	rec := a.Intent
	a.Write = &rec
}

// resume decides how the slot goes on under the intent in force.
func (a *Action) resume(w World) {
	a.Resume, a.Reason = Continue(a.Intent, a.Last, w.Live[a.Name.Slot()], w.Keeper)
}

// Continue decides how a slot goes on under an intent, from what was observed
// last, and with the reason that is kept. lives says that it has a run.
func Continue(intent profile.IntentRecord, last profile.Supervision, lives bool, keeper string) (how Resume, reason string) {
	if intent.Intent != profile.Running {
		if last.State == profile.StateStopped && last.IntentGeneration == intent.Generation {
			return Down, last.Reason // kept until the next command
		}
		return Down, ""
	}
	if lives || last.IntentGeneration != intent.Generation {
		return Up, ""
	}
	switch last.State {
	case profile.StateParked:
		return Park, last.Reason
	case profile.StateBackoff:
		return Wait, last.Reason
	case profile.StateStopped:
		if last.Ended && last.Keeper == keeper {
			return Leave, last.Reason
		}
	case profile.StateStarting, profile.StateRunning, profile.StateStopping:
	}
	return Up, ""
}

// migrated derives an intent for a home that has none, as the original would
// have started it.
func migrated(p Profile) profile.Intent {
	if p.LegacyFile != Valid {
		return profile.Stopped
	}
	switch cmp.Or(p.Legacy.Desired, p.Legacy.Observed) {
	case "running", "degraded", "draining":
		return profile.Running
	}
	return profile.Stopped
}

func commandFor(w World, name profile.Name) (Command, bool) {
	for _, c := range w.Commands {
		if c.Profile == name {
			return c, true
		}
	}
	return Command{}, false
}

// priorState is the best word for what was before this boot.
func priorState(p Profile) string {
	switch {
	case p.IntentFile == Unreadable || p.LastFile == Unreadable:
		return "unreadable"
	case p.LastFile == Valid && p.Last.State != "":
		return string(p.Last.State)
	case p.IntentFile == Valid:
		return string(p.Intent.Intent)
	case p.LegacyFile == Unreadable:
		return "unreadable"
	case p.LegacyFile == Corrupt || p.IntentFile == Corrupt:
		return "corrupt"
	case p.LegacyFile == Valid:
		return word(cmp.Or(p.Legacy.Observed, p.Legacy.Desired, "none"))
	}
	return "none"
}

// word keeps a foreign string from breaking the log line it goes into.
func word(s string) string {
	for i, r := range s {
		if i >= 32 || (r < 'a' || r > 'z') && r != '_' {
			return "corrupt"
		}
	}
	return s
}

// priorExit says how the last run known ended.
func priorExit(p Profile) string {
	if p.LastFile != Valid {
		return "unknown"
	}
	switch p.Last.State {
	case profile.StateStarting, profile.StateRunning, profile.StateStopping:
		return "unclean" // nobody saw its end
	case profile.StateStopped, profile.StateBackoff, profile.StateParked:
	}
	last, ok := p.Last.LastExit()
	switch {
	case !ok:
		return "unknown"
	case last.Asked || last.Code == 0:
		return "clean"
	}
	return "unclean"
}

// RetryAt is when a kept backoff is over. A time on record further away than
// any backoff comes from a clock that was wrong, and is not waited for.
func RetryAt(recorded, now time.Time) time.Time {
	if recorded.Before(now) || recorded.After(now.Add(restart.LongestDelay())) {
		return now
	}
	return recorded
}
