package dashboard

import (
	"slices"
	"strings"
)

// change is the way from one list of rows to another. Both are sorted by
// profile.
type change struct {
	set  []row // new, or different
	gone []string
}

func (c change) empty() bool { return len(c.set) == 0 && len(c.gone) == 0 }

// diff compares two lists of rows, each sorted by profile and without a profile
// that comes twice.
func diff(before, after []row) change {
	var c change
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(before) == 0, len(after) > 0 && after[0].Profile < before[0].Profile:
			c.set = append(c.set, after[0])
			after = after[1:]
		case len(after) == 0, before[0].Profile < after[0].Profile:
			c.gone = append(c.gone, before[0].Profile)
			before = before[1:]
		default:
			if before[0] != after[0] {
				c.set = append(c.set, after[0])
			}
			before, after = before[1:], after[1:]
		}
	}
	return c
}

// settle keeps the memory a row was last shown with until it has changed by a
// twentieth: memory moves all the time, and a page that follows each page of it
// never rests. Both lists are as diff's; after is changed in place.
func settle(before, after []row) {
	i := 0
	for k := range after {
		for i < len(before) && before[i].Profile < after[k].Profile {
			i++
		}
		if i == len(before) {
			return
		}
		if was := before[i]; was.Profile == after[k].Profile && was.PID == after[k].PID && near(was.Memory, after[k].Memory) {
			after[k].Memory = was.Memory
		}
	}
}

// near says that b is within a twentieth of a.
func near(a, b int64) bool {
	if a <= 0 || b <= 0 {
		return a == b
	}
	return max(a, b)-min(a, b) < a/20
}

// sortRows puts rows into the order that diff needs, and drops a profile that
// comes twice.
func sortRows(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Profile, b.Profile) })
	return slices.CompactFunc(rows, func(a, b row) bool { return a.Profile == b.Profile })
}
