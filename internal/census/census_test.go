package census

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

// newHome has the profiles of files, "name/file" → content.
func newHome(t *testing.T, files map[string]string) *store.Home {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		name, file, _ := strings.Cut(path, "/")
		full := filepath.Join(dir, "profiles", name, file)
		if name == "default" {
			full = filepath.Join(dir, file)
		}
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if err == nil {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	home, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = home.Close() })
	return home
}

// TestPlan: what a home has comes out as lines of container-boot.log, without
// the time.
func TestPlan(t *testing.T) {
	home := newHome(t, map[string]string{
		"anna/SOUL.md":            "a",
		"anna/gateway_state.json": `{"gateway_state":"running"}`,
		"bert/SOUL.md":            "b",
		"bert/gateway_state.json": `{"gateway_state":"runn`,
		"no-soul/config.yaml":     "",
		".hidden/SOUL.md":         "h",
	})
	lines, err := Plan(home, []reconcile.Command{{Profile: profile.Default}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		_, rest, _ := strings.Cut(l, " ")
		got = append(got, rest)
	}
	want := []string{
		"profile=default prior_state=none action=started prior_exit=unknown",
		"profile=anna prior_state=running action=started prior_exit=unknown",
		"profile=bert prior_state=corrupt action=registered prior_exit=unknown",
	}
	if len(got) < len(want) || strings.Join(got[:len(want)], "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	for _, l := range got[len(want):] {
		if !strings.Contains(l, "action=skipped") {
			t.Errorf("more than was asked for: %s", l)
		}
	}
}

// TestWorld: files that make no sense are told of, and keep no profile out.
func TestWorld(t *testing.T) {
	home := newHome(t, map[string]string{
		"anna/SOUL.md":             "a",
		"anna/gateway_intent.json": `{"version":1,"intent":"dancing"}`,
		"bert/SOUL.md":             "b",
	})
	w, senseless, err := World(home)
	if err != nil || len(w.Found) != 3 || w.Now.IsZero() {
		t.Fatalf("%+v, %v", w, err)
	}
	if len(senseless) != 1 || senseless["anna"] == nil {
		t.Errorf("senseless: %v", senseless)
	}
	for _, p := range w.Found {
		if want := map[profile.Name]reconcile.FileState{"anna": reconcile.Corrupt}[p.Name]; p.IntentFile != want {
			t.Errorf("%s: intent %v", p.Name, p.IntentFile)
		}
	}
}

func TestPorts(t *testing.T) {
	home := newHome(t, map[string]string{
		"anna/SOUL.md":     "a",
		"anna/config.yaml": "gateway:\n  port: 9999\n",
		"bert/SOUL.md":     "b",
		"bert/config.yaml": "nonsense: [",
	})
	settings, err := config.FromEnviron(nil)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := Ports(home, settings)
	if err != nil || ports["anna"] != 9999 || ports[profile.Default] != 8642 || ports["bert"] < 9200 {
		t.Errorf("%v, %v", ports, err)
	}
}

// TestPrepare: a wanted profile that is not there is made only if that was
// allowed.
func TestPrepare(t *testing.T) {
	for _, create := range []bool{false, true} {
		home := newHome(t, nil)
		err := Prepare(home, Preparation{Wanted: []profile.Name{"anna"}, Create: create, Log: discard()})
		if (err == nil) != create {
			t.Errorf("create %v: %v", create, err)
		}
		if _, err := home.Profile("anna"); (err == nil) != create {
			t.Errorf("create %v: %v", create, err)
		}
		if _, err := os.Stat(filepath.Join(home.Path(), "SOUL.md")); err != nil {
			t.Errorf("the default profile was not completed: %v", err)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
