package logfile

import (
	"bytes"
	"time"
)

// stampLayout is ISO 8601 in UTC with microseconds, and the space after it.
const (
	stampLayout = "2006-01-02T15:04:05.000000Z "
	stampLen    = len(stampLayout)
)

// appendStamp appends t as a line's stamp, stampLen bytes.
func appendStamp(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, stampLayout)
}

// room is how much of a chunk may be filled: it ends with the first line that
// takes it to soft, and in any case at hard.
type room struct{ soft, hard int }

// fill appends p to out with a stamp at the start of each line, as far as there
// is room. inLine says that p continues a line begun before. It returns the
// chunk, how much of p is in it, and whether it ends within a line.
//
// Progress is sure when there is room for a stamp and one byte, or when p
// continues a line and there is room for one byte.
func fill(out, p, stamp []byte, inLine bool, r room) (chunk []byte, n int) {
	for n < len(p) {
		if !inLine {
			if len(out)+len(stamp) >= r.hard {
				break
			}
			out = append(out, stamp...)
			inLine = true
		}
		line := p[n:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		if space := r.hard - len(out); len(line) > space {
			return append(out, line[:space]...), n + space
		}
		out = append(out, line...)
		n += len(line)
		if line[len(line)-1] == '\n' {
			inLine = false
			if len(out) >= r.soft {
				break
			}
		}
	}
	return out, n
}

// payload is how many bytes of a chunk made by fill are not stamps. The chunk
// may be cut short anywhere.
func payload(chunk []byte, inLine bool) int {
	n := 0
	for len(chunk) > 0 {
		if !inLine {
			chunk = chunk[min(stampLen, len(chunk)):]
		}
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			return n + len(chunk)
		}
		n += i + 1
		chunk, inLine = chunk[i+1:], false
	}
	return n
}
