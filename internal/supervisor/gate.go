package supervisor

import (
	"sync"
	"time"
)

// gateHold is the longest a start keeps its token: one that hangs must not
// keep the rest of the fleet down.
const gateHold = 2 * time.Second

// gate admits a bounded number of starts at a time, in the order they came. A
// token is given back when the gateway is ready, when it is up and cannot say
// when it is ready, or after gateHold. Who waits costs no goroutine.
type gate struct {
	mu    sync.Mutex // guards what follows, and every ticket's state
	free  int        // tokens
	queue []*ticket  // those that wait, and some that left while they did
}

func newGate(parallel int) *gate { return &gate{free: max(parallel, 1)} }

// ticket is one start's place in the queue or, once admitted, its token.
type ticket struct {
	gate     *gate
	admitted func()
	state    ticketState
	expiry   *time.Timer // of the token
}

type ticketState uint8

const (
	waiting ticketState = iota
	holding
	left // the place or the token was given up, or the token has expired
)

// enter queues for a token and calls admitted once it is there, from any
// goroutine, unless leave came first. It does not block, nor may admitted.
func (g *gate) enter(admitted func()) *ticket {
	t := &ticket{gate: g, admitted: admitted}
	g.mu.Lock()
	g.queue = append(g.queue, t)
	g.mu.Unlock()
	g.admit()
	return t
}

// admit hands out the tokens there are.
func (g *gate) admit() {
	for t := g.next(); t != nil; t = g.next() {
		t.admitted()
	}
}

// next gives a token to the first that waits; nil if there is none of either.
func (g *gate) next() *ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.free > 0 && len(g.queue) > 0 {
		t := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		if t.state == waiting {
			g.free--
			t.state = holding
			t.expiry = time.AfterFunc(gateHold, t.leave)
			return t
		}
	}
	return nil
}

// crowded says whether starts wait for others.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue) > 0
}

// leave gives up the place or the token. It may be called twice.
func (t *ticket) leave() {
	g := t.gate
	g.mu.Lock()
	held := t.state == holding
	t.state = left
	if held {
		t.expiry.Stop()
		g.free++
	}
	g.mu.Unlock()
	if held {
		g.admit()
	}
}
