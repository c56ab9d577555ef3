package event

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"hermes/api"
)

// Append appends an event as one line of JSON without its newline: the same as
// encoding/json makes of it, but for <, > and &, in a tenth of the time.
func Append(b []byte, e *api.Event) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendUint(b, e.ID, 10)
	b = append(b, `,"at":"`...)
	b = e.At.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","kind":`...)
	b = appendString(b, e.Kind)
	b = appendField(b, "profile", e.Profile)
	b = appendField(b, "slot", e.Slot)
	b = appendField(b, "from", e.From)
	b = appendField(b, "to", e.To)
	b = appendField(b, "health", e.Health)
	b = appendField(b, "cause", e.Cause)
	b = appendField(b, "by", e.By)
	if e.Generation != 0 {
		b = append(b, `,"generation":`...)
		b = strconv.AppendUint(b, e.Generation, 10)
	}
	if e.PID != 0 {
		b = append(b, `,"pid":`...)
		b = strconv.AppendInt(b, int64(e.PID), 10)
	}
	if e.Exit != nil {
		b = append(b, `,"exit":`...)
		b = appendJSON(b, e.Exit)
	}
	return append(b, '}')
}

// appendField appends a field that is left out when it is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendString(b, value)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendJSON(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendJSON is for what is rare.
func appendJSON(b []byte, v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...) // an exit at a time that has no year of four digits
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
