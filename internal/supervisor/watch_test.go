package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/internal/engine/enginetest"
)

// watching is a rig, outside of a bubble, whose fleet watches the profiles.
func watching(t *testing.T, prepare func(r *rig)) *rig {
	t.Helper()
	r := withPipes(t)
	prepare(r)
	r.boot()
	r.watch()
	return r
}

// watch watches the profiles until the test ends.
func (r *rig) watch() {
	t := r.t
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	fleet := r.fleet
	go func() { watched <- fleet.Watch(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		cancel()
		if err := <-watched; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

// within fails the test if what is awaited takes longer.
func (r *rig) within(d time.Duration, what string, met func() bool) {
	r.t.Helper()
	began := time.Now()
	r.until(what, met)
	if took := time.Since(began); took > d {
		r.t.Errorf("it took %v until %s", took, what)
	}
}

func (r *rig) untilFleet(want string) {
	r.t.Helper()
	r.within(3*time.Second, "the fleet is "+want, func() bool { return r.rows() == want })
}

// TestProfilesMadeByHand get their slots by themselves, however slowly they
// are made.
func TestProfilesMadeByHand(t *testing.T) {
	r := watching(t, func(*rig) {})
	r.profile("anna")
	r.untilFleet("anna stopped")
	if err := os.Mkdir(r.path("bert"), 0o755); err != nil {
		t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond) // it is seen to be no profile
	r.profile("bert")
	r.untilFleet("anna stopped, bert stopped")
	r.move("anna", "zoe")
	r.untilFleet("bert stopped, zoe stopped")
	if err := os.RemoveAll(r.path("bert")); err != nil {
		t.Fatal(err)
	}
	r.within(5*time.Second, "its removal is proven", func() bool { return r.rows() == "zoe stopped" })
}

// TestProfileMadeBeforeTheWatch gets its slot as soon as others do.
func TestProfileMadeBeforeTheWatch(t *testing.T) {
	r := withPipes(t)
	r.boot()
	r.profile("anna")
	r.watch()
	r.within(time.Second, "it has a slot", func() bool { return r.rows() == "anna stopped" })
}

// TestProfilesDirectoryThatAppears: the home is watched until there is one,
// and what gateways write there holds nothing up.
func TestProfilesDirectoryThatAppears(t *testing.T) {
	r := watching(t, func(r *rig) { os.Remove(filepath.Join(r.dir, "profiles")) })
	busy, quiet := make(chan struct{}), make(chan struct{})
	go func() { // ends below
		defer close(quiet)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-busy:
				return
			case <-tick.C:
				_ = os.WriteFile(filepath.Join(r.dir, "gateway_state.json"), nil, 0o644)
			}
		}
	}()
	<-time.After(50 * time.Millisecond)
	r.profile("anna")
	r.untilFleet("anna stopped")
	close(busy)
	<-quiet
}

// TestSteadyStreamOfEvents does not put a look off.
func TestSteadyStreamOfEvents(t *testing.T) {
	r := watching(t, func(r *rig) { os.Mkdir(r.path("unmarked"), 0o755) })
	<-time.After(200 * time.Millisecond)
	stopped := make(chan struct{})
	done := make(chan struct{})
	go func() { // ends below
		defer close(done)
		for {
			select {
			case <-stopped:
				return
			case <-time.After(10 * time.Millisecond):
				_ = os.WriteFile(r.path("unmarked", "file"), nil, 0o644)
			}
		}
	}()
	r.profile("anna")
	r.untilFleet("anna stopped")
	close(stopped)
	<-done
}

// TestSkippedEntriesAreReportedOnce.
func TestSkippedEntriesAreReportedOnce(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		log := r.logTo()
		r.boot()
		r.profile("Upper")
		if err := os.Symlink("/etc", r.path("link")); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r.look()
		}
		for _, entry := range []string{"Upper", "link"} {
			if n := strings.Count(log.String(), "entry="+entry); n != 1 {
				t.Errorf("%s was reported %d times:\n%s", entry, n, log)
			}
		}
		r.fleetIs("")
	})
}

// TestStatusWaitsForNoLook: while a gateway is stopped for a look, a fleet that
// inotify does not serve still says how it is.
func TestStatusWaitsForNoLook(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna")
		r.fleet.MakeBlind()
		r.move("anna", "zoe")
		looked := make(chan struct{})
		go func() { defer close(looked); r.look() }() // awaited below
		r.settle()
		began := time.Now()
		r.fleetIs("anna stopping")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		<-looked
		r.fleetIs("zoe running")
		r.profile("bert")
		r.fleetIs("bert stopped, zoe running") // it looks itself when nobody does
		if all, err := r.fleet.List(t.Context()); err != nil || len(all) != 3 {
			t.Errorf("list %+v, %v", all, err)
		}
	})
}
