package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func me() string { return "uid " + strconv.Itoa(os.Geteuid()) }

func TestRoutes(t *testing.T) {
	b := &backend{all: func(_ context.Context, each func(api.ActionResult)) error { return nil }}
	rn := serve(t, b, nil)
	tests := []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"GET", "/v1/health/live", "", 200, `{"ok":true}`},
		{"GET", "/v1/health/ready", "", 200, `{"ok":true}`},
		{"GET", "/v1/fleet", "", 200, `"engine":"native"`},
		{"GET", "/v1/gateways/coder", "", 200, `"slot":"gateway-coder"`},
		{"GET", "/v1/gateways/typo", "", 404, `"code":"gateway_not_registered"`},
		{"GET", "/v1/gateways/No%20Name", "", 400, `"code":"invalid_name"`},
		{"GET", "/v1/gateways/..%2Ffleet", "", 400, `"code":"invalid_name"`},
		{"GET", "/v1/gateways/coder/why", "", 200, `"next":"nothing"`},
		{"GET", "/v1/gateways/typo/why", "", 404, `"code":"gateway_not_registered"`},
		{"GET", "/v1/plan", "", 200, `{"lines":["profile=coder action=started"]}`},
		{"POST", "/v1/gateways/coder/start", "", 200, `"state":"start"`},
		{"POST", "/v1/gateways/coder/stop", `{"by":"cli","future_field":1}`, 200, `"state":"stop"`},
		{"POST", "/v1/gateways/coder/restart", `{"timeout_ms":1500,"no_wait":true}`, 200, `"state":"restart"`},
		{"POST", "/v1/gateways/root/start", "", 400, `"code":"invalid_name"`},
		{"POST", "/v1/gateways/coder/start", `{"timeout_ms":-1}`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `{"timeout_ms":9223372036854775807}`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `{"by":"a\nb"}`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `{"by":"` + strings.Repeat("x", 65) + `"}`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `{`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `{} {}`, 400, `"code":"usage"`},
		{"POST", "/v1/gateways/coder/start", `"` + strings.Repeat("x", maxBody) + `"`, 400, `longer than 65536 bytes`},
		{"POST", "/v1/fleet/start", "", 400, `start --all is not supported: it would start gateways you stopped on purpose`},
		{"POST", "/v1/fleet/stop", "", 200, ``},
		{"POST", "/v1/fleet/explode", "", 400, `"code":"usage"`},
		{"POST", "/v1/dashboard/restart", "", 200, `"slot":"dashboard"`},
		{"POST", "/v1/dashboard/restart", `{"timeout_ms":-1}`, 400, `"code":"usage"`},
		{"GET", "/v1/profiles", "", 200, `{"profiles":[{"name":"coder","path":""}]}`},
		{"POST", "/v1/profiles", `{"name":"new","by":"cli"}`, 200, `"name":"new"`},
		{"POST", "/v1/profiles", `{"name":"default"}`, 400, `"code":"invalid_name"`},
		{"POST", "/v1/profiles", ``, 400, `"code":"invalid_name"`},
		{"DELETE", "/v1/profiles/coder", "", 200, `{}`},
		{"DELETE", "/v1/profiles/Coder", "", 400, `"code":"invalid_name"`},
		{"POST", "/v1/profiles/coder/rename", `{"to":"new"}`, 200, `"name":"new"`},
		{"POST", "/v1/profiles/coder/rename", `{"to":"NEW"}`, 400, `"code":"invalid_name"`},
		{"POST", "/v1/profiles/!/rename", `{"to":"new"}`, 400, `"code":"invalid_name"`},
		{"PUT", "/v1/fleet", "", 400, `no such route`},
		{"GET", "/", "", 400, `no such route`},
	}
	for _, tt := range tests {
		status, body := rn.ask(t, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", tt.method, tt.path, tt.body, status, body, tt.status, tt.want)
		}
		if status >= 400 {
			var e api.Error
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code == "" || e.Message == "" || e.Hint == "" && e.Code != "usage" && e.Code != "gateway_not_registered" {
				t.Errorf("%s %s: %s is no error with a hint (%v)", tt.method, tt.path, body, err)
			}
		}
	}
	want := []string{
		`["start","coder",{"NoWait":false,"Timeout":0,"By":"api ` + me() + `"}]`,
		`["stop","coder",{"NoWait":false,"Timeout":0,"By":"cli ` + me() + `"}]`,
		`["restart","coder",{"NoWait":true,"Timeout":1500000000,"By":"api ` + me() + `"}]`,
		`["all","stop",{"NoWait":false,"Timeout":0,"By":"api ` + me() + `"}]`,
		`["restart dashboard",{"NoWait":false,"Timeout":0,"By":"api ` + me() + `"}]`,
		`["create","new","cli ` + me() + `"]`,
		`["delete","coder","api ` + me() + `"]`,
		`["rename","coder","new","api ` + me() + `"]`,
	}
	if got := b.heard(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the backend heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHealthThatIsNotOK(t *testing.T) {
	rn := serve(t, &backend{sick: true}, nil)
	status, body := rn.ask(t, "GET", "/v1/health/ready", "")
	if status != 503 || !strings.Contains(body, `"ok":false`) || !strings.Contains(body, `"code":"parked"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ = rn.ask(t, "GET", "/v1/health/live", ""); status != 503 {
		t.Errorf("live: %d", status)
	}
}

// What is not meant for people becomes "internal error"; its text does not
// leave the supervisor, and is logged under the number the client got.
func TestInternalErrors(t *testing.T) {
	b := &backend{bad: errors.New("secret detail"), all: func(context.Context, func(api.ActionResult)) error { panic("secret detail") }}
	b.act = func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) { panic("secret detail") }
	rn := serve(t, b, nil)
	for _, rt := range routes() {
		path := strings.NewReplacer("{profile}", "coder", "{name}", "coder").Replace(rt.pattern)
		if strings.HasPrefix(path, "/v1/health") || path == "/v1/fleet/start" || path == "/v1/events" {
			continue // what cannot fail
		}
		status, body := rn.ask(t, rt.method, path, `{"name":"new","to":"new"}`)
		if status != 500 || !strings.Contains(body, `"code":"internal"`) || strings.Contains(body, "secret") {
			t.Errorf("%s %s: %d %s", rt.method, path, status, body)
			continue
		}
		_, number, _ := strings.Cut(body, "internal error in request ")
		number, _, _ = strings.Cut(number, `"`)
		for line := range strings.Lines(rn.logs.String()) {
			if strings.Contains(line, "request="+number+" ") && strings.Contains(line, "secret detail") {
				number = ""
			}
		}
		if number != "" {
			t.Errorf("%s %s: request %s is not in the log", rt.method, path, number)
		}
	}
	if !strings.Contains(rn.logs.String(), "server_test.go") {
		t.Error("no stack of a panic is in the log")
	}
}

func TestPanicInARead(t *testing.T) {
	rn := serve(t, &backend{}, func(o *Options) { o.Planner = nil })
	if status, body := rn.ask(t, "GET", "/v1/plan", ""); status != 500 || !strings.Contains(body, "internal") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := rn.ask(t, "GET", "/v1/fleet", ""); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

// A failure of one gateway is a result, with the status of its code.
func TestActionFails(t *testing.T) {
	full := api.ActionResult{Gateway: coder("parked"), Error: &api.Error{Code: "port_taken", Message: "m", Hint: "h"}}
	tests := map[string]struct {
		res    api.ActionResult
		err    error
		status int
		want   string
	}{
		"returned": {
			api.ActionResult{Gateway: coder("parked")},
			fault.New(fault.GatewayFailed, "exit 78").WithHint("hermes why coder"), 409,
			`"state":"parked"`,
		},
		"bare":      {api.ActionResult{}, fault.NotRegistered("coder"), 404, `"slot":"gateway-coder"`},
		"in result": {full, nil, 409, `"error":{"code":"port_taken","message":"m","hint":"h"}`},
		"timeout":   {api.ActionResult{}, fault.New(fault.GatewayTimeout, "not ready in 90 s"), 504, `"code":"gateway_timeout"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rn := serve(t, &backend{act: func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) { return tt.res, tt.err }}, nil)
			status, body := rn.ask(t, "POST", "/v1/gateways/coder/start", "")
			var res api.ActionResult
			if err := json.Unmarshal([]byte(body), &res); err != nil {
				t.Fatal(err)
			}
			if status != tt.status || res.Error == nil || res.Gateway.Profile != "coder" || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}
}

func TestAll(t *testing.T) {
	next := make(chan struct{})
	rn := serve(t, &backend{all: func(_ context.Context, each func(api.ActionResult)) error {
		each(api.ActionResult{Gateway: coder("stopped")})
		<-next // until the client has read the first line
		for range 300 {
			each(api.ActionResult{Gateway: coder("stopped"), Error: &api.Error{Code: "gateway_timeout"}})
		}
		return fault.New(fault.Shutdown, "enough")
	}}, nil)
	resp, err := rn.client.Post("http://hermes/v1/fleet/stop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "application/x-ndjson" {
		t.Errorf("%d %s", resp.StatusCode, ct)
	}
	d := json.NewDecoder(resp.Body)
	var lines []api.ActionResult
	for {
		var res api.ActionResult
		if err := d.Decode(&res); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if lines = append(lines, res); len(lines) == 1 {
			close(next)
		}
	}
	if n := len(lines); n != 302 {
		t.Fatalf("%d lines", n)
	}
	if last := lines[301]; last.Gateway.Profile != "" || last.Error == nil || last.Error.Code != "shutting_down" {
		t.Errorf("last line %+v", last)
	}
}

func TestAllFailsAtOnce(t *testing.T) {
	rn := serve(t, &backend{all: func(context.Context, func(api.ActionResult)) error {
		return fault.New(fault.Shutdown, "the supervisor is shutting down")
	}}, nil)
	if status, body := rn.ask(t, "POST", "/v1/fleet/restart", ""); status != 503 || !strings.Contains(body, `"code":"shutting_down"`) {
		t.Errorf("%d %s", status, body)
	}
}

// A control request is acknowledged at once, so that its client can tell a long
// wait from a dead engine; and is on record with its peer.
func TestControlIsAcknowledgedAndLogged(t *testing.T) {
	release := make(chan struct{})
	rn := serve(t, &backend{act: func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) {
		<-release
		return api.ActionResult{}, nil
	}}, nil)
	c, err := net.Dial("unix", rn.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /v1/gateways/coder/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	buf := make([]byte, 25)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Errorf("first came %q, %v", buf, err)
	}
	close(release)
	rest, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(rest), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("then came %q, %v", rest, err)
	}
	eventually(t, "the request is logged", func() bool {
		s := rn.logs.String()
		return strings.Contains(s, "path=/v1/gateways/coder/start") && strings.Contains(s, "uid="+strconv.Itoa(os.Geteuid())+" ")
	})
	if status, _ := rn.ask(t, "GET", "/v1/fleet", ""); status != 200 || strings.Contains(rn.logs.String(), "path=/v1/fleet") {
		t.Error("a read is logged as well")
	}
}

// A client that does not send its body is refused; and the limit on that does
// not limit what comes after: net/http takes a read that times out for a client
// that is gone.
func TestBodyTimeout(t *testing.T) {
	short := func(s *Server) { s.bodyTime = 30 * time.Millisecond }
	rn := serve(t, &backend{act: func(ctx context.Context, _ profile.Name, _ profile.Request) (api.ActionResult, error) {
		select {
		case <-time.After(90 * time.Millisecond):
		case <-ctx.Done():
		}
		return api.ActionResult{Gateway: coder("running")}, ctx.Err()
	}}, nil, short)
	for sent, want := range map[string]string{"2\r\n\r\n{": " 400 Bad Request", "2\r\n\r\n{}": " 200 OK", "0\r\n\r\n": " 200 OK"} {
		c, err := net.Dial("unix", rn.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "POST /v1/gateways/coder/start HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "+sent)
		b, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("after %q came %q, %v", sent, b, err)
		}
	}
}

// An answer says how long it is, however long, so that a client has the memory
// for it at once and knows one that was cut.
func TestLengthOfAnswers(t *testing.T) {
	rn := serve(t, &backend{act: func(context.Context, profile.Name, profile.Request) (api.ActionResult, error) {
		return api.ActionResult{Gateway: api.Gateway{Reason: strings.Repeat("long ", 5000)}}, nil
	}}, nil)
	resp, err := rn.client.Post("http://hermes/v1/gateways/coder/stop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || len(b) < 25000 || resp.ContentLength != int64(len(b)) {
		t.Errorf("%d bytes said to be %d: %v", len(b), resp.ContentLength, err)
	}
}
