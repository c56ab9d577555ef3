package supervisor

import (
	"sync"
	"time"

	"hermes/internal/profile"
	"hermes/internal/store"
)

// gatherFor is how long an action on the fleet waits for the slots that are
// busy before it writes the intents of the others.
const gatherFor = 50 * time.Millisecond

// together gathers the intents that one action sets on many slots, so that they
// are written with one sync. Each of the slots it was made for calls write or
// pass once. Who comes late, or again, is served alone.
type together struct {
	write func([]store.IntentWrite) []error
	late  *time.Timer

	mu      sync.Mutex // guards what follows
	coming  int        // slots that have called neither
	waiting []gathered
}

// gathered is an intent to be written, and where its writer waits.
type gathered struct {
	store.IntentWrite
	done chan error // of capacity 1
}

func newTogether(slots int, write func([]store.IntentWrite) []error) *together {
	t := &together{write: write, coming: slots}
	t.late = time.AfterFunc(gatherFor, func() { t.arrived(slots, nil) })
	return t
}

// stop is called when no slot is coming any more.
func (t *together) stop() { t.late.Stop() }

// pass says that the slot has nothing to write.
func (t *together) pass() { t.arrived(1, nil) }

// put writes an intent with those of the others. It is on disk if that is nil.
func (t *together) put(name profile.Name, rec profile.IntentRecord) error {
	done := make(chan error, 1)
	t.arrived(1, &gathered{store.IntentWrite{Name: name, Record: rec}, done})
	return <-done
}

// arrived counts slots; the last one writes for all.
func (t *together) arrived(slots int, g *gathered) {
	t.mu.Lock()
	t.coming -= slots
	if g != nil {
		t.waiting = append(t.waiting, *g)
	}
	var all []gathered
	if t.coming <= 0 {
		all, t.waiting = t.waiting, nil
	}
	t.mu.Unlock()
	if len(all) == 0 {
		return
	}
	writes := make([]store.IntentWrite, len(all))
	for i, g := range all {
		writes[i] = g.IntentWrite
	}
	for i, err := range t.write(writes) {
		all[i].done <- err
	}
}
