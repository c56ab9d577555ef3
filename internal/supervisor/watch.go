package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

const (
	// rescanEvery finds what inotify does not report, where it is not to be had
	// or others change the home behind this kernel's back.
	rescanEvery = 30 * time.Second
	// debounce gathers the events of one change: mkdir, then its files.
	debounce = 100 * time.Millisecond
	// firstLook is how soon after a boot the profiles are looked at again, for
	// what changed before inotify was asked. The boot itself comes first.
	firstLook = 500 * time.Millisecond
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
	var rounds <-chan time.Time // nil while inotify tells all: an idle fleet wakes nobody
	next := newAlarm(firstLook)
	defer next.t.Stop()
	f.watchDirs(w, f.unmarkedNow())
	remote := f.home.Remote()
	for {
		if rounds == nil && (remote || f.blind.Load()) {
			tick := time.NewTicker(rescanEvery)
			defer tick.Stop()
			rounds = tick.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-w.Events:
			if f.concerns(e.Name) {
				next.within(debounce)
			}
		case err := <-w.Errors:
			f.log.Warn("inotify", "error", err) // an overflow: look at everything
			next.within(debounce)
		case <-rounds:
			next.within(0)
		case <-next.t.C:
			next.at = time.Time{}
			unmarked, missing := f.rescan(ctx)
			if missing {
				next.within(provenAfter)
			}
			if f.watchDirs(w, unmarked) {
				next.within(debounce) // for what changed before it was watched
			}
		}
	}
}

// unmarkedNow lists the directories in profiles/ that are no profiles yet.
func (f *Fleet) unmarkedNow() []string {
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	return f.unmarked
}

// alarm is a timer that is only ever set to ring earlier: a steady stream of
// events must not put it off.
type alarm struct {
	t  *time.Timer
	at time.Time // zero: not set
}

func newAlarm(d time.Duration) alarm { return alarm{t: time.NewTimer(d), at: time.Now().Add(d)} }

func (a *alarm) within(d time.Duration) {
	at := time.Now().Add(d)
	if a.at.IsZero() || at.Before(a.at) {
		a.at = at
		a.t.Reset(d)
	}
}

// concerns says whether an event may be about a profile. While there is no
// profiles/ the home is watched, where gateways write what they like.
func (f *Fleet) concerns(path string) bool {
	return filepath.Dir(path) != f.home.Path() || path == f.profilesPath()
}

func (f *Fleet) profilesPath() string { return filepath.Join(f.home.Path(), "profiles") }

// watchDirs has inotify report changes of profiles/ and of directories in it
// that are no profiles yet: SOUL.md may be about to be written. It is true if
// one of them was not watched before.
func (f *Fleet) watchDirs(w *fsnotify.Watcher, unmarked []string) (added bool) {
	if f.blind.Load() {
		return false
	}
	profiles := f.profilesPath()
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
		err := w.Add(dir)
		added = added || err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.log.Warn("not watched, profiles are looked for every 30 s and at each command", "path", dir, "error", err)
			f.blind.Store(true)
		}
	}
	for dir := range watched {
		_ = w.Remove(dir) // it may be gone, and its watch with it
	}
	return added
}

// rescan looks at the profiles now, and returns which directories are to be
// watched and whether one is missing.
func (f *Fleet) rescan(ctx context.Context) (unmarked []string, missing bool) {
	f.scanMu.Lock()
	defer f.scanMu.Unlock()
	f.rescanLocked(ctx)
	return f.unmarked, len(f.missing) > 0
}

// rescanIfBlind looks at the profiles now if inotify would not tell and nobody
// is looking: who only asks how things are does not wait for a gateway to stop.
func (f *Fleet) rescanIfBlind() {
	if f.blind.Load() && f.scanMu.TryLock() {
		defer f.scanMu.Unlock()
		f.rescanLocked(f.leave)
	}
}

func (f *Fleet) rescanLocked(ctx context.Context) {
	err := f.look(ctx)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		f.notices.clear(profilesUnscanned, "")
	case f.notices.set(profilesUnscanned, "", err):
		f.log.Warn("profiles not scanned", "error", err)
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
	f.retireMoved(ctx, scan)
	w, claims := f.observe(scan, nil)
	w.Skipped = f.newlySkipped(scan)
	w.Gone = f.proveGone(scan)
	f.keepIDs(w.Found)
	plan := reconcile.Plan(w)
	if len(plan) > 0 {
		f.assignPorts(w.Found, claims)
		f.carryOut(ctx, plan, nil)
	}
	return nil
}

// retireMoved removes the slots whose directory has another name while their
// own name is another directory's: the run works in what is now somebody
// else's home. All at once: while one stops, another would start in its
// directory. The names are then registered as they are.
func (f *Fleet) retireMoved(ctx context.Context, scan store.Scan) {
	names := map[reconcile.ID]profile.Name{}
	ids := map[profile.Name]reconcile.ID{}
	for _, e := range scan.Entries {
		names[reconcile.ID(e.ID)] = e.Name
		ids[e.Name] = reconcile.ID(e.ID)
	}
	var moved []profile.Name
	f.mu.Lock()
	for _, s := range f.byName {
		id, taken := ids[s.name]
		if to, known := names[s.id]; taken && known && id != s.id && to != s.name {
			moved = append(moved, s.name)
		}
	}
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, name := range moved {
		wg.Go(func() { f.retire(ctx, name, "", "its directory has another name") })
	}
	wg.Wait()
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
