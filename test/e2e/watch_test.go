package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"hermes/api"
)

// watchedHost is a host whose fleet is told of at an address.
func watchedHost(t *testing.T) (h *host, addr string) {
	t.Helper()
	addr = freeAddr(t)
	return newHost(t, "HERMES_HTTP_ADDR="+addr), addr
}

// freeAddr is an address that was nobody's a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// health is what a path says.
func health(addr, path string) (status int, h api.Health, err error) {
	status, body, err := get("http://"+addr+path, "")
	if err == nil {
		err = json.Unmarshal([]byte(body), &h)
	}
	return status, h, err
}

// series is the value of one line of /metrics; nil: it is not there.
func series(addr, name string) (*float64, error) {
	status, body, err := get("http://"+addr+"/metrics", "")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %d %s", status, body)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return &v, err
		}
	}
	return nil, nil
}

// shows waits until a series has a value.
func (h *homeDir) shows(addr, name string, want float64) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%s is %v", name, want), func() error {
		v, err := series(addr, name)
		switch {
		case err != nil:
			return err
		case v == nil:
			return errors.New("it is not there")
		case *v != want:
			return fmt.Errorf("it is %v", *v)
		}
		return nil
	})
}

// TestWatchedFleet: what is told over HTTP is what is, through a parked gateway,
// a killed engine and the end.
func TestWatchedFleet(t *testing.T) {
	t.Parallel()
	h, addr := watchedHost(t)
	h.probe("anna", "-notify")
	h.probe("carl", "-exit", "78")
	h.start("anna", "carl")
	h.shows(addr, `hermes_gateway_state{profile="carl",state="parked"}`, 1)
	h.shows(addr, `hermes_gateway_state{profile="anna",state="running"}`, 1)
	status, ready, err := health(addr, "/readyz")
	if err != nil || status != http.StatusServiceUnavailable || ready.OK || len(ready.Conditions) != 1 {
		t.Fatalf("/readyz: %d %+v, %v", status, ready, err)
	}
	if c := ready.Conditions[0]; c.Profile != "carl" || c.Code != "gateway_parked" || !strings.Contains(c.Message, "78") || c.Hint != "hermes why carl" {
		t.Errorf("%+v", c)
	}
	if status, live, err := health(addr, "/livez"); err != nil || status != http.StatusOK || !live.OK {
		t.Errorf("/livez: %d %+v, %v", status, live, err)
	}
	h.shows(addr, `hermes_gateway_last_exit_code{profile="carl"}`, 78)
	h.shows(addr, `hermes_gateway_intent_running{profile="default"}`, 0)
	startup, err := series(addr, `hermes_gateway_startup_seconds{profile="anna"}`)
	if err != nil || startup == nil || *startup > patience.Seconds() {
		t.Errorf("anna's start took %v, %v", startup, err)
	}
	began, err := series(addr, `hermes_gateway_start_time_seconds{profile="anna"}`)
	if err != nil || began == nil {
		t.Fatalf("anna began at %v, %v", began, err)
	}
	if memory, err := series(addr, `hermes_gateway_memory_bytes{profile="anna"}`); err != nil || memory == nil || *memory < 1<<20 {
		t.Errorf("anna takes %v, %v", memory, err)
	}
	for n := range 3 {
		h.kill(h.fleet().EnginePID, syscall.SIGKILL)
		h.shows(addr, "hermes_engine_restarts_total", float64(n+1))
		h.shows(addr, `hermes_gateway_start_time_seconds{profile="anna"}`, *began)
	}
	h.kill(h.fleet().EnginePID, syscall.SIGTERM) // as an upgrade does
	h.shows(addr, "hermes_engine_restarts_total", 4)
	h.killKeeper()
	h.shows(addr, "hermes_engine_restarts_total", 5)
	h.shows(addr, `hermes_gateway_start_time_seconds{profile="anna"}`, *began)

	h.configure("carl")
	h.must("gateway", "start", "carl")
	h.eventually("the fleet is ready", func() error {
		status, ready, err := health(addr, "/readyz")
		if err == nil && (status != http.StatusOK || !ready.OK) {
			err = fmt.Errorf("%d %+v", status, ready)
		}
		return err
	})
	h.endSuccessor()
	if _, _, err := health(addr, "/livez"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
}

// TestWatchedOnATakenPort: a port that another process has is told, and costs
// the fleet nothing; it is taken as soon as it is free.
func TestWatchedOnATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	h := newHost(t, "HERMES_HTTP_ADDR="+addr)
	h.probe("anna")
	h.start("anna")
	h.state("anna", "running")
	noticed := func(want bool) func() error {
		return func() error {
			for _, n := range h.fleet().Notices {
				if n.Code != "http_unserved" {
					continue
				}
				if !want || !strings.Contains(n.Message, "HERMES_HTTP_ADDR="+addr) || !strings.Contains(n.Message, "in use") || n.Hint == "" {
					return fmt.Errorf("%+v", n)
				}
				return nil
			}
			if want {
				return errors.New("no notice")
			}
			return nil
		}
	}
	h.eventually("it is noticed", noticed(true))
	if _, stderr, code := h.run("status"); code != 0 || !strings.Contains(stderr, addr) {
		t.Errorf("status: exit %d, %s", code, stderr)
	}
	engine := h.fleet().EnginePID
	l.Close()
	h.shows(addr, "hermes_up", 1)
	h.eventually("the notice is gone", noticed(false))
	if now := h.fleet().EnginePID; now != engine {
		t.Errorf("the engine was pid %d and is %d", engine, now)
	}
}

// TestWatchedByTooMany: hundreds who connect and say nothing take a bounded part
// of the engine, and keep neither probes nor commands nor the next engine out.
func TestWatchedByTooMany(t *testing.T) {
	t.Parallel()
	h, addr := watchedHost(t)
	h.probe("anna")
	h.start("anna")
	h.state("anna", "running")
	engine := h.fleet().EnginePID
	before := h.usage(engine)
	for range 400 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	h.shows(addr, "hermes_up", 1)
	// 64 connections, and what a command and a probe open meanwhile.
	if now := h.usage(engine); now.descriptors > before.descriptors+64+8 || now.pss > before.pss+16<<20 {
		t.Errorf("before: %s; now: %s", before, now)
	}
	if status, live, err := health(addr, "/livez"); err != nil || status != http.StatusOK || !live.OK {
		t.Errorf("/livez: %d %+v, %v", status, live, err)
	}
	h.must("gateway", "restart", "anna")
	h.kill(engine, syscall.SIGTERM)
	h.shows(addr, "hermes_engine_restarts_total", 1)
	h.state("anna", "running")
}

// TestWrongHTTPAddr is told by its name, before anything is started.
func TestWrongHTTPAddr(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HERMES_HTTP_ADDR=localhost")
	if _, stderr, code := h.run("up"); code != 1 || !strings.Contains(stderr, "HERMES_HTTP_ADDR") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
