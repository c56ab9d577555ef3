package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

const (
	// rescanEvery finds what inotify does not report: changes made from the
	// other side of a network or virtual machine file system.
	rescanEvery = 30 * time.Second
	// debounce gathers the events of one change: mkdir, then its files.
	debounce = 100 * time.Millisecond
	// provenAfter is how long a profile must have been missing before its slot
	// is removed: a restore or a remount looks like a removal for a moment.
	provenAfter = 2 * time.Second
)

// Watch keeps the slots in step with the profiles in the home until ctx ends.
func (f *Fleet) Watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("inotify is not available, profiles are looked for every 30 s and at each command", "error", err)
		f.blind.Store(true)
		w = &fsnotify.Watcher{} // nil channels: never ready
	} else {
		defer w.Close()
	}
	tick := time.NewTicker(rescanEvery)
	defer tick.Stop()
	soon := time.NewTimer(0)
	defer soon.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.Events:
			soon.Reset(debounce)
		case err := <-w.Errors:
			f.log.Warn("inotify", "error", err) // an overflow: look at everything
			soon.Reset(debounce)
		case <-tick.C:
			soon.Reset(0)
		case <-soon.C:
			f.scanMu.Lock()
			err := f.look(ctx)
			if len(f.missing) > 0 {
				soon.Reset(provenAfter)
			}
			unmarked := f.unmarked
			f.scanMu.Unlock()
			if err != nil {
				f.log.Warn("profiles not scanned", "error", err)
			}
			f.watchDirs(w, unmarked)
		}
	}
}

// watchDirs has inotify report changes of profiles/ and of directories in it
// that are no profiles yet: SOUL.md may be about to be written.
func (f *Fleet) watchDirs(w *fsnotify.Watcher, unmarked []string) {
	if f.blind.Load() {
		return
	}
	profiles := filepath.Join(f.home.Path(), "profiles")
	wanted := []string{profiles}
	if _, err := os.Lstat(profiles); err != nil {
		wanted = []string{f.home.Path()} // where profiles/ will appear
	}
	for _, name := range unmarked {
		wanted = append(wanted, filepath.Join(profiles, name))
	}
	watched := map[string]bool{}
	for _, dir := range w.WatchList() {
		watched[dir] = true
	}
	for _, dir := range wanted {
		if watched[dir] {
			delete(watched, dir)
			continue
		}
		if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.log.Warn("not watched, profiles are looked for every 30 s and at each command", "path", dir, "error", err)
			f.blind.Store(true)
		}
	}
	for dir := range watched {
		_ = w.Remove(dir) // it may be gone, and its watch with it
	}
}

// rescan looks at the profiles now.
func (f *Fleet) rescan(ctx context.Context) {
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	if err := f.look(ctx); err != nil {
		f.log.Warn("profiles not scanned", "error", err)
	}
}

// rescanIfBlind looks at the profiles now if inotify would not tell.
func (f *Fleet) rescanIfBlind() {
	if f.blind.Load() {
		f.rescan(f.leave)
	}
}

// look compares the home with the slots and acts on the difference. The caller
// holds scanMu.
func (f *Fleet) look(ctx context.Context) error {
	if f.closing.Load() || ctx.Err() != nil {
		return ctx.Err()
	}
	scan, err := f.home.Scan()
	if err != nil {
		return err
	}
	w := f.observe(scan, nil)
	w.Skipped = f.newlySkipped(scan)
	w.Gone = f.proveGone(scan)
	f.keepIDs(w.Found)
	plan := reconcile.Plan(w)
	if len(plan) > 0 {
		f.assignPorts(w.Found)
		f.carryOut(plan, nil)
	}
	return nil
}

// newlySkipped are the entries not reported before; those that lack only
// their mark are watched.
func (f *Fleet) newlySkipped(scan store.Scan) []reconcile.Skip {
	f.unmarked = nil
	seen := map[string]string{}
	var fresh []reconcile.Skip
	for _, s := range scan.Skipped {
		seen[s.Name] = s.Reason
		if s.Reason == store.Unmarked {
			f.unmarked = append(f.unmarked, s.Name)
			continue
		}
		if f.skipped[s.Name] != s.Reason {
			fresh = append(fresh, reconcile.Skip{Name: s.Name, Reason: s.Reason})
		}
	}
	f.skipped = seen
	return fresh
}

// proveGone lists the slots whose profile was missing twice, two seconds
// apart, in the very directory it was in at boot.
func (f *Fleet) proveGone(scan store.Scan) []profile.Name {
	if f.profilesDir == (store.ID{}) {
		f.profilesDir = scan.Profiles
	}
	if scan.Profiles != f.profilesDir {
		f.missing = nil // another directory, or none: nothing can be concluded
		return nil
	}
	there := map[profile.Name]bool{}
	for _, e := range scan.Entries {
		there[e.Name] = true
	}
	now := time.Now()
	missing := map[profile.Name]time.Time{}
	var gone []profile.Name
	for _, s := range f.slots() {
		if there[s.name] || s.name == profile.Default {
			continue
		}
		if _, err := os.Lstat(f.home.ProfilePath(s.name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		first, ok := f.missing[s.name]
		if !ok {
			first = now
		}
		missing[s.name] = first
		if now.Sub(first) >= provenAfter {
			gone = append(gone, s.name)
			delete(missing, s.name)
		}
	}
	f.missing = missing
	return gone
}

// keepIDs follows a profile that was replaced by another directory of the same
// name.
func (f *Fleet) keepIDs(found []reconcile.Profile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range found {
		if s := f.byName[p.Name]; s != nil {
			s.id = p.ID
		}
	}
}

// assignPorts assigns ports to profiles that have none, and leaves the others'.
func (f *Fleet) assignPorts(found []reconcile.Profile) {
	var claims []port.Claim
	for _, p := range found {
		explicit, _ := f.explicitPort(p.Name)
		recorded := f.port(p.Name)
		if recorded == 0 {
			recorded = p.Last.Port
		}
		claims = append(claims, port.Claim{Name: p.Name, Explicit: explicit, Recorded: recorded})
	}
	f.setPorts(claims)
}
