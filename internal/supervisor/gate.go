package supervisor

import (
	"context"
	"sync"
	"time"
)

// gateHold is the longest a start keeps its token: one that hangs must not
// keep the rest of the fleet down.
const gateHold = 2 * time.Second

// gate admits a bounded number of starts at a time. A token is given back when
// the gateway is ready, when it is up and cannot say when it is ready, or
// after gateHold.
type gate struct {
	tokens chan struct{}
}

func newGate(parallel int) *gate {
	return &gate{tokens: make(chan struct{}, max(parallel, 1))}
}

// ticket is one start's place in the queue or, once admitted, its token.
type ticket struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	free   func() // nil while waiting
	left   bool
}

// enter queues for a token and calls admitted once it is there, unless leave
// came first. It does not block.
func (g *gate) enter(wg *sync.WaitGroup, admitted func()) *ticket {
	ctx, cancel := context.WithCancel(context.Background())
	t := &ticket{cancel: cancel}
	wg.Go(func() {
		select {
		case g.tokens <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if t.take(g) {
			admitted()
		}
	})
	return t
}

// take makes the token the ticket's; false if it was left meanwhile.
func (t *ticket) take(g *gate) bool {
	free := sync.OnceFunc(func() { <-g.tokens })
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left {
		free()
		return false
	}
	expiry := time.AfterFunc(gateHold, free)
	t.free = func() { expiry.Stop(); free() }
	return true
}

// leave gives up the place or the token. It may be called twice.
func (t *ticket) leave() {
	t.cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	if t.free != nil {
		t.free()
		t.free = nil
	}
}
