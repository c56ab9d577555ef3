package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/testkit"
)

func printFault(err error) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		f = &fault.Error{Msg: fmt.Sprint(err)}
	}
	fmt.Printf("%s|%s|%s\n", f.Code, f.Msg, f.Hint)
}

// faultOf is err as a person gets to see it.
func faultOf(t *testing.T, err error, code fault.Code) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != code {
		t.Fatalf("got %v (%s), want the code %s", err, fault.CodeOf(err), code)
	}
	if f.Hint == "" {
		t.Errorf("%v has no hint", f)
	}
	return f
}

// Every method asks its route, and reads its answer.
func TestMethods(t *testing.T) {
	var asked string
	socket := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.EscapedPath() + " " + string(b)
		fmt.Fprint(w, `{"engine":"native","slot":"dashboard","profile":"coder","next":"n","gateway":{"profile":"coder"},"ok":true,"name":"coder",
			"lines":["a","b"],"profiles":[{"name":"coder"}],"future":{}}`)
	})
	c := New(socket)
	c.By = "cli"
	ctx := t.Context()
	tests := []struct {
		call func() (any, error)
		want string // asked
		got  any
	}{
		{func() (any, error) { return c.Fleet(ctx) }, "GET /v1/fleet ", nil},
		{func() (any, error) { g, err := c.Gateway(ctx, "coder"); return g.Profile, err }, "GET /v1/gateways/coder ", "coder"},
		{func() (any, error) { g, err := c.Gateway(ctx, "../fleet"); return g.Profile, err }, "GET /v1/gateways/%2E%2E%2Ffleet ", "coder"},
		{func() (any, error) { g, err := c.Why(ctx, "coder"); return g.Next, err }, "GET /v1/gateways/coder/why ", "n"},
		{func() (any, error) {
			r, err := c.Start(ctx, "coder", api.ActionRequest{NoWait: true, TimeoutMS: 7})
			return r.Gateway.Profile, err
		}, `POST /v1/gateways/coder/start {"no_wait":true,"timeout_ms":7,"by":"cli"}`, "coder"},
		{func() (any, error) {
			r, err := c.Stop(ctx, "coder", api.ActionRequest{By: "me"})
			return r.Gateway.Profile, err
		}, `POST /v1/gateways/coder/stop {"by":"me"}`, "coder"},
		{func() (any, error) {
			r, err := c.Restart(ctx, "coder", api.ActionRequest{})
			return r.Gateway.Profile, err
		}, `POST /v1/gateways/coder/restart {"by":"cli"}`, "coder"},
		{func() (any, error) { d, err := c.RestartDashboard(ctx, api.ActionRequest{}); return d.Slot, err }, `POST /v1/dashboard/restart {"by":"cli"}`, "dashboard"},
		{func() (any, error) {
			n := 0
			err := c.All(ctx, "stop", api.ActionRequest{}, func(api.ActionResult) { n++ })
			return n, err
		}, `POST /v1/fleet/stop {"by":"cli"}`, 1},
		{func() (any, error) { l, err := c.ListProfiles(ctx); return l[0].Name, err }, "GET /v1/profiles ", "coder"},
		{func() (any, error) { p, err := c.CreateProfile(ctx, "coder"); return p.Name, err }, `POST /v1/profiles {"name":"coder","by":"cli"}`, "coder"},
		{func() (any, error) { return nil, c.DeleteProfile(ctx, "coder") }, `DELETE /v1/profiles/coder {"by":"cli"}`, nil},
		{func() (any, error) { p, err := c.RenameProfile(ctx, "coder", "b"); return p.Name, err }, `POST /v1/profiles/coder/rename {"to":"b","by":"cli"}`, "coder"},
		{func() (any, error) { p, err := c.Plan(ctx); return strings.Join(p, " "), err }, "GET /v1/plan ", "a b"},
		{func() (any, error) { h, err := c.Live(ctx); return h.OK, err }, "GET /v1/health/live ", true},
		{func() (any, error) { h, err := c.Ready(ctx); return h.OK, err }, "GET /v1/health/ready ", true},
	}
	for _, tt := range tests {
		got, err := tt.call()
		if err != nil {
			t.Errorf("%s: %v", tt.want, err)
		}
		if asked != tt.want {
			t.Errorf("asked %s, want %s", asked, tt.want)
		}
		if tt.got != nil && got != tt.got {
			t.Errorf("%s: got %v, want %v", tt.want, got, tt.got)
		}
	}
}

func TestServersErrors(t *testing.T) {
	answer := func(status int, v any) *Client {
		b, _ := json.Marshal(v)
		return New(serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write(b) }))
	}
	e := &api.Error{Code: "port_taken", Message: "m", Hint: "h"}

	_, err := answer(409, e).Fleet(t.Context())
	if f := faultOf(t, err, fault.PortTaken); f.Msg != "m" || f.Hint != "h" {
		t.Errorf("got %+v", f)
	}
	if back, ok := errors.AsType[*api.Error](err); !ok || *back != *e {
		t.Errorf("the error of the wire is gone: %v", err)
	}

	res, err := answer(409, api.ActionResult{Gateway: api.Gateway{Profile: "coder", State: "parked"}, Error: e}).
		Start(t.Context(), "coder", api.ActionRequest{})
	faultOf(t, err, fault.PortTaken)
	if res.Gateway.State != "parked" || res.Error == nil {
		t.Errorf("result %+v", res)
	}
	_, err = answer(403, &api.Error{Code: "supervisor_denied", Message: "m", Hint: "h"}).Stop(t.Context(), "coder", api.ActionRequest{})
	faultOf(t, err, fault.SupervisorDenied)
	err = answer(400, &api.Error{Code: "usage", Message: "m", Hint: "h"}).All(t.Context(), "start", api.ActionRequest{}, nil)
	faultOf(t, err, fault.Usage)

	h, err := answer(503, api.Health{Conditions: []api.Condition{{Code: "parked"}}}).Ready(t.Context())
	if err != nil || h.OK || len(h.Conditions) != 1 {
		t.Errorf("ready: %+v, %v", h, err)
	}
	_, err = answer(503, &api.Error{Code: "shutting_down", Message: "m", Hint: "h"}).Live(t.Context())
	faultOf(t, err, fault.Shutdown)

	for _, status := range []int{307, 404, 500, 503} {
		if _, err = answer(status, "no object").Plan(t.Context()); fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err = answer(200, "no object").Fleet(t.Context()); fault.CodeOf(err) != fault.Internal {
		t.Errorf("got %v", err)
	}
}

func TestNoSupervisor(t *testing.T) {
	home := t.TempDir()
	_, err := Find(home)
	if !IsNoSupervisor(err) {
		t.Fatalf("got %v", err)
	}
	faultOf(t, err, fault.NoSupervisor)

	// A record without a lock is what a killed supervisor leaves.
	home, l := hold(t, "/nowhere/control.sock")
	c := find(t, home)
	l.Close()
	if _, err = Find(home); !IsNoSupervisor(err) {
		t.Errorf("found %v", err)
	}
	if _, err = c.Fleet(t.Context()); !IsNoSupervisor(err) {
		t.Errorf("a client from before its end says %v", err)
	}
	if IsNoSupervisor(nil) {
		t.Error("no error is no supervisor")
	}
}

// The lease is held and nobody answers: that is never "no supervisor".
func TestHeldButSilent(t *testing.T) {
	dead, f := listen(t)
	f.Close()
	hung, _ := listen(t) // connections wait in the backlog
	pid := "pid " + strconv.Itoa(os.Getpid())
	for name, socket := range map[string]string{"missing": dead + ".none", "refused": dead, "not told": "", "hung": hung} {
		t.Run(name, func(t *testing.T) {
			home, _ := hold(t, socket)
			c := find(t, home)
			for what, call := range map[string]func() error{
				"fleet": func() error { _, err := c.Fleet(t.Context()); return err },
				"live":  func() error { _, err := c.Live(t.Context()); return err },
				"start": func() error { _, err := c.Start(t.Context(), "coder", api.ActionRequest{}); return err },
			} {
				f := faultOf(t, call(), fault.NoAnswer)
				mustContain(t, what, f.Msg, pid, home)
				if rec := lease.Self(time.Now()); rec.Container == "" {
					mustContain(t, what, f.Hint, "kill "+strconv.Itoa(os.Getpid()), "hermes up")
				}
			}
		})
	}
	_, err := hurry(New(dead)).Fleet(t.Context())
	mustContain(t, "without a home", faultOf(t, err, fault.NoAnswer).Msg, dead)
}

// A supervisor in another container, seen through a shared volume.
func TestHeldElsewhere(t *testing.T) {
	for container, hint := range map[string]string{"0123456789abcdef": "docker exec 0123456789ab hermes status", "": "elsewhere"} {
		home, l := hold(t, "/nowhere/control.sock")
		rec := l.Record()
		rec.Host, rec.Container, rec.PID = "elsewhere", container, 1
		if err := l.Update(rec); err != nil {
			t.Fatal(err)
		}
		_, err := find(t, home).Fleet(t.Context())
		f := faultOf(t, err, fault.NoAnswer)
		mustContain(t, "hint", f.Hint, hint)
		mustContain(t, "message", f.Msg, home, "cannot be reached from here")
	}
}

// Between taking the lease and publishing the socket there is a moment; a
// client that comes then waits for it.
func TestSocketIsToldLater(t *testing.T) {
	socket := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"engine":"native"}`) })
	home, l := hold(t, "")
	c, err := Find(home)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	timer := time.AfterFunc(20*time.Millisecond, func() {
		rec := l.Record()
		rec.Socket = socket
		told <- l.Update(rec)
	})
	defer timer.Stop()
	if f, err := c.Fleet(t.Context()); err != nil || f.Engine != "native" {
		t.Errorf("got %+v, %v", f, err)
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
}

func TestDenied(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "needs root, to be somebody else")
	}
	socket, _ := listen(t)
	home, _ := hold(t, socket)
	ask := func() []string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"CLIENT_TEST_ROLE=client", "CLIENT_TEST_HOME=" + home, "GORACE=atexit_sleep_ms=0"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Split(strings.TrimSpace(string(out)), "|")
	}
	open := func(paths ...string) {
		for _, p := range paths {
			if err := os.Chmod(p, 0o711); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(filepath.Dir(home), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got[0] != string(fault.SupervisorDenied) || !strings.Contains(got[1], "uid 12345") || got[2] == "" {
		t.Errorf("home closed: %q", got)
	}
	open(filepath.Dir(home), home, filepath.Dir(filepath.Dir(socket)))
	if err := os.Chmod(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"directory closed", "socket closed"} {
		got := ask()
		if got[0] != string(fault.SupervisorDenied) || !strings.Contains(got[1], "as uid 12345") || !strings.HasSuffix(got[2], " hermes gateway stop coder") {
			t.Errorf("%s: %q", step, got)
		}
		open(filepath.Dir(socket))
		if err := os.Chmod(socket, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	hung, _ := listen(t)
	for _, socket := range []string{hung, hung + ".none"} {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := New(socket).Fleet(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", socket, err)
		}
		timer.Stop()
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := New(socket).Live(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", socket, err)
		}
		cancel()
		for range 20 { // always the context's end, never the supervisor's silence
			if _, err := New(socket).Fleet(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s, ended before: got %v", socket, err)
			}
		}
	}
}
