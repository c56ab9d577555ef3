// Package api holds the wire types of hermes's control API: HTTP and JSON over
// a unix socket. The server, the Go client and every other client share them.
//
// Compatibility: fields are added, never changed or removed; a client ignores
// fields it does not know.
package api

import "time"

// Fleet answers GET /v1/fleet and is printed by `hermes gateway status --json`.
type Fleet struct {
	Manager  string    `json:"manager"` // "native (container supervisor)", …
	Engine   string    `json:"engine"`  // "native"
	Home     string    `json:"home"`
	Gateways []Gateway `json:"gateways"`
	// Dashboard is there where the supervisor runs one. It is no gateway.
	Dashboard *Dashboard `json:"dashboard,omitempty"`
	// Notices are conditions of the whole fleet an operator should know of.
	Notices []Notice `json:"notices,omitempty"`
	// KeeperPID and EnginePID are the supervisor's two processes.
	KeeperPID int    `json:"keeper_pid,omitempty"`
	EnginePID int    `json:"engine_pid,omitempty"`
	Version   string `json:"version,omitempty"`
	// EngineRestarts counts the engines after the first one that this keeper's
	// fleet has had, whatever ended the one before.
	EngineRestarts int `json:"engine_restarts,omitempty"`
	// LastEvent is the id after which events tell what happened since this answer.
	LastEvent uint64 `json:"last_event,omitempty"`
}

// DownHeader is the header of an answer with a [Fleet] that says what its Down
// does, for who passes the answer on without reading it.
const DownHeader = "Hermes-Down"

// Down is how many gateways are meant to run and do not.
func (f Fleet) Down() int {
	n := 0
	for i := range f.Gateways {
		if f.Gateways[i].Down() {
			n++
		}
	}
	return n
}

// Down says whether the gateway is meant to run and does not.
func (g Gateway) Down() bool { return g.Intent == "running" && g.State != "running" }

// Notice is one condition with a stable code, a sentence and what to do.
type Notice struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Gateway is one row of the fleet.
type Gateway struct {
	Profile     string     `json:"profile"`
	Slot        string     `json:"slot"`
	Intent      string     `json:"intent"`    // running, stopped
	IntentBy    string     `json:"intent_by"` // who set it
	IntentAt    *time.Time `json:"intent_at,omitempty"`
	State       string     `json:"state"`
	Health      string     `json:"health"`
	PID         int        `json:"pid,omitempty"`
	Since       *time.Time `json:"since,omitempty"` // of State
	Restarts    int        `json:"restarts"`
	NextRetryAt *time.Time `json:"next_retry_at,omitempty"`
	Port        int        `json:"port,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Hint        string     `json:"hint,omitempty"` // what puts an end to Reason, where that is known
	LastExit    *Exit      `json:"last_exit,omitempty"`
	MemoryBytes int64      `json:"memory_bytes,omitempty"`
	// LogLost counts the bytes of output that are not in the log's files, since
	// the engine started; LogLostLines the lines among them, as far as they were
	// seen, LogLostAt is when the last of them was lost.
	LogLost      int64      `json:"log_lost,omitempty"`
	LogLostLines int64      `json:"log_lost_lines,omitempty"`
	LogLostAt    *time.Time `json:"log_lost_at,omitempty"`
	// LogDropped is the part of LogLost that came while there was no engine,
	// and was more than the keeper keeps.
	LogDropped int64 `json:"log_dropped,omitempty"`
	// LogError is why the files could not be written, the last time;
	// LogFailing says that they cannot be written now.
	LogError   string `json:"log_error,omitempty"`
	LogFailing bool   `json:"log_failing,omitempty"`
	// StdoutLost counts the lines that are not on the supervisor's stdout.
	StdoutLost int64 `json:"stdout_lost,omitempty"`
	// Status is the gateway's own sentence about itself (sd_notify STATUS=).
	Status string `json:"status,omitempty"`
	// StartedAt is when the run in hand began and ReadyAt when it became ready:
	// between them is what its start took. Absent where there is no run, and
	// where it is not ready yet.
	StartedAt *time.Time `json:"started_at,omitempty"`
	ReadyAt   *time.Time `json:"ready_at,omitempty"`
	// Failures counts the failed runs since the last healthy one, or since it
	// was started by a command; it sets the wait before the next try.
	Failures int `json:"failures,omitempty"`
}

// Dashboard is the slot of the dashboard: it answers POST
// /v1/dashboard/restart.
type Dashboard struct {
	Slot        string     `json:"slot"`
	State       string     `json:"state"`
	Health      string     `json:"health"`
	PID         int        `json:"pid,omitempty"`
	Since       *time.Time `json:"since,omitempty"` // of State
	Restarts    int        `json:"restarts"`
	NextRetryAt *time.Time `json:"next_retry_at,omitempty"`
	URL         string     `json:"url"` // where the machine it runs on finds it
	Reason      string     `json:"reason,omitempty"`
	Hint        string     `json:"hint,omitempty"` // what puts an end to Reason
	LastExit    *Exit      `json:"last_exit,omitempty"`
	MemoryBytes int64      `json:"memory_bytes,omitempty"`
}

// Exit is how a run ended. Code is absent when a signal ended it.
type Exit struct {
	Code   *int      `json:"code,omitempty"`
	Signal string    `json:"signal,omitempty"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
	// Started is when the run began.
	Started time.Time `json:"started,omitzero"`
	Asked   bool      `json:"asked,omitempty"` // hermes had told it to stop
	// Strays are processes that had outlived the run and were ended after it;
	// MoreStrays counts those that are not listed.
	Strays     []Stray `json:"strays,omitempty"`
	MoreStrays int     `json:"more_strays,omitempty"`
}

// Stray is a process that outlived the run that started it. End is what ended
// it: "SIGTERM", "SIGKILL", or "alive" if nothing did.
type Stray struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	End  string `json:"end"`
}

// Why answers GET /v1/gateways/{profile}/why.
type Why struct {
	Gateway Gateway  `json:"gateway"`
	Exits   []Exit   `json:"exits"` // newest first, at most 5
	Log     []string `json:"log"`   // last lines
	Next    string   `json:"next"`  // what happens next, or what to do
	Hint    string   `json:"hint,omitempty"`
}

// ActionRequest is the body of POST /v1/gateways/{profile}/{start,stop,restart}
// and of POST /v1/fleet/{stop,restart}.
type ActionRequest struct {
	// NoWait answers as soon as the intent is on disk.
	NoWait bool `json:"no_wait,omitempty"`
	// TimeoutMS bounds the wait; 0 is the gateway's own start or stop timeout.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	// By says on whose behalf, for intent_by; the server adds the peer's uid.
	By string `json:"by,omitempty"`
}

// ActionResult is the outcome for one gateway: the answer of an action, or one
// line of the stream (NDJSON) that answers an action on the fleet. In a stream a
// line without a profile says that the action as a whole failed.
type ActionResult struct {
	Gateway Gateway `json:"gateway"`
	Error   *Error  `json:"error,omitempty"`
	// Hints are things worth saying though the action succeeded.
	Hints []string `json:"hints,omitempty"`
}

// CreateRequest is the body of POST /v1/profiles.
type CreateRequest struct {
	Name string `json:"name"`
	By   string `json:"by,omitempty"` // as in ActionRequest
}

// RenameRequest is the body of POST /v1/profiles/{name}/rename.
type RenameRequest struct {
	To string `json:"to"`
	By string `json:"by,omitempty"` // as in ActionRequest
}

// DeleteRequest is the body of DELETE /v1/profiles/{name}; it may be left out.
type DeleteRequest struct {
	By string `json:"by,omitempty"` // as in ActionRequest
}

// ProfileList answers GET /v1/profiles.
type ProfileList struct {
	Profiles []Profile `json:"profiles"`
}

// Plan answers GET /v1/plan: what a boot would do now, a line per profile.
type Plan struct {
	Lines []string `json:"lines"`
}

// Profile answers the profile routes.
type Profile struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Port int    `json:"port,omitempty"`
	// Warning says what did not work although the profile itself did.
	Warning string `json:"warning,omitempty"`
}

// Condition is one reason why the fleet is not ready.
type Condition struct {
	Profile string `json:"profile,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Health answers GET /v1/health/live and /v1/health/ready.
type Health struct {
	OK         bool        `json:"ok"`
	Conditions []Condition `json:"conditions,omitempty"`
}

// Error is the body of every answer with a status of 400 or more, but for two
// kinds: an action that failed on a gateway answers with its ActionResult, which
// holds the Error, and a health that is not OK with the Health (503).
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }
