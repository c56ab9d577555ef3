package app

import (
	"context"

	"hermes/api"
	"hermes/internal/supervisor"
	"hermes/internal/vitals"
)

// watched is the fleet as those see it who watch it. Before its boot is over
// nobody is told that a gateway is missing.
type watched struct {
	fleet  *supervisor.Fleet
	booted <-chan struct{}
}

var _ vitals.Source = watched{}

// Fleet waits for the boot, which takes no time where the engine is another's
// successor.
func (w watched) Fleet(ctx context.Context) (api.Fleet, error) {
	select {
	case <-w.booted:
		return w.fleet.Fleet(ctx)
	case <-ctx.Done():
		return api.Fleet{}, ctx.Err()
	}
}

func (w watched) Live(ctx context.Context) (api.Health, error) { return w.fleet.Live(ctx), nil }

func (w watched) Ready(ctx context.Context) (api.Health, error) {
	select {
	case <-w.booted:
		return w.fleet.Ready(ctx), nil
	default:
		return api.Health{Conditions: []api.Condition{{
			Code: "fleet_booting", Message: "the fleet is booting", Hint: "hermes status",
		}}}, nil
	}
}

// beWatched serves HERMES_HTTP_ADDR, if there is one, until end is called, which
// waits for that.
func (a *app) beWatched(booted <-chan struct{}) (end func()) {
	addr := a.Settings.HTTPAddr
	if addr == "" {
		return func() {}
	}
	server := &vitals.Server{
		Addr: addr, Handler: vitals.NewHandler(watched{a.fleet, booted}), Logger: a.log,
		Report: func(err error) { a.fleet.Unserved(addr, err) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}
