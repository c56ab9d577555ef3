package keeper

import (
	"testing"

	"hermes/internal/wire"
)

// landed is a run whose fork has ended.
func landed(slot string, change func(r *run)) *run {
	r := &run{runKey: runKey{slot, 1}, spec: new(wire.Spec), pid: 7, log: -1, notify: -1, lock: -1}
	if change != nil {
		change(r)
	}
	return r
}

// What the keeper started for itself, and what nobody waited for, are no runs to
// an engine: a successor reaps them like any orphan.
func TestASuccessorIsLeftRunsAlone(t *testing.T) {
	k := &keeper{runs: make(map[runKey]*run)}
	for _, r := range []*run{
		landed("a", nil),
		landed("ended", func(r *run) { r.exit = &wire.Exit{Code: 3} }),
		landed("void", func(r *run) { r.void = true }),
		landed("forked", func(r *run) { r.pid = 0 }),
		landed(errandSlot, func(r *run) { r.ended = make(chan struct{}) }),
	} {
		k.runs[r.runKey] = r
	}
	left := map[string]bool{}
	for _, r := range k.estateLocked().Runs {
		left[r.Slot] = true
	}
	if len(left) != 2 || !left["a"] || !left["ended"] {
		t.Errorf("left are %v, want a and ended", left)
	}
}

// A helper that has yet to signal somebody would be lost with the process that
// was about to fork it.
func TestARenewalWaitsForHelpers(t *testing.T) {
	k := &keeper{runs: make(map[runKey]*run), flights: make(map[int]uint64)}
	a, helper := landed("a", nil), landed(errandSlot, func(r *run) { r.ended, r.pid = make(chan struct{}), 0 })
	k.runs[a.runKey] = a
	if !k.quietLocked() {
		t.Error("a run that lives is in the way")
	}
	k.runs[helper.runKey] = helper
	if k.quietLocked() {
		t.Error("a helper that is yet to be forked is not waited for")
	}
	helper.pid = 8
	k.flights[1] = 1
	if k.quietLocked() {
		t.Error("a fork in flight is not waited for")
	}
}
