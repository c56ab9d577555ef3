package api

// Config answers GET /v1/gateways/{profile}/config: with what the gateway would
// be run if it were started now. No value that may be a secret is in it.
type Config struct {
	Profile string `json:"profile"`
	Path    string `json:"path"`            // its directory
	Title   string `json:"title,omitempty"` // the first line of SOUL.md
	// Settings are those of the gateway, also where nobody said anything.
	Settings []Setting `json:"settings"`
	// Environment is the gateway's, sorted by name.
	Environment []Variable `json:"environment"`
	// Warnings are sentences about what is in config.yaml and has no effect.
	Warnings []string `json:"warnings,omitempty"`
}

// Setting is one setting of a gateway, for people.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"` // "gateway.port", ".env API_SERVER_PORT", "default", …
}

// Variable is a variable of a gateway's environment.
type Variable struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Hidden bool   `json:"hidden,omitempty"` // the value may be a secret, and is left out
	From   string `json:"from"`             // "environment", ".env", "gateway.env" or "hermes"
}

// ExitList answers GET /v1/gateways/{profile}/exits.
type ExitList struct {
	Exits []Exit `json:"exits"` // newest first, at most 50
}

// LogLine is a line of the stream (NDJSON) that answers GET
// /v1/gateways/{profile}/logs. One with neither a line nor an error says that
// the stream lives; one with an error that it ends.
type LogLine struct {
	// Line begins with the UTC time at which it was read; control characters
	// are written out, as `hermes gateway logs` prints them.
	Line  *string `json:"line,omitempty"`
	Error *Error  `json:"error,omitempty"`
}
