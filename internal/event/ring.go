package event

import "hermes/api"

// ringPiece is how many events a ring makes room for at a time.
const ringPiece = 256

// ring keeps the newest events, whose ids are consecutive. It grows up to its
// size as they come.
type ring struct {
	size   int
	pieces [][]api.Event
	n      int // how many there are
	first  int // index of the oldest
}

func newRing(size int) ring { return ring{size: size} }

// push adds an event; the one that has to give it its place is shown to gone.
func (r *ring) push(e api.Event, gone func(*api.Event)) {
	if r.n == r.size {
		place := r.slot(r.first)
		gone(place)
		*place = e
		r.first = (r.first + 1) % r.size
		return
	}
	if r.n%ringPiece == 0 {
		r.pieces = append(r.pieces, make([]api.Event, min(ringPiece, r.size-r.n)))
	}
	*r.slot(r.n) = e
	r.n++
}

func (r *ring) slot(i int) *api.Event { return &r.pieces[i/ringPiece][i%ringPiece] }

// oldest is the id of the oldest event, and whether there is one.
func (r *ring) oldest() (uint64, bool) {
	if r.n == 0 {
		return 0, false
	}
	return r.slot(r.first).ID, true
}

// at is the event with an id that is not older than the oldest.
func (r *ring) at(id uint64) *api.Event {
	return r.slot((r.first + int(id-r.slot(r.first).ID)) % r.n)
}
