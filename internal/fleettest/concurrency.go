package fleettest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// testOneSlot has commands about one slot come from everywhere. Whatever they
// end with, there is never a second copy, and what is said last holds.
func testOneSlot(t *testing.T, s suite) {
	s.create(t, "anna", Program{})
	type command func(context.Context, profile.Name, profile.Request) (api.ActionResult, error)
	commands := []command{s.Fleet.Start, s.Fleet.Stop, s.Fleet.Restart}
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			for round := range 3 {
				_, err := commands[(i+round)%len(commands)](s.ctx, "anna", request())
				// What another command undid is said; it is no fault of the fleet's.
				if err != nil && fault.CodeOf(err) != fault.GatewayFailed {
					t.Errorf("command %d: %v", i, err)
				}
			}
			if pids := s.World.Alive(t, "anna"); len(pids) > 1 {
				t.Errorf("it lives as %v", pids)
			}
		})
	}
	wg.Wait()
	g := s.start(t, "anna")
	s.alive(t, "anna", g.PID)
	s.is(t, "anna", profile.StateRunning, profile.Running)
	s.stop(t, "anna")
	s.dead(t, "anna")
}

// testManySlots: commands about one slot do not disturb those about another.
func testManySlots(t *testing.T, s suite) {
	const many = 12
	var all []profile.Name
	for i := range many {
		all = append(all, profile.Name(fmt.Sprintf("p%02d", i)))
	}
	each := func(what string, do func(profile.Name) error) {
		t.Helper()
		var wg sync.WaitGroup
		for _, name := range all {
			wg.Go(func() {
				if err := do(name); err != nil {
					t.Errorf("%s(%s): %v", what, name, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	each("Create", func(n profile.Name) error { _, err := s.Fleet.Create(s.ctx, n, "suite"); return err })
	for _, name := range all {
		s.configure(t, name, Program{})
	}
	each("Start", func(n profile.Name) error { _, err := s.Fleet.Start(s.ctx, n, request()); return err })
	for _, name := range all {
		s.alive(t, name, s.is(t, name, profile.StateRunning, profile.Running).PID)
	}
	each("Restart", func(n profile.Name) error { _, err := s.Fleet.Restart(s.ctx, n, request()); return err })
	each("Delete", func(n profile.Name) error { return s.Fleet.Delete(s.ctx, n, "suite") })
	for _, name := range all {
		s.dead(t, name)
		if slices.Contains(s.World.Slots(t), name.Slot()) {
			t.Errorf("the engine still has %s", name.Slot())
		}
	}
}

// testCreateTwice: one of two makes it, the other is told.
func testCreateTwice(t *testing.T, s suite) {
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Fleet.Create(s.ctx, "anna", "suite")
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	if (first == nil) == (second == nil) {
		t.Fatalf("they end with %v and %v", first, second)
	}
	if first == nil {
		first = second
	}
	fails(t, "the other", first, fault.ProfileExists)
	s.configure(t, "anna", Program{})
	s.start(t, "anna")
}
