package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const testKey = "correct-horse-battery"

func TestKey(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}, key: testKey})
	for _, tt := range []struct {
		name, path, header string
		status             int
	}{
		{"no key", modelsPath, "", 401},
		{"no scheme", modelsPath, testKey, 401},
		{"another scheme", modelsPath, "Basic " + testKey, 401},
		{"a wrong key", modelsPath, "Bearer correct-horse-batterz", 401},
		{"a shorter key", modelsPath, "Bearer correct-horse-batter", 401},
		{"an empty key", modelsPath, "Bearer ", 401},
		{"the key", modelsPath, "Bearer " + testKey, 200},
		{"the scheme in another case", modelsPath, "bearer " + testKey, 200},
		{"health needs none", healthPath, "", 200},
		{"a path that is not there, without", "/etc", "", 401},
		{"a path that is not there", "/etc", "Bearer " + testKey, 404},
	} {
		header := []string{}
		if tt.header != "" {
			header = append(header, "Authorization: "+tt.header)
		}
		resp := a.do(http.MethodGet, tt.path, "", header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: got %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
		if tt.status == 401 {
			wantError(t, resp, 401, "invalid_api_key")
			if resp.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: no challenge", tt.name)
			}
		}
	}
	if strings.Contains(a.log.String(), testKey) {
		t.Error("the key is in the log")
	}
}

// With a key, who has it may come from anywhere.
func TestKeyMakesOriginsWelcome(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}, key: testKey})
	resp := a.do(http.MethodGet, modelsPath, "", "Authorization: Bearer "+testKey, "Host: gateway.example", "Origin: https://app.example")
	if resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestOriginWithoutKey(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	for _, tt := range []struct {
		header string
		ok     bool
	}{
		{"Host: 127.0.0.1:8642", true},
		{"Host: localhost:8642", true},
		{"Host: LOCALHOST", true},
		{"Host: [::1]:8642", true},
		{"Host: [::1]", true},
		{"Host: rebound.example:8642", false},
		{"Host: 10.0.0.1", false},
		{"Host: localhost.evil.example", false},
		{"Host: 127.0.0.1.evil.example", false},
		{"Origin: http://localhost:3000", true},
		{"Origin: http://127.0.0.1:1", true},
		{"Origin: http://[::1]:1", true},
		{"Origin: https://evil.example", false},
		{"Origin: https://localhost.evil.example", false},
		{"Origin: null", false},
		{"Origin: http://%zz", false},
	} {
		for _, path := range []string{healthPath, modelsPath} {
			resp := a.do(http.MethodGet, path, "", tt.header)
			if ok := resp.StatusCode == 200; ok != tt.ok {
				t.Errorf("%s with %q: got %d", path, tt.header, resp.StatusCode)
			}
			if !tt.ok {
				wantError(t, resp, 403, "forbidden_origin")
			}
		}
		resp := a.do(http.MethodPost, chatPath, hello, tt.header, "Content-Type: text/plain")
		if ok := resp.StatusCode == 200; ok != tt.ok {
			t.Errorf("chat with %q: got %d", tt.header, resp.StatusCode)
		}
	}
}

func TestRoutes(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	for _, tt := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/", 404, "not_found", ""},
		{"GET", "/v1/models/", 404, "not_found", ""},
		{"GET", "/v1/" + strings.Repeat("x", 5000), 404, "not_found", ""},
		{"POST", "/v1/embeddings", 404, "not_found", ""},
		{"GET", chatPath, 405, "method_not_allowed", "POST"},
		{"POST", modelsPath, 405, "method_not_allowed", "GET, HEAD"},
		{"DELETE", healthPath, 405, "method_not_allowed", "GET, HEAD"},
	} {
		resp := a.do(tt.method, tt.path, "")
		message := wantError(t, resp, tt.status, tt.code)
		if got := resp.Header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %.30s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
		if len(message) > 400 {
			t.Errorf("%s %.30s: a message of %d bytes", tt.method, tt.path, len(message))
		}
	}
	if resp := a.do("HEAD", healthPath, ""); resp.StatusCode != 200 {
		t.Errorf("HEAD: got %d", resp.StatusCode)
	}
}

func TestModels(t *testing.T) {
	for name, p := range map[string]provider{"a provider": echo{}, "none": nil} {
		a := newAPI(t, settings{provider: p})
		var got modelList
		if err := json.Unmarshal([]byte(readAll(t, a.do("GET", modelsPath, "").Body)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Object != "list" || len(got.Data) != 1 || got.Data[0].ID != "coder" || got.Data[0].Object != "model" || got.Data[0].Created == 0 {
			t.Errorf("with %s: %+v", name, got)
		}
	}
}

func TestHealth(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	for _, tt := range []struct {
		name   string
		change func()
		status int
		want   string
	}{
		{"with a provider", func() {}, 200, `{"status":"ok","profile":"coder","version":"1.2.3"}`},
		{"without", func() { a.server.settings.provider = nil }, 200, `{"status":"degraded","profile":"coder","version":"1.2.3"}`},
		{"draining", func() { a.server.drain() }, 503, `{"status":"draining","profile":"coder","version":"1.2.3"}`},
	} {
		tt.change()
		resp := a.do("GET", healthPath, "")
		if body := strings.TrimSpace(readAll(t, resp.Body)); resp.StatusCode != tt.status || body != tt.want {
			t.Errorf("%s: got %d %s", tt.name, resp.StatusCode, body)
		}
	}
	if log := a.log.String(); log != "" {
		t.Errorf("probes fill the log: %s", log)
	}
}

func TestNoProvider(t *testing.T) {
	a := newAPI(t, settings{fix: "set model.base_url in /x/config.yaml"})
	for _, body := range []string{hello, helloStream} {
		resp := a.chat(body)
		if got := wantError(t, resp, 503, "no_provider"); !strings.Contains(got, "profile 'coder'") || !strings.Contains(got, "set model.base_url in /x/config.yaml") {
			t.Errorf("the message does not help: %s", got)
		}
		if resp.Header.Get("X-Should-Retry") != "false" {
			t.Error("clients will try again and again")
		}
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	for _, tt := range []struct{ body, param string }{
		{"", ""},
		{"null", ""},
		{"[]", ""},
		{`"x"`, ""},
		{"{", ""},
		{`{"messages":[{"role":"user","content":"x"}]} {}`, ""},
		{"{}", "messages"},
		{`{"messages":null}`, "messages"},
		{`{"messages":[]}`, "messages"},
		{`{"messages":"hello"}`, "messages"},
		{`{"messages":["hello"]}`, "messages"},
		{`{"messages":[null]}`, "messages"},
		{`{"messages":[{"role":7}]}`, "messages"},
		{`{"messages":[{"role":"system","content":"x"}]}`, "messages"},
		{`{"messages":[{"role":"user","content":"x"}],"model":7}`, "model"},
		{`{"messages":[{"role":"user","content":"x"}],"stream":"yes"}`, "stream"},
	} {
		resp := a.chat(tt.body)
		body := readAll(t, resp.Body)
		var e wireError
		if err := json.Unmarshal([]byte(body), &e); err != nil || resp.StatusCode != 400 {
			t.Errorf("%s: got %d %s", tt.body, resp.StatusCode, body)
			continue
		}
		param := ""
		if e.Error.Param != nil {
			param = *e.Error.Param
		}
		if param != tt.param || e.Error.Type != "invalid_request_error" {
			t.Errorf("%s: param %q, want %q, type %s", tt.body, param, tt.param, e.Error.Type)
		}
	}
}

func TestLargeBody(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	wantError(t, a.chat(strings.Repeat("x", maxBody)), 400, "invalid_request") // read whole, and no JSON
	wantError(t, a.chat(strings.Repeat("x", maxBody+1)), 413, "body_too_large")
}

func TestTooManyChats(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}}, func(s *server) { s.busy = make(chan struct{}, 1) })
	a.server.busy <- struct{}{}
	resp := a.chat(hello)
	wantError(t, resp, 429, "too_many_requests")
	if resp.Header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	<-a.server.busy
	for range 3 { // each gives its place back
		if resp := a.chat(hello); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
}

func TestRequestLog(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	readAll(t, a.do("POST", chatPath+"?api_key=hidden", `{"messages":[{"role":"user","content":"a private thing"}]}`).Body)
	readAll(t, a.do("GET", "/line%0abreak", "").Body)
	until(t, "both are logged", func() bool { return strings.Count(a.log.String(), "\n") == 2 })
	log := a.log.String()
	for _, want := range []string{"method=POST", "path=" + chatPath, "status=200", "duration=", "status=404", "code=not_found"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, "private") || strings.Contains(log, "hidden") {
		t.Errorf("the log tells too much:\n%s", log)
	}
}
