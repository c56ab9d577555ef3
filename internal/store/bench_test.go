package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"hermes/internal/profile"
	"hermes/internal/store"
)

// benchHome has so many bare profiles.
func benchHome(b *testing.B, n int) *store.Home {
	b.Helper()
	h, err := store.Create(filepath.Join(b.TempDir(), "home"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close() })
	for i := range n {
		dir := h.ProfilePath(benchName(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "SOUL.md"), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return h
}

func benchName(i int) profile.Name { return profile.Name(fmt.Sprintf("p%04d", i)) }

// BenchmarkProfile opens a profile, as every read and write of its files does.
func BenchmarkProfile(b *testing.B) {
	h := benchHome(b, 1)
	for b.Loop() {
		p, err := h.Profile(benchName(0))
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}

func BenchmarkScan1000(b *testing.B) {
	h := benchHome(b, 1000)
	for b.Loop() {
		if s, err := h.Scan(); err != nil || len(s.Entries) != 1001 {
			b.Fatal(len(s.Entries), err)
		}
	}
}

func BenchmarkWriteSupervision(b *testing.B) {
	h := benchHome(b, 1)
	p, err := h.Profile(benchName(0))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for b.Loop() {
		if err := p.WriteSupervision(supervision()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteIntents writes the intents of a fleet: each by itself, as a
// command does, and in step, as a boot does.
func BenchmarkWriteIntents(b *testing.B) {
	h := benchHome(b, 1000)
	var all []store.IntentWrite
	for i := range 1000 {
		all = append(all, store.IntentWrite{Name: benchName(i), Record: intent(profile.Running, 1)})
	}
	b.Run("each", func(b *testing.B) {
		for b.Loop() {
			for i := range all {
				if err := h.WriteIntents(all[i : i+1])[0]; err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("in step", func(b *testing.B) {
		for b.Loop() {
			if err := errors.Join(h.WriteIntents(all)...); err != nil {
				b.Fatal(err)
			}
		}
	})
}
