package logfile

import "encoding/binary"

// Nearly all that a gateway prints is ASCII which a line shows as it is. It is
// found eight bytes at a time: byte for byte it was half of what a line costs in
// the tee.
const (
	eachByte = 0x0101010101010101
	topBits  = 0x80 * eachByte
)

// shown is how many bytes p begins with that no format has to escape: printable
// ASCII, and tabs.
func shown(p []byte) int {
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		if special(binary.LittleEndian.Uint64(p[n:])) != 0 {
			break
		}
	}
	for n < len(p) && (p[n] >= ' ' && p[n] < 0x7f || p[n] == '\t') {
		n++
	}
	return n
}

// quotable is how many bytes p begins with that stand for themselves in a JSON
// string.
func quotable(p []byte) int {
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(p[n:])
		if special(w)|zeros(w^'"'*eachByte)|zeros(w^'\\'*eachByte) != 0 {
			break
		}
	}
	for n < len(p) && p[n] >= ' ' && p[n] < 0x7f && p[n] != '"' && p[n] != '\\' {
		n++
	}
	return n
}

// special is 0 only if each of the eight bytes is printable ASCII: none is below
// the space, none is DEL, none is above.
func special(w uint64) uint64 {
	return (w | (w + eachByte) | (w-' '*eachByte)&^w) & topBits
}

// zeros is 0 only if none of the eight bytes is.
func zeros(w uint64) uint64 { return (w - eachByte) &^ w & topBits }
