package supervisor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/supervisor"
)

// crowd is a runner whose spawns take a second, and which counts how many are
// under way at a time.
type crowd struct {
	*enginetest.Fake
	now *crowdCount
}

type crowdCount struct {
	mu         sync.Mutex // guards all
	here, most int
}

func (c crowd) Spawn(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	c.now.add(1)
	defer c.now.add(-1)
	<-time.After(time.Second)
	return c.Fake.Spawn(ctx, spec)
}

func (c *crowdCount) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.here += n
	c.most = max(c.most, c.here)
}

// take is the most there were since the last time.
func (c *crowdCount) take() (most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, c.most = c.most, c.here
	return most
}

// crowded is a rig of gateways that wait for each other at the gate.
type crowded struct {
	*rig
	names []string
	count crowdCount
}

const crowdParallel = 2

func newCrowded(r *rig, gateways int) *crowded {
	r.options.Settings.StartParallel = crowdParallel
	c := &crowded{rig: r}
	for i := range gateways {
		name := fmt.Sprintf("g%d", i)
		c.names = append(c.names, name)
		r.profile(name)
		r.writeJSON(name, "gateway_state.json", map[string]string{"gateway_state": "running"})
	}
	return c
}

func (c *crowded) begin(request supervisor.BootRequest) {
	c.t.Helper()
	if err := c.open(crowd{c.fake, &c.count}).Boot(c.t.Context(), request); err != nil {
		c.t.Fatal(err)
	}
	c.run()
}

func (c *crowded) each(do func(name string)) {
	for _, name := range c.names {
		do(name)
	}
}

// passed says that by now all run, and have passed the gate.
func (c *crowded) passed(what string) {
	c.t.Helper()
	c.pass(time.Minute)
	if got := c.count.take(); got != crowdParallel {
		c.t.Errorf("%s: %d were started at a time, want %d", what, got, crowdParallel)
	}
	c.each(func(name string) { c.is(name, profile.StateRunning) })
}

// TestEveryStartPassesTheGate, whatever it comes from.
func TestEveryStartPassesTheGate(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		const gateways = 7
		c := newCrowded(r, gateways)
		c.begin(bootRequest())
		c.passed("a migration")
		c.each(func(name string) { r.end(name, 75) })
		c.passed("a restart they asked for")
		c.each(func(name string) { r.end(name, 1) })
		c.passed("a crash of a healthy run")
		c.each(func(name string) { r.end(name, 1) })
		r.pass(gateways * time.Second) // not long enough to be healthy again
		c.each(func(name string) { r.end(name, 1) })
		c.passed("crashes, after their backoff")
		c.each(func(name string) { r.ask(restartIt, name) })
		c.passed("a restart by command")
		c.each(func(name string) { r.must(stopIt, name) })
		c.each(func(name string) { r.ask(startIt, name) })
		c.passed("a start by command")
		if err := r.fleet.All(t.Context(), "restart", profile.Request{By: "tester"}, func(api.ActionResult) {}); err != nil {
			t.Fatal(err)
		}
		c.passed("restart --all")
		r.kill()
		r.fake.Close()
		r.fake = enginetest.NewFake()
		r.options.Keeper += "'"
		c.begin(bootRequest())
		c.passed("a boot")
		r.kill()
		c.each(func(name string) { r.fake.End(slotOf(name), 75) })
		c.begin(supervisor.BootRequest{Returning: true})
		c.passed("the return of the engine")
	})
}
