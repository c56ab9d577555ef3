package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// The engine is killed with the request in its hands, and replaced: the client
// asks the new one, without a word to its caller.
func TestEngineKilledMidRequest(t *testing.T) {
	for name, before := range map[string]string{
		"before any byte":  "",
		"after its first":  "HTTP/1.1 100 Continue\r\n\r\n",
		"within a header":  "HTTP/1.1 200 OK\r\nContent-Le",
		"within an answer": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"gate",
	} {
		t.Run(name, func(t *testing.T) {
			socket, f := listen(t)
			home, _ := hold(t, socket)
			c, err := Find(home)
			if err != nil {
				t.Fatal(err)
			}
			type answer struct {
				res api.ActionResult
				err error
			}
			got := make(chan answer, 1)
			go func() {
				res, err := c.Start(t.Context(), "coder", api.ActionRequest{})
				got <- answer{res, err}
			}()
			first, asked := startEngine(t, f, before)
			if _, err := asked.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			_ = first.Process.Kill()
			_ = first.Wait()
			startEngine(t, f, body(`{"gateway":{"profile":"coder","state":"running"}}`))
			if a := <-got; a.err != nil || a.res.Gateway.State != "running" {
				t.Errorf("got %+v, %v", a.res, a.err)
			}
		})
	}
}

// An engine that dies over every request is an error, in bounded time.
func TestEngineDiesAgainAndAgain(t *testing.T) {
	home, _ := hold(t, raw(t, ""))
	began := time.Now()
	_, err := find(t, home).Fleet(t.Context())
	mustContain(t, "message", faultOf(t, err, fault.NoAnswer).Msg, "without an answer")
	if took := time.Since(began); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

// An acknowledged wait is not silence.
func TestLongWait(t *testing.T) {
	c := hurry(New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/v1/fleet" {
			w.WriteHeader(http.StatusContinue)
		}
		select {
		case <-time.After(2 * 300 * time.Millisecond):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"gateway":{"state":"running"}}`)
	})))
	if res, err := c.Start(t.Context(), "coder", api.ActionRequest{}); err != nil || res.Gateway.State != "running" {
		t.Errorf("acknowledged: %+v, %v", res, err)
	}
	_, err := c.Fleet(t.Context())
	faultOf(t, err, fault.NoAnswer)
}

// An answer that begins and does not go on is silence as well, but for a stream.
func TestAnswerStops(t *testing.T) {
	socket := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"gateway":{"profile":"a"}}`)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(2 * 300 * time.Millisecond):
		case <-r.Context().Done():
		}
	})
	_, err := hurry(New(socket)).Fleet(t.Context())
	faultOf(t, err, fault.NoAnswer)
	if err := hurry(New(socket)).All(t.Context(), "stop", api.ActionRequest{}, func(api.ActionResult) {}); err != nil {
		t.Errorf("a stream: %v", err)
	}
}

func TestStream(t *testing.T) {
	line := func(profile, code string) string {
		r := api.ActionResult{Gateway: api.Gateway{Profile: profile}}
		if code != "" {
			r.Error = &api.Error{Code: code, Message: "m", Hint: "h"}
		}
		b, _ := json.Marshal(r)
		return string(b) + "\n"
	}
	chunked := func(s string) string { // without the last chunk: cut short
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "fff\r\n" + s
	}
	tests := map[string]struct {
		answer string
		lines  int
		code   fault.Code // "" for success
	}{
		"empty":            {body(""), 0, ""},
		"two, one failed":  {body(line("a", "") + line("b", "gateway_timeout")), 2, ""},
		"whole failed":     {body(line("a", "") + line("", "shutting_down")), 1, fault.Shutdown},
		"cut after one":    {chunked(line("a", "")), 1, fault.NoAnswer},
		"cut within a one": {chunked(line("a", "") + `{"gatew`), 1, fault.NoAnswer},
		"cut before any":   {chunked(""), 0, fault.NoAnswer},
		"garbage":          {body("x"), 0, fault.Internal},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := 0
			err := hurry(New(raw(t, tt.answer))).All(t.Context(), "stop", api.ActionRequest{}, func(r api.ActionResult) {
				if n++; r.Gateway.Profile == "" {
					t.Error("a result of no gateway")
				}
			})
			if n != tt.lines || (err == nil) != (tt.code == "") || err != nil && fault.CodeOf(err) != tt.code {
				t.Errorf("%d results, %v; want %d, %q", n, err, tt.lines, tt.code)
			}
		})
	}
}

// FuzzAnswer feeds any bytes as the body of an answer, of any status.
func FuzzAnswer(f *testing.F) {
	f.Add(500, `{"code":"internal","message":"m"}`)
	f.Add(409, `{"gateway":{},"error":{"code":"port_taken"}}`)
	f.Add(503, `{"ok":false}`)
	f.Add(200, `{"gateway":{"profile":"a"}}{"gateway":{}}`+"\n{")
	f.Add(200, `null`)
	f.Fuzz(func(t *testing.T, status int, answer string) {
		if status >= 400 {
			if fa, ok := errors.AsType[*fault.Error](decodeError(status, []byte(answer))); !ok || fa.Code == "" {
				t.Fatalf("no fault")
			}
		}
		var fleet api.Fleet
		_ = decode([]byte(answer), &fleet)
		c := New("/nowhere")
		calls := 0
		err := c.stream(strings.NewReader(answer), func(api.ActionResult) { calls++ })
		if err != nil && calls > 0 && isLost(err) {
			t.Fatalf("a stream in part delivered would be repeated: %v", err)
		}
	})
}
