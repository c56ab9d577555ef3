package event

import (
	"strings"

	"hermes/api"
)

// Row is what events say of one slot.
type Row struct {
	Profile    string `json:"profile,omitempty"`
	Slot       string `json:"slot"`
	Intent     string `json:"intent,omitempty"` // "" before the first
	Generation uint64 `json:"generation,omitempty"`
	State      string `json:"state"`
	Health     string `json:"health"`
}

// NewRow is a slot of which nothing but its making is known: it is down and no
// event says so.
func NewRow(profile, slot string) Row {
	return Row{Profile: profile, Slot: slot, State: "stopped", Health: "unknown"}
}

// Table is what events say of all slots, by slot.
type Table map[string]Row

// Apply adds what an event says. To apply one again changes nothing that later
// ones said after it.
func (t Table) Apply(e *api.Event) {
	if e.Slot == "" {
		return
	}
	row, known := t[e.Slot]
	if !known {
		row = NewRow(e.Profile, e.Slot)
	}
	switch e.Kind {
	case api.EventSlot:
		switch e.To {
		case api.SlotAdded:
			row = NewRow(e.Profile, e.Slot)
		case api.SlotRemoved:
			delete(t, e.Slot)
			return
		case api.SlotRenamed:
			row = t.renamed(e)
		}
	case api.EventIntent:
		row.Intent, row.Generation = e.To, e.Generation
	case api.EventState:
		row.State, row.Health = e.To, e.Health
	case api.EventHealth:
		row.Health = e.To
	default:
		return
	}
	t[e.Slot] = row
}

// renamed takes the row of the old name to the new one.
func (t Table) renamed(e *api.Event) Row {
	old := strings.TrimSuffix(e.Slot, e.Profile) + e.From
	row, known := t[old]
	if !known {
		return NewRow(e.Profile, e.Slot)
	}
	delete(t, old)
	row.Profile, row.Slot = e.Profile, e.Slot
	return row
}
