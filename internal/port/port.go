package port

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hermes/internal/profile"
)

// Default is the port of the profile [profile.Default]; the original's clients
// and `docker run -p 8642:8642` rely on it.
const Default = 8642

// The range the other profiles are spread over, [First, First+Count); the
// seed's numbers, so that a profile keeps the port it had there.
const (
	First = 9200
	Count = 600
)

// Preferred is the port a profile gets unless it is taken: the seed's function
// of the name.
func Preferred(n profile.Name) int {
	if n == profile.Default {
		return Default
	}
	sum := sha256.Sum256([]byte(n))
	return First + int(binary.BigEndian.Uint64(sum[:8])%Count)
}

// Claim is what is known of one profile's port.
type Claim struct {
	Name     profile.Name
	Explicit int // said by a person, 0 when not
	Recorded int // assigned before, 0 when never
}

// ClashError: several profiles were told to serve on the same port. Each of
// them keeps it; whichever starts first gets it.
type ClashError struct {
	Port  int
	Names []profile.Name // sorted
}

func (e *ClashError) Error() string {
	return fmt.Sprintf("port %d is claimed by %s", e.Port, join(e.Names))
}

// FullError: the range has no port left for these profiles.
type FullError struct {
	Names []profile.Name // sorted
}

func (e *FullError) Error() string {
	return fmt.Sprintf("no port in [%d, %d) is left for %s", First, First+Count, join(e.Names))
}

// Assign gives every profile a port: the explicit one, else the recorded one
// if it is free, else the preferred one, else the next free one after it, round
// the range. No two profiles get the same port unless both were told to.
//
// The result does not depend on the order of claims, and is useful even beside
// an error, which joins one [*ClashError] per port and at most one
// [*FullError]; a profile without a port is absent. Names are unique: of two
// claims of one name the first counts.
//
// A recorded port counts only inside the range and never for the default
// profile: a port that was explicit once must not outlive its line in a file.
func Assign(claims []Claim) (map[profile.Name]int, error) {
	b := NewBook(claims)
	return b.ports, b.Problems()
}

// Book is an assignment that can be added to. It is not safe for concurrent use.
type Book struct {
	assignment
	clashes []error
	full    []profile.Name // without a port; sorted
}

// NewBook is the assignment of [Assign].
func NewBook(claims []Claim) *Book {
	b := &Book{assignment: assignment{
		ports: make(map[profile.Name]int, len(claims)), owners: make(map[int][]profile.Name, len(claims)),
	}}
	sorted := slices.Clone(claims)
	slices.SortStableFunc(sorted, func(x, y Claim) int { return strings.Compare(string(x.Name), string(y.Name)) })
	sorted = slices.CompactFunc(sorted, func(x, y Claim) bool { return x.Name == y.Name })

	for _, c := range sorted {
		if c.Explicit != 0 {
			b.give(c.Name, c.Explicit)
		}
	}
	for _, c := range sorted {
		if !b.has(c.Name) && b.recorded(c) {
			b.give(c.Name, c.Recorded)
		}
	}
	for _, c := range sorted {
		if b.has(c.Name) {
			continue
		}
		if p := b.search(c.Name); p != 0 {
			b.give(c.Name, p)
		} else {
			b.full = append(b.full, c.Name)
		}
	}
	b.clashes = b.findClashes()
	return b
}

// Of is the profile's port, 0 if it has none.
func (b *Book) Of(n profile.Name) int { return b.ports[n] }

// Problems is the error of [Assign].
func (b *Book) Problems() error {
	errs := b.clashes
	if len(b.full) > 0 {
		errs = append(slices.Clip(errs), &FullError{Names: slices.Clone(b.full)})
	}
	return errors.Join(errs...)
}

// Add assigns a port to one profile more, at a cost that does not grow with
// their number: what a new book would give it if the others had theirs on record
// and it had none of theirs. It is false, and nothing is done, if another profile's port may have to
// change for it: that takes a new book.
func (b *Book) Add(c Claim) bool {
	at, isFull := slices.BinarySearch(b.full, c.Name)
	switch {
	case b.has(c.Name) || isFull || c.Explicit != 0 && !b.free(c.Explicit):
		return false
	case c.Explicit != 0:
		b.give(c.Name, c.Explicit)
	case b.recorded(c):
		b.give(c.Name, c.Recorded)
	default:
		if p := b.search(c.Name); p != 0 {
			b.give(c.Name, p)
			break
		}
		b.full = slices.Insert(b.full, at, c.Name)
	}
	return true
}

type assignment struct {
	ports  map[profile.Name]int
	owners map[int][]profile.Name
}

// recorded says whether the port that a claim has on record is to be had.
func (a *assignment) recorded(c Claim) bool {
	return c.Name != profile.Default && inRange(c.Recorded) && a.free(c.Recorded)
}

func (a *assignment) give(n profile.Name, p int) {
	a.ports[n] = p
	a.owners[p] = append(a.owners[p], n)
}

func (a *assignment) has(n profile.Name) bool { _, ok := a.ports[n]; return ok }

func (a *assignment) free(p int) bool { return len(a.owners[p]) == 0 }

// search returns the first free port from the preferred one on, 0 if none is.
func (a *assignment) search(n profile.Name) int {
	want := Preferred(n)
	if a.free(want) {
		return want
	}
	offset := want - First
	if !inRange(want) { // the default profile's, taken by an explicit claim
		offset = 0
	}
	for i := range Count {
		if p := First + (offset+i)%Count; a.free(p) {
			return p
		}
	}
	return 0
}

func (a *assignment) findClashes() []error {
	var errs []error
	for _, p := range slices.Sorted(maps.Keys(a.owners)) {
		if names := a.owners[p]; len(names) > 1 {
			errs = append(errs, &ClashError{Port: p, Names: names})
		}
	}
	return errs
}

func inRange(p int) bool { return p >= First && p < First+Count }

func join(names []profile.Name) string {
	const most = 5
	var words []string
	for i, n := range names {
		if i == most {
			words = append(words, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		words = append(words, "'"+string(n)+"'")
	}
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " and " + words[last]
	}
	return strings.Join(words, "")
}
