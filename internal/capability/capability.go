// Package capability says, per engine, what it gives and what it does instead.
//
// The table is what docs/reference/engines.md is made from, and what the
// conformance suite of fleets proves row by row, in both directions: what is
// given works, and what is not is absent in just the way the table says.
package capability

// Engine is what supervises the slots of a home.
type Engine string

// The engines.
const (
	Native Engine = "native" // built in
	S6     Engine = "s6"     // skarnet's
)

// Engines are all there are, in the order of the table's columns.
func Engines() []Engine { return []Engine{Native, S6} }

// Capability is one thing that an engine may give.
type Capability string

// The capabilities.
const (
	Register     Capability = "register"
	Intent       Capability = "intent"
	Park         Capability = "park"
	History      Capability = "history"
	Revive       Capability = "revive"
	ReadyExec    Capability = "ready_exec"
	ReadyBuiltIn Capability = "ready_built_in"
	ReadyNotify  Capability = "ready_notify"
	ReadyHTTP    Capability = "ready_http"
	StartTimeout Capability = "start_timeout"
	Backoff      Capability = "backoff"
	Policy       Capability = "restart_policy"
	Adoption     Capability = "adoption"
	Health       Capability = "health"
	Discovery    Capability = "discovery"
	Strays       Capability = "strays"
	Events       Capability = "events"
	JSONLogs     Capability = "json_logs"
)

// Row is one capability, and what each engine answers.
type Row struct {
	Capability Capability
	// Means is the promise, for people.
	Means string
	// Answers has every engine.
	Answers map[Engine]Answer
}

// Answer is what one engine does about a capability.
type Answer struct {
	Given bool
	// How says how it is given, or what there is instead.
	How string
}

// Of is what an engine does about a capability; nothing for one not in the
// table.
func Of(e Engine, c Capability) Answer {
	for _, row := range Table() {
		if row.Capability == c {
			return row.Answers[e]
		}
	}
	return Answer{}
}
