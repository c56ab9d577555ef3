package api

// Diagnosis is printed by `hermes doctor --json`.
type Diagnosis struct {
	OK      bool   `json:"ok"` // nothing needs attention
	Home    string `json:"home"`
	Manager string `json:"manager"` // "none" where nothing supervises the home
	// Findings are the conditions that hold, and those that were repaired.
	Findings []Finding `json:"findings"`
}

// Finding is one condition of the machine, the container's settings, the home,
// or the fleet.
type Finding struct {
	Profile string `json:"profile,omitempty"`
	Code    string `json:"code"`
	Level   string `json:"level"` // "note": nothing to do; "warning"; "fatal": nothing can be supervised
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Fixable bool   `json:"fixable,omitempty"` // by `hermes doctor --fix`
	Fixed   bool   `json:"fixed,omitempty"`
}
