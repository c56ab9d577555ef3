package logfile

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"unicode/utf8"
)

func newline() []byte { return []byte{'\n'} }

// maxTeeLine is where a long line is divided in the tee, as Docker divides it.
const maxTeeLine = 16 << 10

// stream turns one log's output into lines of the tee. It is used under the
// log's lock.
type stream struct {
	tee     *Tee
	pool    *Pool
	profile string
	partial []byte // the beginning of a line whose end has not come

	lost atomic.Int64 // lines the tee did not show
}

// newStream returns nil if there is no tee.
func newStream(t *Tee, pool *Pool, profile string) *stream {
	if t == nil {
		return nil
	}
	return &stream{tee: t, pool: pool, profile: profile}
}

// write passes on the lines that end in p.
func (s *stream) write(p, stamp []byte) {
	buf := s.pool.chunks.Get().(*chunkBuffer)
	defer s.pool.chunks.Put(buf)
	out := buf[:0]
	for len(p) > 0 {
		line, rest, ended := cutLine(p)
		if space := maxTeeLine - len(s.partial); len(line) > space {
			space -= runeTail(p, space)
			line, rest, ended = p[:space], p[space:], true
		}
		p = rest
		if !ended {
			s.partial = append(s.partial, line...)
			break
		}
		if len(s.partial) > 0 {
			line = append(s.partial, line...)
			s.partial = nil
		}
		out = s.tee.format.append(out, stamp, s.profile, line)
		if len(out) >= batchSize {
			s.tee.add(s, out, stamp)
			out = buf[:0]
		}
	}
	if len(out) > 0 {
		s.tee.add(s, out, stamp)
	}
}

// cutLine is the first line of p without its newline, and what follows it.
func cutLine(p []byte) (line, rest []byte, ended bool) {
	return bytes.Cut(p, []byte{'\n'})
}

// runeTail is how many bytes before p[at] belong to a rune that goes on there.
func runeTail(p []byte, at int) int {
	for n := range min(utf8.UTFMax, at+1) {
		if utf8.RuneStart(p[at-n]) {
			return n
		}
	}
	return 0 // no UTF-8 at all
}

// flush passes on a line that has not ended.
func (s *stream) flush(stamp []byte) {
	if len(s.partial) > 0 {
		s.tee.add(s, s.tee.format.append(nil, stamp, s.profile, s.partial), stamp)
		s.partial = nil
	}
}

// append appends a line in this format, newline included.
func (f Format) append(b, stamp []byte, profile string, line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if f == JSON {
		b = append(b, `{"ts":"`...)
		b = append(b, bytes.TrimSpace(stamp)...)
		b = append(b, `","profile":"`...)
		b = appendJSON(b, []byte(profile))
		b = append(b, `","line":"`...)
		b = appendJSON(b, line)
		return append(b, `"}`+"\n"...)
	}
	b = append(b, '[')
	b = append(b, profile...)
	b = append(b, "] "...)
	b = appendPrintable(b, line)
	return append(b, '\n')
}

// Printable returns line with control characters (but not tabs), those that turn
// the direction of text, and bytes that are no UTF-8 written as \x1b or \u009b,
// so that it can be shown on a terminal or in a page.
func Printable(line string) string {
	return string(appendPrintable(nil, []byte(line)))
}

func appendPrintable(b, line []byte) []byte {
	for len(line) > 0 {
		n := shown(line)
		b = append(b, line[:n]...)
		if line = line[n:]; len(line) == 0 {
			break
		}
		r, size := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ', r == 0x7f:
			b = fmt.Appendf(b, `\x%02x`, line[0])
		case unsafeRune(r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, line[:size]...)
		}
		line = line[size:]
	}
	return b
}

// appendJSON appends line as the inside of a JSON string. What is no UTF-8
// becomes U+FFFD, the file has the bytes.
func appendJSON(b, line []byte) []byte {
	for len(line) > 0 {
		n := quotable(line)
		b = append(b, line[:n]...)
		if line = line[n:]; len(line) == 0 {
			break
		}
		r, size := utf8.DecodeRune(line)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case unsafeRune(r):
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
		line = line[size:]
	}
	return b
}

// unsafeRune says whether r steers a terminal (C0, DEL, C1), ends a line for
// some readers (U+2028, U+2029) or turns the direction of what follows, so that
// a line reads as what it is not (U+202A to U+202E, U+2066 to U+2069).
func unsafeRune(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
