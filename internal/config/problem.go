package config

import (
	"fmt"
	"strings"

	"hermes/internal/fault"
)

// problems collects the mistakes of one source.
type problems []string

// maxProblems is how many mistakes one error lists; a file can have a million.
const maxProblems = 20

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...))
}

// fault is nil without problems, else the one error that lists them all.
func (p problems) fault(hint string) error {
	if len(p) == 0 {
		return nil
	}
	if more := len(p) - maxProblems; more > 0 {
		p = append(p[:maxProblems:maxProblems], fmt.Sprintf("… and %d more", more))
	}
	e := fault.New(fault.InvalidConfig, "%s", strings.Join(p, "\n"))
	e.Hint = hint
	return e
}

// nearest returns the known word closest to got, "" if none resembles it.
func nearest(got string, known []string) string {
	best, bestDistance := "", len(got)/2+1
	for _, k := range known {
		if d := distance(got, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// clip keeps an error that quotes a huge value readable.
func clip(s string) string {
	const keep = 60
	if len(s) <= keep {
		return s
	}
	return strings.ToValidUTF8(s[:keep], "") + "…"
}
