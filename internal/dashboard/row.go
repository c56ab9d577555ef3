package dashboard

import (
	"time"

	"hermes/api"
	"hermes/internal/amount"
	"hermes/internal/profile"
)

// level is how a gateway compares with what is wanted of it. The words are
// classes of the page's style, and what its filter knows.
type level string

const (
	levelBad  level = "bad"  // it is not as wanted, and stays so or has failed
	levelWarn level = "warn" // it runs, with something to look at
	levelBusy level = "busy" // it is on its way
	levelOK   level = "ok"   // it runs as wanted
	levelOff  level = "off"  // it is down as wanted
)

// asWanted says that there is nothing to look at.
func (l level) asWanted() bool { return l == levelOK || l == levelOff }

// rank orders levels by how soon an operator should look.
func (l level) rank() int {
	switch l {
	case levelBad:
		return 0
	case levelWarn:
		return 1
	case levelBusy:
		return 2
	case levelOK:
		return 3
	default:
		return 4
	}
}

// row is what the page shows of a gateway. It is comparable: two rows that are
// equal look the same. Times are milliseconds of the Unix clock, 0 for none.
type row struct {
	Profile  string `json:"profile"`
	Level    level  `json:"level"`
	Intent   string `json:"intent"`
	State    string `json:"state"`
	Health   string `json:"health"`
	Since    int64  `json:"since"`
	Restarts int    `json:"restarts"`
	Retry    int64  `json:"retry"`
	Port     int    `json:"port"`
	Memory   int64  `json:"memory"` // bytes
	Reason   string `json:"reason"`
	PID      int    `json:"pid"`
}

// Size is the memory for a person.
func (r row) Size() string { return amount.Bytes(r.Memory) }

// AsWanted is for the templates.
func (r row) AsWanted() bool { return r.Level.asWanted() }

// Wanted says that the gateway is to run.
func (r row) Wanted() bool { return r.Intent == string(profile.Running) }

// offer is an action that makes sense in a gateway's state.
type offer struct{ Verb, Label string }

// Offers are the actions a row has buttons for. The page's script adds the
// others when the state changes, and the style hides what makes no sense.
func (r row) Offers() []offer {
	start, stop, restart := offer{"start", "Start"}, offer{"stop", "Stop"}, offer{"restart", "Restart"}
	switch profile.State(r.State) {
	case profile.StateRunning, profile.StateStarting:
		return []offer{stop, restart}
	case profile.StateStopping:
		return []offer{stop}
	case profile.StateStopped:
		if !r.Wanted() {
			return []offer{start}
		}
		return []offer{start, stop}
	case profile.StateParked, profile.StateBackoff:
		return []offer{start, stop}
	}
	return []offer{start, stop, restart}
}

// rowOf is what is shown of g.
func rowOf(g *api.Gateway) row {
	r := row{
		Profile: g.Profile, Level: levelOf(g), Intent: g.Intent, State: g.State, Health: g.Health,
		Since: millis(g.Since), Restarts: g.Restarts, Retry: millis(g.NextRetryAt),
		Port: g.Port, Memory: g.MemoryBytes, Reason: reasonOf(g), PID: g.PID,
	}
	return r
}

// levelOf compares a gateway with what is wanted of it.
func levelOf(g *api.Gateway) level {
	wanted := g.Intent == string(profile.Running)
	switch profile.State(g.State) {
	case profile.StateRunning:
		switch {
		case !wanted, g.Health == string(profile.HealthDegraded), g.Health == string(profile.HealthUnready), g.LogFailing:
			return levelWarn
		}
		return levelOK
	case profile.StateStarting, profile.StateStopping:
		return levelBusy
	case profile.StateStopped:
		if wanted {
			return levelBad
		}
		return levelOff
	case profile.StateBackoff, profile.StateParked:
		return levelBad
	}
	return levelWarn // a state of a later engine's
}

// reasonOf is the sentence beside the state.
func reasonOf(g *api.Gateway) string {
	switch {
	case g.Reason != "":
		return g.Reason
	case g.LogFailing:
		return "its log cannot be written: " + g.LogError
	case g.State == string(profile.StateRunning) && g.Intent == string(profile.Stopped):
		return "it runs although it is wanted stopped"
	case g.Status != "":
		return g.Status
	case g.State == string(profile.StateRunning) && g.Restarts > 0 && g.LastExit != nil && !g.LastExit.Asked:
		return "last run: " + exitWords(g.LastExit) + " at " + exitTime(g.LastExit)
	}
	return ""
}

func millis(t *time.Time) int64 {
	if t == nil || t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// counts are the numbers at the head of the page.
type counts struct {
	All     int `json:"all"`
	Amiss   int `json:"amiss"` // not as wanted
	Running int `json:"running"`
	Busy    int `json:"busy"` // starting or stopping
	Backoff int `json:"backoff"`
	Parked  int `json:"parked"`
	Stopped int `json:"stopped"`
}

func countRows(rows []row) counts {
	var c counts
	c.All = len(rows)
	for i := range rows {
		if !rows[i].AsWanted() {
			c.Amiss++
		}
		switch profile.State(rows[i].State) {
		case profile.StateRunning:
			c.Running++
		case profile.StateStarting, profile.StateStopping:
			c.Busy++
		case profile.StateBackoff:
			c.Backoff++
		case profile.StateParked:
			c.Parked++
		case profile.StateStopped:
			c.Stopped++
		}
	}
	return c
}
