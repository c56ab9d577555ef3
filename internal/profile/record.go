package profile

import (
	"fmt"
	"time"
)

// Intent is what the operator wants of a gateway.
type Intent string

// The intents. There is no third: an absent intent file is a fact about a
// file, not a wish.
const (
	Running Intent = "running"
	Stopped Intent = "stopped"
)

// IntentVersion is the version this build writes into [IntentRecord].
const IntentVersion = 1

// IntentRecord is the content of gateway_intent.json.
type IntentRecord struct {
	Version    int       `json:"version"`
	Intent     Intent    `json:"intent"`
	Generation uint64    `json:"generation"` // counts the changes of this file
	ChangedAt  time.Time `json:"changed_at"`
	ChangedBy  string    `json:"changed_by"` // "cli uid 1000", "migration", "container command"
}

// Validate reports a record that no version of hermes can have written.
func (r IntentRecord) Validate() error {
	switch {
	case r.Version < 1:
		return fmt.Errorf("version %d is not one hermes writes", r.Version)
	case r.Version > IntentVersion:
		return fmt.Errorf("version %d was written by a newer hermes", r.Version)
	case r.Intent != Running && r.Intent != Stopped:
		return fmt.Errorf("intent %q is neither %q nor %q", r.Intent, Running, Stopped)
	}
	return nil
}

// State is where a gateway is in its life.
type State string

// The states a person sees.
const (
	StateStopped  State = "stopped"
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateStopping State = "stopping"
	StateBackoff  State = "backoff" // failed; next retry at a known time
	StateParked   State = "parked"  // no retry until an operator says start
)

// Health is what a gateway says of itself, or what its probe found.
type Health string

// The healths. Unknown is the honest answer for a command that reports none.
const (
	HealthOK       Health = "ok"
	HealthDegraded Health = "degraded"
	HealthDraining Health = "draining"
	HealthUnready  Health = "unready"
	HealthUnknown  Health = "unknown"
)

// Restart says after which ends a gateway is started again: the key
// gateway.restart. Exit 78 parks it whatever the policy.
type Restart string

// The restart policies; Always is the default.
const (
	RestartAlways    Restart = "always"
	RestartOnFailure Restart = "on-failure"
	RestartNever     Restart = "never"
)

// Exit codes with a meaning of their own, from sysexits.h.
const (
	ExitConfig   = 78 // EX_CONFIG: its configuration is wrong
	ExitTempFail = 75 // EX_TEMPFAIL: asks for a restart
)

// Exit is how one run of a gateway ended.
type Exit struct {
	// Run is the spawn generation of the run that ended; it makes recording
	// the same exit twice harmless.
	Run uint64 `json:"run"`
	// Code is the exit code, -1 if a signal ended the run or nobody saw it.
	Code int `json:"code"`
	// Signal is the name ("SIGKILL") of the signal that ended the run, or "".
	Signal string `json:"signal,omitempty"`
	// Asked is true when hermes had told the gateway to stop.
	Asked bool `json:"asked,omitempty"`
	// Healthy is true for a run that had been ready for ten seconds.
	Healthy bool      `json:"healthy,omitempty"`
	Started time.Time `json:"started"`
	At      time.Time `json:"at"`
	// Reason is a sentence for people, "" when the code says it all.
	Reason string `json:"reason,omitempty"`
	// Strays are processes that had outlived the run and were ended after it,
	// at most MaxStrays; MoreStrays counts the others.
	Strays     []Stray `json:"strays,omitempty"`
	MoreStrays int     `json:"more_strays,omitempty"`
}

// Stray is a process that outlived the run that started it.
type Stray struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	// End is what ended it, "SIGTERM" or "SIGKILL", or "alive" if nothing did.
	End string `json:"end"`
}

// MaxStrays bounds the strays that are kept of an exit.
const MaxStrays = 8

// String is the exit in a few words: "exit 78", "SIGKILL", "never started: …".
func (e Exit) String() string {
	switch {
	case e.Signal != "":
		return e.Signal
	case e.Code >= 0:
		return fmt.Sprintf("exit %d", e.Code)
	case e.Reason != "":
		return e.Reason
	}
	return "unknown"
}

// MaxExits is how many exits are kept on record for a profile.
const MaxExits = 50

// SupervisionVersion is the version this build writes into [Supervision].
const SupervisionVersion = 1

// Supervision is the content of supervision.json: what the supervisor observed
// of a profile's gateway. Losing it loses history, never intent.
type Supervision struct {
	Version int `json:"version"`
	// Keeper identifies the keeper (boot id and start) under which State was
	// observed. Under another keeper State is history.
	Keeper string `json:"keeper"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Hint is what puts an end to Reason, "" where that is not known.
	Hint string `json:"hint,omitempty"`
	// Failures counts the failed runs since the last healthy one or `start`;
	// it sets the backoff.
	Failures    int       `json:"failures"`
	NextRetryAt time.Time `json:"next_retry_at,omitzero"`
	// Restarts counts the runs after the first since the last command.
	Restarts int `json:"restarts"`
	// IntentGeneration is the intent this was observed under. A newer intent
	// makes State history: the operator has spoken since.
	IntentGeneration uint64 `json:"intent_generation"`
	// Ended marks a gateway that ended by itself and whose restart policy says
	// to leave it so.
	Ended bool `json:"ended,omitempty"`
	// Restarting marks a run that was told to stop so that the next can start.
	Restarting bool   `json:"restarting,omitempty"`
	Run        uint64 `json:"run,omitempty"` // generation of the latest spawn
	// LogDropped is how much of the latest run's output was dropped while there
	// was no engine, as far as the log says so.
	LogDropped int64 `json:"log_dropped,omitempty"`
	// ReadyAt is when the latest run became ready; zero if it has not.
	ReadyAt time.Time `json:"ready_at,omitzero"`
	// Health is what the latest run said of itself; a supervisor that comes
	// back cannot ask again.
	Health Health `json:"health,omitempty"`
	Port   int    `json:"port,omitempty"`
	Exits  []Exit `json:"exits,omitempty"` // oldest first, at most MaxExits
}

// AddExit appends e unless the run it belongs to is on record already, and
// keeps the newest [MaxExits].
func (s *Supervision) AddExit(e Exit) {
	for _, old := range s.Exits {
		if old.Run == e.Run && e.Run != 0 {
			return
		}
	}
	s.Exits = append(s.Exits, e)
	if n := len(s.Exits); n > MaxExits {
		s.Exits = append([]Exit(nil), s.Exits[n-MaxExits:]...)
	}
}

// LastExit is the newest exit on record; ok is false when there is none.
func (s *Supervision) LastExit() (e Exit, ok bool) {
	if len(s.Exits) == 0 {
		return Exit{}, false
	}
	return s.Exits[len(s.Exits)-1], true
}
