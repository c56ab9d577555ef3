package main

import (
	"fmt"
	"strings"
	"testing"
)

// written are lines from to last as a logger keeps them.
func written(from, last int) string {
	var b strings.Builder
	for i := from; i <= last; i++ {
		fmt.Fprintf(&b, "2026-11-23 07:00:00.000000000  %s%s\n", number(i), strings.Repeat(".", lineLen-11))
	}
	return b.String()
}

func TestCheckLines(t *testing.T) {
	good := written(5, 9)
	for _, c := range []struct{ name, text, want string }{
		{"all there", good, ""},
		{"nothing", "", "the log is empty"},
		{"one is missing", written(5, 6) + written(8, 9), "line 6 is followed by line 8"},
		{"one is there twice", written(5, 7) + written(7, 9), "line 7 is followed by line 7"},
		{"the last is missing", written(5, 8), "the last line is 8, want 9"},
		{"torn at the end", good[:len(good)-4], "no line of the writer"},
		{"no time", strings.ReplaceAll(good, "2026-", "x"), "no line of the writer"},
		{"alien", good + "hello\n", "no line of the writer"},
	} {
		err := checkLines(c.text, 9)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
