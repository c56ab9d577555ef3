package s6fleet

import (
	"bytes"
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// view is what is known of a slot: what is wanted, what was observed of the
// runs that ended, and what s6 says of the one in hand.
type view struct {
	slot    string
	name    profile.Name // "" for the dashboard
	intent  profile.IntentRecord
	last    profile.Supervision
	state   s6.State
	trouble string // why one of these is not known
	absent  bool   // there is no such slot
	alive   bool   // without an s6-supervise: the run that the last one left does
	health  profile.Health
}

// look reads all about a profile's slot. What cannot be read is shown as it is.
func (f *Fleet) look(p *store.Profile) view {
	v := view{name: p.Name(), slot: p.Name().Slot()}
	var err error
	// The order matters: finish puts an end on record before s6-supervise says
	// that it has ended.
	f.readState(&v)
	if v.intent, _, err = p.Intent(); err != nil {
		v.trouble = err.Error()
	}
	if v.last, _, err = p.Supervision(); err != nil && v.trouble == "" {
		v.trouble = err.Error()
	}
	v.health = profile.HealthUnknown
	if v.shown() == profile.StateRunning {
		v.health = ownHealth(p, v.state.PID)
	}
	return v
}

// readState has s6 tell of the slot.
func (f *Fleet) readState(v *view) {
	var err error
	v.state, err = f.scandir.State(v.slot)
	switch {
	case err == nil:
	case fault.CodeOf(err) == fault.GatewayNotRegistered:
		v.absent = true
	default:
		v.trouble = err.Error()
	}
	if !v.absent && err == nil && !v.state.Supervised() && v.state.Up() {
		_, statErr := process.ReadStat(v.state.PID)
		v.alive = statErr == nil
	}
}

// ownHealth is what the gateway with that pid says of itself.
func ownHealth(p *store.Profile, pid int) profile.Health {
	said, state, _ := p.Legacy()
	if state != store.Valid || said.PID != pid {
		return profile.HealthUnknown
	}
	switch said.GatewayState {
	case "running":
		return profile.HealthOK
	case "degraded":
		return profile.HealthDegraded
	case "draining":
		return profile.HealthDraining
	case "starting":
		return profile.HealthUnready
	}
	return profile.HealthUnknown
}

// wanted says whether the slot is to have a run, as far as is known.
func (v view) wanted() bool { return v.intent.Intent == profile.Running || v.name == "" }

// shown is the state in the words of every engine.
func (v view) shown() profile.State {
	s := v.state
	switch {
	case v.absent:
		return profile.StateStopped
	case !s.Supervised() && !v.alive && s.WantUp:
		return profile.StateStarting // by the next s6-supervise, a second later
	case !s.Supervised() && !v.alive:
		return v.down()
	case s.Up() && !s.WantUp:
		return profile.StateStopping
	case s.Up() && s.Ready:
		return profile.StateRunning
	case s.Up():
		return profile.StateStarting
	case s.Finishing && !s.WantUp && !v.wanted():
		return profile.StateStopping
	case s.WantUp && v.last.State == profile.StateBackoff:
		return profile.StateBackoff
	case s.WantUp, s.Finishing:
		return profile.StateStarting
	}
	return v.down()
}

// down is the state of a slot that stays down: as wanted, given up, or because
// its run ended and is not to be followed by another.
func (v view) down() profile.State {
	if v.wanted() && v.last.State == profile.StateParked {
		return profile.StateParked
	}
	return profile.StateStopped
}

// row is the view for people.
func (v view) row() api.Gateway {
	g := api.Gateway{
		Profile: string(v.name), Slot: v.slot,
		Intent: string(v.intent.Intent), IntentBy: v.intent.ChangedBy,
		Restarts: v.last.Restarts, Failures: v.last.Failures, Port: v.last.Port, Health: string(v.health),
	}
	if !v.intent.ChangedAt.IsZero() {
		g.IntentAt = new(v.intent.ChangedAt)
	}
	state := v.shown()
	g.State = string(state)
	if since := v.since(state); !since.IsZero() {
		g.Since = new(since.UTC())
	}
	if v.state.Up() && (v.state.Supervised() || v.alive) {
		g.PID = v.state.PID
		g.StartedAt = new(v.state.Since.UTC())
		g.MemoryBytes = residentBytes(g.PID)
	}
	switch state {
	case profile.StateRunning:
		g.ReadyAt = new(v.state.ReadySince.UTC())
	case profile.StateStarting:
		g.Health = string(profile.HealthUnready)
	case profile.StateStopping:
		g.Health = string(profile.HealthDraining)
	case profile.StateBackoff, profile.StateParked:
		g.Reason, g.Hint = v.last.Reason, v.last.Hint
	case profile.StateStopped:
		if v.wanted() {
			g.Reason, g.Hint = v.last.Reason, v.last.Hint
		}
	}
	g.Reason = v.why(g.Reason)
	if e, ok := v.last.LastExit(); ok {
		g.LastExit = new(wireExit(e))
	}
	return g
}

// why is the reason for people: what could not be read comes before what was.
func (v view) why(reason string) string {
	switch {
	case v.trouble != "":
		return v.trouble
	case v.alive:
		return "its s6-supervise was killed: the next one starts a second copy beside it"
	case v.absent && v.wanted():
		return "it has no slot yet"
	}
	return strings.TrimPrefix(reason, "cannot run "+v.slot+": ")
}

// since is when the state began.
func (v view) since(state profile.State) time.Time {
	switch {
	case v.absent:
		return time.Time{}
	case state == profile.StateRunning:
		return v.state.ReadySince
	}
	return v.state.Since
}

func wireExit(e profile.Exit) api.Exit {
	w := api.Exit{Signal: e.Signal, At: e.At.UTC(), Started: e.Started.UTC(), Reason: e.Reason, Asked: e.Asked}
	if e.Code >= 0 {
		w.Code = new(e.Code)
	}
	return w
}

// residentBytes is a process's resident memory; 0 if it is gone.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// notUp is the error for a slot that is down although it was started.
func (v view) notUp() error {
	if v.name != "" && v.intent.Intent == profile.Stopped {
		return fault.New(fault.GatewayFailed, "cannot start %s: it was stopped meanwhile", v.slot)
	}
	g := v.row()
	return fault.New(fault.GatewayFailed, "cannot start %s: %s", v.slot, cmp.Or(g.Reason, "it ended at once")).
		WithHint("%s", cmp.Or(g.Hint, v.advice()))
}

// advice is where to look.
func (v view) advice() string {
	if v.name == "" {
		return "hermes status"
	}
	return "hermes why " + string(v.name)
}
