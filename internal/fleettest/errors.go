package fleettest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/server"
)

func testUnknown(t *testing.T, s suite) {
	const want = "no such gateway 'nobody': register it with `hermes profile create nobody` first, or pass an existing profile name via `-p <name>`"
	only := func(_ any, err error) error { return err }
	silent := func(string) error { return nil }
	for what, err := range map[string]error{
		"Gateway": func() error { _, err := s.Fleet.Gateway(s.ctx, "nobody"); return err }(),
		"Why":     func() error { _, err := s.Fleet.Why(s.ctx, "nobody"); return err }(),
		"Exits":   func() error { _, err := s.Fleet.Exits(s.ctx, "nobody"); return err }(),
		"Config":  func() error { _, err := s.Fleet.Config(s.ctx, "nobody"); return err }(),
		"Log":     s.Fleet.Log(s.ctx, "nobody", 1, false, silent),
		"Start":   only(s.Fleet.Start(s.ctx, "nobody", request())),
		"Stop":    only(s.Fleet.Stop(s.ctx, "nobody", request())),
		"Restart": only(s.Fleet.Restart(s.ctx, "nobody", request())),
		"Delete":  s.Fleet.Delete(s.ctx, "nobody", "suite"),
		"Rename":  only(s.Fleet.Rename(s.ctx, "nobody", "somebody", "suite")),
	} {
		if f := failure(t, what, err, fault.GatewayNotRegistered); f.Msg != want {
			t.Errorf("%s: %s", what, f.Msg)
		}
	}
}

func testMissing(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Missing})
	_, err := s.Fleet.Start(s.ctx, "anna", request())
	f := failure(t, "Start", err, fault.GatewayFailed)
	if !strings.Contains(f.Msg, "gateway-anna") || !strings.Contains(f.Msg, "/no/such/program") || f.Hint == "" {
		t.Errorf("it says %q and hints at %q", f.Msg, f.Hint)
	}
	g := s.until(t, "anna", "has given up", inState(profile.StateParked))
	if g.Intent != "running" || !strings.Contains(g.Reason, "/no/such/program") || g.PID != 0 {
		t.Errorf("it is %+v", g)
	}
	s.configure(t, "anna", Program{})
	s.start(t, "anna")
	if g := s.gateway(t, "anna"); g.Reason != "" {
		t.Errorf("it runs and says %q", g.Reason)
	}
}

func testWrongConfig(t *testing.T, s suite) {
	s.create(t, "anna", Program{}, "no_such_key: 1")
	_, err := s.Fleet.Start(s.ctx, "anna", request())
	f := failure(t, "Start", err, fault.GatewayFailed)
	if !strings.Contains(f.Msg, "no_such_key") || f.Hint == "" {
		t.Errorf("it says %q and hints at %q", f.Msg, f.Hint)
	}
	s.until(t, "anna", "has given up", inState(profile.StateParked))
	_, err = s.Fleet.Config(s.ctx, "anna")
	fails(t, "Config", err, fault.InvalidConfig)
	s.configure(t, "anna", Program{})
	s.start(t, "anna")
}

// testStartTimeout: only the wait ends.
func testStartTimeout(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	r := request()
	r.Timeout = 100 * time.Millisecond
	_, err := s.Fleet.Start(s.ctx, "anna", r)
	fails(t, "Start", err, fault.GatewayTimeout)
	g := s.until(t, "anna", "has a run", func(g api.Gateway) bool { return g.PID != 0 })
	if g.State != "starting" || g.Intent != "running" {
		t.Errorf("it is %+v", g)
	}
	s.World.Notify(t, "anna", "READY=1")
	ready := s.until(t, "anna", "runs", inState(profile.StateRunning))
	if ready.PID != g.PID {
		t.Errorf("another run became ready: %+v", ready)
	}
}

// testStopTimeout: only the wait ends; the grace does what it is for.
func testStopTimeout(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: Deaf})
	s.start(t, "anna")
	s.deaf(t, "anna")
	r := request()
	r.Timeout = 100 * time.Millisecond
	_, err := s.Fleet.Stop(s.ctx, "anna", r)
	fails(t, "Stop", err, fault.GatewayTimeout)
	s.is(t, "anna", profile.StateStopping, profile.Stopped)
	g := s.until(t, "anna", "is stopped", inState(profile.StateStopped))
	if g.LastExit == nil || g.LastExit.Signal != "SIGKILL" {
		t.Errorf("its last exit is %+v", g.LastExit)
	}
	s.dead(t, "anna")
}

// testDenied: a fleet behind the control API is not everybody's.
func testDenied(t *testing.T, s suite) {
	c := s.serve(t, false)
	_, err := c.Fleet(s.ctx)
	fails(t, "Fleet", err, fault.SupervisorDenied)
	_, err = c.Start(s.ctx, "default", api.ActionRequest{})
	fails(t, "Start", err, fault.SupervisorDenied)
	s.is(t, profile.Default, profile.StateStopped, profile.Intent(s.gateway(t, profile.Default).Intent))
	if _, err := s.serve(t, true).Fleet(s.ctx); err != nil {
		t.Errorf("who is allowed: %v", err)
	}
}

// serve has the control API serve the fleet, to everybody or to nobody.
func (s suite) serve(t *testing.T, allowed bool) *client.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(server.Options{
		Listener: ln, Fleet: s.Fleet, Inspector: s.Fleet, Operator: s.Fleet, Profiles: s.Fleet, Events: s.Events,
		Allowed: func(uint32) bool { return allowed }, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); os.RemoveAll(dir) })
	return client.New(socket)
}

// testContext: who does not wait any more gets the context's error, and what
// was begun is no less done.
func testContext(t *testing.T, s suite) {
	s.create(t, "anna", Program{Kind: BuiltIn})
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := s.Fleet.Start(ctx, "anna", request())
		done <- err
	}()
	s.until(t, "anna", "is starting", func(g api.Gateway) bool { return g.State == "starting" && g.PID != 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	s.World.Notify(t, "anna", "READY=1")
	s.until(t, "anna", "runs", inState(profile.StateRunning))
}

// last is a query for the newest events.
func last() event.Query { return event.Query{Newest: true, Limit: 100} }
