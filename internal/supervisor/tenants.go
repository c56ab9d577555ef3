package supervisor

import (
	"fmt"
	"sync"

	"hermes/internal/reconcile"
)

// tenants knows which run lives in which profile's directory, whatever the
// directory is called by now: people move and exchange profiles under the
// gateways, and two in one directory would share its files.
type tenants struct {
	mu   sync.Mutex // guards what follows and every run's home
	runs map[reconcile.ID]*run
}

func newTenants() *tenants { return &tenants{runs: map[reconcile.ID]*run{}} }

// enter makes r the one that lives in a directory. The error names who does
// already.
func (t *tenants) enter(id reconcile.ID, r *run) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.runs[id]; other != nil && other != r {
		return fmt.Errorf("%s still runs in this directory, which had its name", other.Slot)
	}
	r.home, t.runs[id] = id, r
	return nil
}

// leave is the end of r, or of the attempt to start it.
func (t *tenants) leave(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.runs[r.home] == r {
		delete(t.runs, r.home)
	}
}
