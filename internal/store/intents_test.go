package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// fleetOf is a home of n profiles that are wanted stopped, and the intents
// that want them running.
func fleetOf(t *testing.T, n int) (*Home, []IntentWrite) {
	t.Helper()
	h, err := Create(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	var all []IntentWrite
	for i := range n {
		name := profile.Name(fmt.Sprintf("p%03d", i))
		if err := os.MkdirAll(h.ProfilePath(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.ProfilePath(name), soulFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, IntentWrite{Name: name, Record: intentOf(profile.Stopped, 1)})
	}
	for i, err := range h.WriteIntents(all) {
		if err != nil {
			t.Fatal(err)
		}
		all[i].Record = intentOf(profile.Running, 2)
	}
	return h, all
}

func intentOf(want profile.Intent, generation uint64) profile.IntentRecord {
	return profile.IntentRecord{Version: profile.IntentVersion, Intent: want, Generation: generation, ChangedAt: time.Unix(1, 0), ChangedBy: "test"}
}

// onDisk counts the profiles by what their intent's file says, and the
// complete new files beside them.
func onDisk(t *testing.T, h *Home, all []IntentWrite) (stopped, running, ready int) {
	t.Helper()
	for _, w := range all {
		entries, err := os.ReadDir(h.ProfilePath(w.Name))
		if err != nil {
			continue // the profile is gone
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(h.ProfilePath(w.Name), e.Name()))
			rec, parseErr := parseIntent(data)
			switch {
			case err != nil || parseErr != nil: // another file
			case strings.Contains(e.Name(), temporaryMark):
				ready++
			case rec.Intent == profile.Stopped:
				stopped++
			default:
				running++
			}
		}
	}
	return stopped, running, ready
}

// TestIntentsAreWrittenInStep: what the power may be cut between is in order:
// every new file is complete before the first sync, nothing has its name
// before that has ended, and all have it before the second.
func TestIntentsAreWrittenInStep(t *testing.T) {
	const n = 3 * worthOneSync
	h, all := fleetOf(t, n)
	var seen []string
	b := newBatch(h, all, func(h *Home) error {
		seen = append(seen, fmt.Sprint(onDisk(t, h, all)))
		return syncHome(h)
	})
	b.run()
	if err := errors.Join(b.errs...); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprint(n, 0, n), fmt.Sprint(0, n, 0)}
	if strings.Join(seen, "; ") != strings.Join(want, "; ") {
		t.Errorf("stopped, running and new files at each sync: %q, want %q", seen, want)
	}
}

// TestFewIntents wait for their own files alone.
func TestFewIntents(t *testing.T) {
	h, all := fleetOf(t, worthOneSync-1)
	b := newBatch(h, all, func(*Home) error { t.Error("everything is synced"); return nil })
	b.run()
	if err := errors.Join(b.errs...); err != nil {
		t.Fatal(err)
	}
	if _, running, _ := onDisk(t, h, all); running != len(all) {
		t.Errorf("%d of %d are written", running, len(all))
	}
}

// TestIntentsThatMayBeLost: a sync that fails is an error for every intent that
// it was to make durable, and nothing is left behind.
func TestIntentsThatMayBeLost(t *testing.T) {
	for bad, want := range map[int][2]int{1: {worthOneSync, 0}, 2: {0, worthOneSync}} {
		h, all := fleetOf(t, worthOneSync)
		syncs := 0
		b := newBatch(h, all, func(*Home) error {
			if syncs++; syncs == bad {
				return unix.EIO
			}
			return nil
		})
		b.run()
		for i, err := range b.errs {
			if fault.CodeOf(err) != fault.HomeUnusable || !errors.Is(err, unix.EIO) {
				t.Errorf("sync %d fails, and intent %d is acknowledged with %v", bad, i, err)
			}
		}
		if stopped, running, ready := onDisk(t, h, all); stopped != want[0] || running != want[1] || ready != 0 {
			t.Errorf("sync %d fails: %d stopped, %d running, %d new files are left", bad, stopped, running, ready)
		}
	}
}

// TestIntentsOfProfilesThatGo: one that is removed or replaced on the way
// costs the others nothing, and nobody else's directory is written to.
func TestIntentsOfProfilesThatGo(t *testing.T) {
	h, all := fleetOf(t, worthOneSync+2)
	removed, replaced := h.ProfilePath(all[0].Name), h.ProfilePath(all[1].Name)
	change := sync.OnceValue(func() error {
		return errors.Join(os.RemoveAll(removed), os.Rename(replaced, replaced+"-aside"), os.Mkdir(replaced, 0o700),
			os.WriteFile(filepath.Join(replaced, soulFile), nil, 0o600))
	})
	b := newBatch(h, all, func(*Home) error { return change() })
	b.run()
	for i, err := range b.errs {
		if (err != nil) != (i < 2) {
			t.Errorf("intent %d: %v", i, err)
		}
	}
	if _, running, _ := onDisk(t, h, all); running != worthOneSync {
		t.Errorf("%d are written, want %d", running, worthOneSync)
	}
}
