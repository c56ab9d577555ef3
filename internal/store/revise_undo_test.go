package store

import (
	"os"
	"path/filepath"
	"testing"

	"hermes/internal/fault"
)

// The second of two files cannot be replaced: the first is put back.
func TestReviseIsBothOrNeither(t *testing.T) {
	for _, had := range []string{"OLD=1\n", ""} {
		home, err := Create(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer home.Close()
		p, err := home.Profile("default")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		dotenv, blocked := filepath.Join(home.Path(), ".env"), filepath.Join(home.Path(), "config.yaml")
		if had != "" {
			if err := os.WriteFile(dotenv, []byte(had), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settings, secrets, err := p.originals()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(blocked, 0o700); err != nil { // no file can take its place
			t.Fatal(err)
		}
		if settings.info, err = p.dir.root.Lstat(configFile); err != nil {
			t.Fatal(err)
		}
		settings.to, secrets.to = []byte("new: 2\n"), []byte("NEW=2\n")
		if again, err := p.replace(secrets, settings); again || fault.CodeOf(err) != fault.HomeUnusable {
			t.Fatalf("again %v, %v", again, err)
		}
		data, err := os.ReadFile(dotenv)
		if string(data) != had || (err != nil) != (had == "") {
			t.Errorf(".env holds %q, want %q (%v)", data, had, err)
		}
		all, err := os.ReadDir(home.Path())
		if want := 1 + min(len(had), 1); err != nil || len(all) != want {
			t.Errorf("%v is left (%v)", all, err)
		}
	}
}
