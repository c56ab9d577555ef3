package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCountEngine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, enginesFile)
	count := func(stamp string, want int) {
		t.Helper()
		if got, err := countEngine(dir, stamp); err != nil || got != want {
			t.Fatalf("%d, %v; want %d", got, err, want)
		}
	}
	count("boot.1", 0)
	count("boot.1", 1)
	count("boot.1", 2)
	count("boot.2", 0) // another keeper
	count("boot.2", 1)
	for _, torn := range []string{"", "boot.2", "boot.2 x", "boot.2 -7", "\x00\xff", "boot.1 5"} {
		if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		count("boot.2", 0)
		count("boot.2", 1)
	}
}

// TestCountEngineNowhere: an engine that cannot count runs all the same.
func TestCountEngineNowhere(t *testing.T) {
	dir := t.TempDir()
	if got, err := countEngine(filepath.Join(dir, "gone"), "boot.1"); err == nil || got != 0 {
		t.Errorf("%d, %v", got, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, enginesFile, "in-the-way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := countEngine(dir, "boot.1"); err == nil || got != 0 {
		t.Errorf("%d, %v", got, err)
	}
}
