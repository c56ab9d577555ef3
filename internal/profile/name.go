package profile

import (
	"fmt"
	"slices"
	"strings"
)

// Name identifies a profile. Only values that came from [Parse] (or the
// constant [Default]) are valid.
type Name string

// Default is the profile that is the home directory itself.
const Default Name = "default"

// MaxNameLen is the longest profile name, in bytes; the limit of the original.
const MaxNameLen = 64

// slotPrefix turns a profile's name into its gateway's slot.
const slotPrefix = "gateway-"

// DashboardSlot is the one slot that is no gateway.
const DashboardSlot = "dashboard"

// NameError says why a string is not a profile name.
type NameError struct {
	Name   string // as given
	Reason string // a clause that completes "cannot use … as a profile name"
}

func (e *NameError) Error() string {
	return fmt.Sprintf("cannot use %q as a profile name: %s", abbreviate(e.Name), e.Reason)
}

// Parse checks that s may name an existing profile: "default", or a name a
// profile can be created under. The error is a [*NameError].
func Parse(s string) (Name, error) {
	if s == string(Default) {
		return Default, nil
	}
	return ParseNew(s)
}

// ParseNew checks that s may name a new profile: [a-z0-9][a-z0-9_-]{0,63} and
// not reserved. The error is a [*NameError].
func ParseNew(s string) (Name, error) {
	switch {
	case s == "":
		return "", &NameError{s, "it is empty"}
	case len(s) > MaxNameLen:
		return "", &NameError{s, fmt.Sprintf("it has %d characters, the limit is %d", len(s), MaxNameLen)}
	case slices.Contains(Reserved(), s):
		return "", &NameError{s, "it is reserved"}
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-') {
			return "", &NameError{s, "only a-z, 0-9, '-' and '_' are allowed, and it starts with a letter or digit"}
		}
	}
	return Name(s), nil
}

// Reserved lists the names no profile can be created under.
func Reserved() []string {
	return []string{"default", "hermes", "root", "sudo", "test", "tmp"}
}

// Slot is the name of the profile's place with the supervisor.
func (n Name) Slot() string { return slotPrefix + string(n) }

// FromSlot is the inverse of [Name.Slot]; ok is false for a slot that belongs
// to no profile, such as the dashboard's.
func FromSlot(slot string) (n Name, ok bool) {
	s, ok := strings.CutPrefix(slot, slotPrefix)
	if !ok {
		return "", false
	}
	n, err := Parse(s)
	return n, err == nil
}

// abbreviate keeps an error about a huge name readable.
func abbreviate(s string) string {
	const keep = 80
	if len(s) <= keep {
		return s
	}
	return s[:keep] + "…"
}
