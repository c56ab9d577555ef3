package server

import (
	"context"
	"errors"
	"testing"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// The Go client and the server understand each other, in success and failure.
func TestGoClient(t *testing.T) {
	b := &backend{sick: true}
	b.act = func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) {
		return api.ActionResult{Gateway: coder("parked")}, fault.New(fault.GatewayFailed, "exit 78").WithHint("hermes why coder")
	}
	b.all = func(_ context.Context, each func(api.ActionResult)) error {
		each(api.ActionResult{Gateway: coder("stopped")})
		return fault.New(fault.Shutdown, "enough")
	}
	rn := serve(t, b, nil)
	c := client.New(rn.socket)
	ctx := t.Context()

	if f, err := c.Fleet(ctx); err != nil || len(f.Gateways) != 1 {
		t.Errorf("fleet: %+v, %v", f, err)
	}
	res, err := c.Start(ctx, "coder", api.ActionRequest{})
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.GatewayFailed || f.Msg != "exit 78" || f.Hint != "hermes why coder" || res.Gateway.State != "parked" {
		t.Errorf("start: %+v, %v", res, err)
	}
	n := 0
	if err = c.All(ctx, "restart", api.ActionRequest{}, func(api.ActionResult) { n++ }); n != 1 || fault.CodeOf(err) != fault.Shutdown {
		t.Errorf("restart --all: %d, %v", n, err)
	}
	if err = c.All(ctx, "start", api.ActionRequest{}, nil); fault.CodeOf(err) != fault.Usage {
		t.Errorf("start --all: %v", err)
	}
	if h, err := c.Ready(ctx); err != nil || h.OK || len(h.Conditions) != 1 {
		t.Errorf("ready: %+v, %v", h, err)
	}
	if l, err := c.ListProfiles(ctx); err != nil || len(l) != 1 {
		t.Errorf("profiles: %v, %v", l, err)
	}
	if p, err := c.RenameProfile(ctx, "coder", "writer"); err != nil || p.Name != "writer" {
		t.Errorf("rename: %v, %v", p, err)
	}
	if err := c.DeleteProfile(ctx, "coder"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := c.Gateway(ctx, ".."); fault.CodeOf(err) != fault.InvalidName {
		t.Errorf("a name that is none: %v", err)
	}
}

// The answer with the fleet says in its header how much of it is down.
func TestFleetSaysHowManyAreDown(t *testing.T) {
	rows := []api.Gateway{
		{Intent: "running", State: "running"},
		{Intent: "running", State: "backoff"},
		{Intent: "stopped", State: "stopped"},
		{Intent: "running", State: "parked"},
	}
	rn := serve(t, &backend{rows: rows}, nil)
	if _, down, err := client.New(rn.socket).FleetJSON(t.Context()); err != nil || down != 2 {
		t.Errorf("%d are down, %v; want 2", down, err)
	}
}
