package api

import "time"

// Event is one thing that happened in a home. It is a line of `hermes events
// --json`, of the file in logs/events/, and the data of one server-sent event.
type Event struct {
	// ID is greater than that of every event of this home before it, whatever
	// was restarted between. Ids are consecutive only while one engine lives.
	ID uint64 `json:"id"`
	// At is when the engine learned of it, in UTC.
	At time.Time `json:"at"`
	// Kind says what From and To are: "intent", "state" and "health" of a slot;
	// "slot": To is added, removed or renamed (From is the old profile);
	// "engine": To is booted, returned, shutdown or left; "dropped": the events
	// with the ids From to To are missing here. Kinds are added, never changed.
	Kind    string `json:"kind"`
	Profile string `json:"profile,omitempty"` // "" for what is no profile's
	Slot    string `json:"slot,omitempty"`
	From    string `json:"from,omitempty"` // "" if it was not known
	To      string `json:"to,omitempty"`
	// Health is what the health is from a state event on. A change of health
	// that comes with a change of state has no event of its own.
	Health string `json:"health,omitempty"`
	// Cause is a sentence: why it happened, with the reason where there is one.
	// An intent has one only where By does not say it all.
	Cause string `json:"cause,omitempty"`
	By    string `json:"by,omitempty"` // who set an intent
	// Generation counts the intents of a gateway. Who asks for what is wanted
	// already makes no event, unless the gateway had given up: then From and To
	// of the intent are the same.
	Generation uint64 `json:"generation,omitempty"`
	// PID is the run's in a state or health event, the engine's in an engine event.
	PID  int   `json:"pid,omitempty"`
	Exit *Exit `json:"exit,omitempty"` // of the run that ended, in the state event that followed
}

// The kinds of [Event].
const (
	EventIntent  = "intent"
	EventState   = "state"
	EventHealth  = "health"
	EventSlot    = "slot"
	EventEngine  = "engine"
	EventDropped = "dropped"
)

// What To is in events of the kinds slot and engine.
const (
	SlotAdded   = "added"
	SlotRemoved = "removed"
	SlotRenamed = "renamed"

	EngineBooted   = "booted"   // the first engine of a keeper
	EngineReturned = "returned" // it took over from one that ended; gateways lived on
	EngineShutdown = "shutdown" // everything is stopped
	EngineLeft     = "left"     // it ends in good order; gateways live on
)

// EventList answers GET /v1/events.
type EventList struct {
	Events []Event `json:"events"` // oldest first
	// Last is the id to go on after, whether or not its event is in the list.
	Last uint64 `json:"last"`
	// Gone says that there were events before these, after the id asked for, that
	// are not kept any more.
	Gone bool `json:"gone,omitempty"`
	// More says that there are events after Last already.
	More bool `json:"more,omitempty"`
}
