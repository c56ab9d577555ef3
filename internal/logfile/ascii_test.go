package logfile

import (
	"bytes"
	"testing"
)

// TestRuns: every byte at every place among eight and more, against the rule
// byte for byte.
func TestRuns(t *testing.T) {
	plain := func(c byte) bool { return c >= ' ' && c < 0x7f || c == '\t' }
	quoted := func(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				p := bytes.Repeat([]byte{'~'}, length)
				p[0], p[at] = ' ', byte(c)
				if got, want := shown(p), run(p, plain); got != want {
					t.Fatalf("shown %q: %d, want %d", p, got, want)
				}
				if got, want := quotable(p), run(p, quoted); got != want {
					t.Fatalf("quotable %q: %d, want %d", p, got, want)
				}
			}
		}
	}
}

// FuzzRuns: the same with any bytes.
func FuzzRuns(f *testing.F) {
	f.Add([]byte("nothing special in here"))
	f.Add([]byte("tab\there, \"quoted\\ and \x7f, \x80, \xff\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		plain := func(c byte) bool { return c >= ' ' && c < 0x7f || c == '\t' }
		quoted := func(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }
		if shown(p) != run(p, plain) || quotable(p) != run(p, quoted) {
			t.Fatalf("%q: shown %d, quotable %d", p, shown(p), quotable(p))
		}
	})
}

// run is how many bytes p begins with that are such.
func run(p []byte, such func(byte) bool) int {
	for n, c := range p {
		if !such(c) {
			return n
		}
	}
	return len(p)
}
