package stray

import (
	"slices"

	"hermes/internal/process"
)

// Find reports every process that carries the mark of one of the request's
// slots, of whatever run, and then that it is done; with a lineage, only that
// one's. It ends nothing. It returns the uids of processes that may carry one
// too but do not let the caller see: their own uid can tell.
func Find(r Request, report func(Report)) (hidden []uint32) {
	var s sweep
	for _, pid := range process.All() {
		value, readable := s.mark(pid)
		if value == "" && readable {
			continue
		}
		p, alive := Look(pid)
		switch m, ok := ParseMark(value); {
		case !alive:
		case !readable:
			hidden = append(hidden, p.UID)
		case ok && slices.Contains(r.Slots, m.Slot) && (r.Lineage == "" || r.Lineage == m.Lineage):
			report(Report{Process: p, Slot: m.Slot, Mark: value})
		}
	}
	report(Report{Done: true})
	slices.Sort(hidden)
	return slices.Compact(hidden)
}
