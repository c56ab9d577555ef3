package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"hermes/api"
	"hermes/client"
)

// TestNothingLeaks: after a thousand starts and stops and some hundred requests
// of every kind, keeper and engine have the descriptors, threads and memory
// that they had before. A goroutine left behind by each would be megabytes.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const gateways, requests = 20, 200
	cycles := 1000
	if long() {
		cycles *= 10
	}
	h := newHost(t, "GOGC=20") // little garbage, so that what stays is what is kept
	var names []string
	for i := range gateways {
		name := fmt.Sprintf("leak-%d", i)
		h.profile(name)
		h.write(name, "config.yaml", "gateway:\n  command: [sleep, infinity]\n")
		names = append(names, name)
	}
	h.start()
	fleet := h.fleet()
	h.cycle(names, 600) // a runtime keeps what it ever needed
	h.ask(names, requests)
	keeper, engine := h.settled(fleet.KeeperPID), h.settled(fleet.EnginePID)

	h.cycle(names, cycles)
	h.ask(names, requests)
	h.atRest("the keeper", func() int { return fleet.KeeperPID }, keeper, keeperGrowth())
	h.atRest("the engine", func() int { return fleet.EnginePID }, engine, growth{threads: 16, pss: 3 << 20})
	if now := h.fleet(); now.EnginePID != fleet.EnginePID {
		t.Errorf("engine %d became %d", fleet.EnginePID, now.EnginePID)
	}
	h.noZombies(fleet.KeeperPID)
	h.eventually("no process without a slot", func() error { return h.only(nil) })
}

// cycle starts and stops gateways that many times in all, several at once.
func (h *host) cycle(names []string, times int) {
	h.t.Helper()
	c := h.api()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			for range times / len(names) {
				for _, act := range []func(context.Context, string, api.ActionRequest) (api.ActionResult, error){c.Start, c.Stop} {
					if _, err := act(h.t.Context(), name, api.ActionRequest{}); err != nil {
						h.t.Errorf("%s: %v", name, err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// ask makes requests of every kind that only reads, and one that fails.
func (h *host) ask(names []string, times int) {
	h.t.Helper()
	c, ctx := h.api(), h.t.Context()
	kinds := []func(*client.Client, string) error{
		func(c *client.Client, _ string) error { _, err := c.Fleet(ctx); return err },
		func(c *client.Client, name string) error { _, err := c.Gateway(ctx, name); return err },
		func(c *client.Client, name string) error { _, err := c.Why(ctx, name); return err },
		func(c *client.Client, _ string) error { _, err := c.ListProfiles(ctx); return err },
		func(c *client.Client, _ string) error { _, err := c.Plan(ctx); return err },
		func(c *client.Client, _ string) error { _, err := c.Live(ctx); return err },
		func(c *client.Client, _ string) error { _, err := c.Ready(ctx); return err },
		func(c *client.Client, _ string) error {
			if _, err := c.Gateway(ctx, "nobody"); !coded(err) {
				return fmt.Errorf("a failure without a code: %w", err)
			}
			return nil
		},
	}
	for i := range times {
		if err := kinds[i%len(kinds)](c, names[i%len(names)]); err != nil {
			h.t.Fatal(err)
		}
	}
}
