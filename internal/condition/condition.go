// Package condition says what a machine, a container's settings and a home make
// impossible: facts in, named conditions out. `hermes up` and `hermes init` tell
// them once, at boot; `hermes doctor` tells them whenever it is asked.
package condition

// Level is what a condition means for a fleet.
type Level string

// The levels.
const (
	// Note: hermes does it in another way, and nothing needs to be done.
	Note Level = "note"
	// Warning: something that a person may count on does not work.
	Warning Level = "warning"
	// Fatal: nothing can be supervised like this, so nothing is tried.
	Fatal Level = "fatal"
)

// Condition is one that holds.
type Condition struct {
	Code    string
	Level   Level
	Message string // lower case, no full stop
	Hint    string // the next command, or what to change; "" for a note
	Fixable bool   // by `hermes doctor --fix`
}

// Facts is what conditions are derived from. A fact that could not be found
// out has its zero value, and nothing is derived from it.
type Facts struct {
	// UID and Caps are those of the process that supervises, or would.
	UID  uint32
	Caps Capabilities
	// GatewayUID and GatewayGID are whom gateways run as; IdentityWarning is
	// what an operator should know about that choice.
	GatewayUID, GatewayGID uint32
	IdentityWarning        string
	Home                   Home
	Runtime                Runtime
	Limits                 Limits
	Fleet                  Fleet
	// NoInotify is why changes of the home are not seen at once.
	NoInotify string
	// ForeignInit are scripts of another init that do not run.
	ForeignInit []string
}

// Home is the home directory.
type Home struct {
	Path     string
	UID, GID uint32
	// Trouble is why it cannot be used, as the store found; Denied says that
	// permissions are the reason.
	Trouble *Trouble
	Denied  bool
	Remote  bool
	// Free is the space left in bytes, if FreeKnown.
	Free      uint64
	FreeKnown bool
	// Misowned are paths of the fixed list that boot gives to the gateways'
	// uid, and that belong to somebody else.
	Misowned []string
	// Exposed are files with secrets that every user may read.
	Exposed []string
}

// Trouble is a failure that is known already, in a person's words.
type Trouble struct {
	Message, Hint string
}

// Runtime is where the control socket is.
type Runtime struct {
	Dir     string    // "" if there is none
	Refused []Refused // better places, in order
}

// Refused is a directory that does not do.
type Refused struct {
	Dir, Reason string
}

// Limits are those of the kernel; 0 means none.
type Limits struct {
	PIDs      uint64 // of the cgroup: processes and threads
	Memory    uint64 // of the cgroup, in bytes
	OpenFiles uint64 // of each process
	Processes uint64 // of the supervisor's uid: processes and threads
}

// Fleet is how many gateways are wanted running.
type Fleet struct {
	Gateways int
	BuiltIn  int // of these
}

// Check returns the conditions that hold, in the order of [Rules].
func Check(f Facts) []Condition {
	var all []Condition
	for _, r := range Rules() {
		message, hint := r.holds(f)
		if message == "" {
			continue
		}
		all = append(all, Condition{Code: r.Code, Level: r.Level, Message: message, Hint: hint, Fixable: r.Fixable})
	}
	return all
}
