package server

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"hermes/client"
	"hermes/internal/fault"
)

// TestPipe: a client in the same process is a peer like any other, with the uid
// the kernel tells.
func TestPipe(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		p := NewPipe()
		uid := make(chan uint32, 1)
		rn := serve(t, &backend{}, func(o *Options) {
			o.Listener.Close()
			o.Listener, o.Allowed = p, func(u uint32) bool { uid <- u; return allowed }
		})
		fleet, err := client.Over(p.Dial).Fleet(t.Context())
		switch {
		case allowed && (err != nil || len(fleet.Gateways) != 1):
			t.Errorf("%+v, %v", fleet, err)
		case !allowed && fault.CodeOf(err) != fault.SupervisorDenied:
			t.Errorf("who is not allowed: %v", err)
		}
		if got := <-uid; got != uint32(os.Geteuid()) {
			t.Errorf("the peer is uid %d", got)
		}
		rn.stop()
		rn.wait(t)
		if _, err := p.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPipe().Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("where nobody accepts: %v", err)
	}
}
