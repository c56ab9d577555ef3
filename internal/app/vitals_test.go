package app

import (
	"context"
	"errors"
	"testing"
)

// TestWatchedWhileBooting: a boot is no moment to say that gateways are missing,
// or that all is well.
func TestWatchedWhileBooting(t *testing.T) {
	w := watched{booted: make(chan struct{})}
	if h, err := w.Live(t.Context()); err != nil || !h.OK {
		t.Errorf("live: %+v, %v", h, err)
	}
	h, err := w.Ready(t.Context())
	if err != nil || h.OK || len(h.Conditions) != 1 || h.Conditions[0].Code != "fleet_booting" {
		t.Errorf("ready: %+v, %v", h, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Fleet(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("fleet: %v", err)
	}
}
