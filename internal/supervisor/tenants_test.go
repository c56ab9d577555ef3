package supervisor

import (
	"testing"

	"hermes/internal/engine"
	"hermes/internal/reconcile"
)

func TestTenants(t *testing.T) {
	all := newTenants()
	anna, bert := &run{Run: engine.Run{Slot: "gateway-anna"}}, &run{Run: engine.Run{Slot: "gateway-bert"}}
	here, there := reconcile.ID{Ino: 1}, reconcile.ID{Ino: 2}
	for _, step := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"enter", all.enter(here, anna), true},
		{"enter again", all.enter(here, anna), true},
		{"another in the same", all.enter(here, bert), false},
		{"another elsewhere", all.enter(there, bert), true},
	} {
		if (step.err == nil) != step.ok {
			t.Errorf("%s: %v", step.name, step.err)
		}
	}
	all.leave(bert)
	all.leave(bert)
	all.leave(&run{}) // never entered any
	if err := all.enter(here, bert); err == nil {
		t.Error("who leaves another directory freed this one")
	}
	all.leave(anna)
	if err := all.enter(here, bert); err != nil {
		t.Error(err)
	}
}
