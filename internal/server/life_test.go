package server

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/profile"
)

// The client goes away: the wait ends, the action does not.
func TestClientGoes(t *testing.T) {
	entered, gone, ended := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	slow := func(ctx context.Context, each func(api.ActionResult)) error {
		entered <- struct{}{}
		select {
		case <-gone:
		case <-ctx.Done():
		}
		for range 200 { // more than anybody keeps for a reader that is gone
			each(api.ActionResult{Gateway: coder("stopped")})
		}
		ended <- ctx.Err()
		return ctx.Err()
	}
	rn := serve(t, &backend{
		all: slow,
		act: func(ctx context.Context, _ profile.Name, _ profile.Request) (api.ActionResult, error) {
			return api.ActionResult{}, slow(ctx, func(api.ActionResult) {})
		},
	}, nil)
	for _, path := range []string{"/v1/gateways/coder/stop", "/v1/fleet/stop"} {
		c, err := net.Dial("unix", rn.socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		<-entered
		c.Close()
		eventually(t, "the handler of "+path+" ends", func() bool {
			return strings.Contains(rn.logs.String(), "path="+path+" ")
		})
		select {
		case err := <-ended:
			t.Fatalf("%s: the action ended with its client: %v", path, err)
		case gone <- struct{}{}:
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: the action ended with %v", path, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the action waits for a reader", path)
		}
	}
}

// A client that half-closes counts as gone. It may still read: then no answer is
// right, and one that looks like success is wrong.
func TestClientGoesHalf(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	rn := serve(t, &backend{act: func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) {
		close(entered)
		<-release
		return api.ActionResult{}, nil
	}}, nil)
	defer close(release)
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: rn.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /v1/gateways/coder/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	<-entered
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if strings.Contains(rn.logs.String(), "level=ERROR") {
		t.Errorf("logged %s", rn.logs)
	}
}

// Run ends gracefully: requests in flight are answered, new ones not accepted.
func TestRunDrains(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	rn := serve(t, &backend{act: func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) {
		close(entered)
		<-release
		return api.ActionResult{Gateway: coder("running")}, nil
	}}, nil)
	type answer struct {
		status int
		body   string
	}
	got := make(chan answer, 1)
	go func() {
		status, body := rn.ask(t, "POST", "/v1/gateways/coder/start", "")
		got <- answer{status, body}
	}()
	<-entered
	rn.stop()
	eventually(t, "the listener closes", func() bool {
		c, err := net.Dial("unix", rn.socket)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-rn.done:
		t.Fatalf("Run returned %v with a request in flight", err)
	default:
	}
	close(release)
	if a := <-got; a.status != 200 || !strings.Contains(a.body, "coder") {
		t.Errorf("%d %s", a.status, a.body)
	}
	rn.wait(t)
}

// An action that does not end is ended: Run returns within Drain.
func TestRunEnds(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	rn := serve(t, &backend{act: func(ctx context.Context, _ profile.Name, _ profile.Request) (api.ActionResult, error) {
		close(entered)
		<-ctx.Done()
		<-time.After(50 * time.Millisecond) // it has things to put in order
		ended <- ctx.Err()
		return api.ActionResult{}, ctx.Err()
	}}, func(o *Options) { o.Drain = 20 * time.Millisecond })
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		resp, err := rn.client.Post("http://hermes/v1/gateways/coder/start", "", nil)
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	rn.stop()
	rn.wait(t)
	select {
	case <-ended:
	default:
		t.Error("Run returned before the action")
	}
	<-gone
}

func TestListenerFails(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	b := &backend{}
	s := New(Options{Listener: l, Fleet: b, Operator: b, Profiles: b, Planner: b, Allowed: AllowUIDs(), Logger: discard()})
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot serve the control API") {
		t.Errorf("Run returned %v", err)
	}
}
