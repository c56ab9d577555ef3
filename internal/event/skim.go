package event

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"hermes/api"
)

// skimmer reads of events what a [Table] needs, in a tenth of the time that it
// takes to read them: an engine that comes back waits for it.
type skimmer struct {
	words map[string]string // every word once
}

// skim is [Parse] but for what a table does not need. It is false if the line
// is not as [Append] writes it without an escape: whatever a library may read
// in another way (bytes that are no UTF-8, a key in capitals) is the library's.
func (s *skimmer) skim(line []byte, e *api.Event) bool {
	rest, ok := bytes.CutPrefix(line, []byte{'{'})
	if !ok || len(line) > maxLine || !utf8.Valid(line) {
		return false
	}
	for {
		var key, value []byte
		if key, rest, ok = quoted(rest); !ok || len(rest) == 0 || rest[0] != ':' {
			return false
		}
		switch rest = rest[1:]; {
		case string(key) == "exit": // the last one, and an object with none in it
			return s.known(e) && len(rest) > 2 && rest[0] == '{' && bytes.IndexByte(rest, '}') == len(rest)-2 && rest[len(rest)-1] == '}'
		case len(rest) > 0 && rest[0] == '"':
			if value, rest, ok = quoted(rest); !ok {
				return false
			}
			if !s.set(e, key, value) {
				return false
			}
		default:
			var n uint64
			if n, rest, ok = number(rest); !ok {
				return false
			}
			switch string(key) {
			case "id":
				e.ID = n
			case "generation":
				e.Generation = n
			case "pid":
			default:
				return false
			}
		}
		switch {
		case len(rest) == 1 && rest[0] == '}':
			return s.known(e)
		case len(rest) == 0 || rest[0] != ',':
			return false
		}
		rest = rest[1:]
	}
}

// known says whether what was read is an event.
func (s *skimmer) known(e *api.Event) bool { return e.ID != 0 && e.ID <= maxID && e.Kind != "" }

// set is false for a key that [Append] does not write.
func (s *skimmer) set(e *api.Event, key, value []byte) bool {
	switch string(key) {
	case "kind":
		e.Kind = s.word(value)
	case "profile":
		e.Profile = s.word(value)
	case "slot":
		e.Slot = s.word(value)
	case "from":
		e.From = s.word(value)
	case "to":
		e.To = s.word(value)
	case "health":
		e.Health = s.word(value)
	case "at", "cause", "by":
	default:
		return false
	}
	return true
}

func (s *skimmer) word(b []byte) string {
	w, ok := s.words[string(b)]
	if !ok {
		w = string(b)
		s.words[w] = w
	}
	return w
}

// quoted cuts a string without escapes off b.
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	text = b[1 : 1+end]
	return text, b[end+2:], bytes.IndexByte(text, '\\') < 0
}

// number cuts digits off b.
func number(b []byte) (n uint64, rest []byte, ok bool) {
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	n, err := strconv.ParseUint(string(b[:end]), 10, 64)
	return n, b[end:], err == nil
}
