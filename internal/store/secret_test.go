package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/profile"
)

// Only what everybody may read is reported and hidden: not what a group may
// read, not a link, not a file with another name elsewhere.
func TestHideSecrets(t *testing.T) {
	h := newHome(t, "coder", "group", "linked", "shared")
	env := func(name profile.Name) string { return filepath.Join(h.ProfilePath(name), ".env") }
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, "A=1")
	must(t, os.Chmod(outside, 0o644))
	for name, mode := range map[profile.Name]os.FileMode{"coder": 0o644, "group": 0o640} {
		write(t, env(name), "A=1")
		must(t, os.Chmod(env(name), mode))
	}
	for _, name := range []profile.Name{"linked", "shared"} {
		_ = os.Remove(env(name))
	}
	must(t, os.Symlink(outside, env("linked")))
	must(t, os.Link(outside, env("shared")))

	if diff := cmp.Diff([]string{env("coder")}, h.ExposedSecrets()); diff != "" {
		t.Error(diff)
	}
	must(t, h.HideSecrets())
	if left := h.ExposedSecrets(); len(left) > 0 {
		t.Errorf("still exposed: %v", left)
	}
	for path, want := range map[string]os.FileMode{env("coder"): 0o640, env("group"): 0o640, outside: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
}
