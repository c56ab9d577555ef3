package profile_test

import (
	"errors"
	"strings"
	"testing"

	"hermes/internal/profile"
)

// TestNames: what may be the name of a directory, of a slot and of a service
// everywhere, and nothing else.
func TestNames(t *testing.T) {
	longest := strings.Repeat("x", profile.MaxNameLen)
	for _, s := range []string{"coder", "a", "0", "a-b_c", "9lives", longest} {
		if n, err := profile.ParseNew(s); err != nil || string(n) != s {
			t.Errorf("%q: %q, %v", s, n, err)
		}
	}
	for s, reason := range map[string]string{
		"":            "it is empty",
		longest + "x": "it has 65 characters, the limit is 64",
		"root":        "it is reserved",
		"default":     "it is reserved",
		"Coder":       "only a-z",
		"-p":          "it starts with a letter or digit",
		"_x":          "it starts with a letter or digit",
		".x":          "only a-z",
		"a/b":         "only a-z",
		"a b":         "only a-z",
		"a\nb":        "only a-z",
		"é":           "only a-z",
	} {
		_, err := profile.ParseNew(s)
		if e, ok := errors.AsType[*profile.NameError](err); !ok || e.Name != s || !strings.Contains(e.Reason, reason) {
			t.Errorf("%q: %v, want %q", s, err, reason)
		}
	}
	if n, err := profile.Parse("default"); n != profile.Default || err != nil {
		t.Errorf("default: %q, %v", n, err)
	}
}

// TestSlots: a slot is gateway-<name>, and names its profile without the prefix.
func TestSlots(t *testing.T) {
	for _, n := range []profile.Name{profile.Default, "coder", "gateway-x"} {
		if got := n.Slot(); got != "gateway-"+string(n) {
			t.Errorf("%s has the slot %s", n, got)
		}
		if back, ok := profile.FromSlot(n.Slot()); !ok || back != n {
			t.Errorf("%s is of %q, %v", n.Slot(), back, ok)
		}
	}
	for _, slot := range []string{profile.DashboardSlot, "", "gateway", "gateway-", "gateway-A", "gateway-../x", "coder", "s6-fdholder"} {
		if n, ok := profile.FromSlot(slot); ok {
			t.Errorf("slot %q is of profile %q", slot, n)
		}
	}
}
