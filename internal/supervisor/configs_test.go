package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"hermes/internal/profile"
	"hermes/internal/store"
)

// TestLatestConfigIsThatOfTheLatestLook: what a config.yaml said once is not
// what holds when it makes no sense any more.
func TestLatestConfigIsThatOfTheLatestLook(t *testing.T) {
	dir := t.TempDir()
	home, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	p, err := home.Profile(profile.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var c configs
	if _, ok := c.latest(profile.Default); ok {
		t.Error("it is known before it was read")
	}
	for _, tt := range []struct {
		text string
		port int // 0: it makes no sense
	}{{"gateway: {port: 9300}", 9300}, {"gateway: [", 0}, {"gateway: {port: 9301}", 9301}} {
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.of(p)
		file, ok := c.latest(profile.Default)
		if (err == nil) != ok || ok != (tt.port != 0) || ok && file.Gateway.Port != tt.port {
			t.Errorf("%q: %v, known: %v, port %d", tt.text, err, ok, file.Gateway.Port)
		}
	}
}
