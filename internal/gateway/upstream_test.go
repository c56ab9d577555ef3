package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const providerKey = "sk-0123456789abcdef"

func TestRequestAsTheProviderSeesIt(t *testing.T) {
	seen := make(chan *http.Request, 1)
	bodies := make(chan string, 1)
	a := upstreamAPI(t, providerKey, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		seen <- r
		_, _ = io.WriteString(w, whole)
	})
	body := `{"model":"any","top_k":3,"messages":[{"role":"system","content":"client's"},{"role":"user","content":"hello"}]}`
	resp := a.do("POST", chatPath, body, "Authorization: Bearer client", "Cookie: a=b", "X-Private: yes")
	if got := readAll(t, resp.Body); got != whole || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the answer was changed: %s", got)
	}
	r := wait(t, "request", seen)
	if r.Method != "POST" || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s", r.Method, r.URL)
	}
	if got := r.Header.Get("Authorization"); got != "Bearer "+providerKey {
		t.Errorf("Authorization: %q", got)
	}
	for _, h := range []string{"Cookie", "X-Private"} {
		if r.Header.Get(h) != "" {
			t.Errorf("the client's %s reached the provider", h)
		}
	}
	want := `{"top_k":3,"model":"real-model","messages":[{"role":"system","content":"I am the soul."},{"role":"system","content":"client's"},{"role":"user","content":"hello"}]}`
	if got := wait(t, "body", bodies); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNoKeyNoHeader(t *testing.T) {
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		if h, ok := r.Header["Authorization"]; ok {
			t.Errorf("Authorization: %q", h)
		}
		_, _ = io.WriteString(w, whole)
	})
	readAll(t, a.chat(hello).Body)
}

// The query of a base URL stays: some providers have their version there.
func TestBaseURL(t *testing.T) {
	for base, want := range map[string]string{
		"https://h/v1":           "https://h/v1/chat/completions",
		"https://h/v1/":          "https://h/v1/chat/completions",
		"http://h:1":             "http://h:1/chat/completions",
		"https://h/d/x?v=2024-1": "https://h/d/x/chat/completions?v=2024-1",
	} {
		u, err := newUpstream(base, "m", "", "")
		if err != nil || u.url != want {
			t.Errorf("%s: got %s, %v, want %s", base, u.url, err, want)
		}
	}
}

func TestDisconnectCancelsTheProvider(t *testing.T) {
	for name, body := range map[string]string{"stream": helloStream, "whole": hello} {
		t.Run(name, func(t *testing.T) {
			asked, ended := make(chan struct{}), make(chan struct{})
			a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if name == "stream" {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, delta("one"))
					_ = http.NewResponseController(w).Flush()
				}
				close(asked)
				<-r.Context().Done()
				close(ended)
			})
			conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(body), body)
			wait(t, "the provider is asked", asked)
			_ = conn.Close()
			wait(t, "the provider's request ends", ended)
			until(t, "it is logged", func() bool { return strings.Contains(a.log.String(), "status=499") })
			if a.server.underWay() != 0 || len(a.server.busy) != 0 {
				t.Error("the request is still under way")
			}
		})
	}
}

// refusal is how a provider refuses, and what comes of it.
type refusal struct {
	name   string
	status int
	body   string
	want   int
	code   string
	says   string
	asked  int32 // times
}

func TestRefusals(t *testing.T) {
	const message = `{"error":{"message":"because ` + providerKey + `","type":"t","param":"p","code":"c"}}`
	for _, tt := range []refusal{
		{"wrong key", 401, message, 502, "upstream_auth", "mend the key", 1},
		{"no right", 403, message, 502, "upstream_auth", "mend the key", 1},
		{"not found", 404, message, 502, "upstream_error", "model.base_url", 1},
		{"bad request", 400, message, 400, "c", "because [redacted]", 1},
		{"another form", 422, `{"detail":"because"}`, 422, "upstream_error", "because", 1},
		{"a third form", 400, `{"error":"because"}`, 400, "upstream_error", "because", 1},
		{"a number as code", 400, `{"error":{"message":"because","code":7,"param":null}}`, 400, "upstream_error", "because", 1},
		{"limit", 429, message, 429, "upstream_rate_limit", "because [redacted]", 3},
		{"error", 500, message, 502, "upstream_error", "because [redacted]", 3},
		{"down", 503, "<html>\x00", 502, "upstream_error", "answered 503", 3},
		{"overloaded", 529, "", 502, "upstream_error", "answered 529", 3},
		{"not implemented", 501, "", 502, "upstream_error", "answered 501", 1},
		{"too slow", 504, "", 504, "upstream_timeout", "answered 504", 3},
		{"no content", 204, "", 502, "upstream_error", "answered 204", 1},
		{"no JSON", 200, "<html>", 502, "upstream_invalid", "is model.base_url right?", 1},
		{"no completion", 200, `{"hello":"world"}`, 502, "upstream_invalid", "is model.base_url right?", 1},
		{"an error as an answer", 200, message, 502, "upstream_invalid", "because [redacted]", 1},
		{"a long error", 400, `{"message":"` + strings.Repeat("x", 50000) + `"}`, 400, "upstream_error", "xxx…", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, body := range []string{hello, helloStream} {
				testRefusal(t, tt, body)
			}
		})
	}
}

func testRefusal(t *testing.T, tt refusal, request string) {
	var asked atomic.Int32
	a := upstreamAPI(t, providerKey, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(tt.status)
		if tt.status != 204 {
			_, _ = io.WriteString(w, tt.body)
		}
	})
	resp := a.chat(request)
	message := wantError(t, resp, tt.want, tt.code)
	says := tt.says
	if request == helloStream && tt.status == 200 && !strings.Contains(tt.body, "because") {
		says = "where events were asked for"
	}
	if !strings.Contains(message, says) {
		t.Errorf("it says %.300q, want %q", message, says)
	}
	if strings.Contains(message, providerKey) || strings.Contains(a.log.String(), providerKey) {
		t.Error("the key leaked")
	}
	if len(message) > maxSaid+200 {
		t.Errorf("a message of %d bytes", len(message))
	}
	if n := asked.Load(); n != tt.asked {
		t.Errorf("asked %d times, want %d", n, tt.asked)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		asked        int32
	}{
		{"now", "0", 3},
		{"a date gone by", "Mon, 02 Jan 2006 15:04:05 GMT", 3},
		{"soon", "1", 3},
		{"in an hour", "3600", 1},
		{"a distant date", "Fri, 02 Jan 2099 15:04:05 GMT", 1},
		{"nonsense", "soon", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Retry-After", tt.header)
				w.WriteHeader(429)
			})
			began := time.Now()
			resp := a.chat(hello)
			wantError(t, resp, 429, "upstream_rate_limit")
			if got := resp.Header.Get("Retry-After"); got != tt.header {
				t.Errorf("Retry-After: %q, want %q", got, tt.header)
			}
			if n := asked.Load(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
			if took := time.Since(began); tt.name == "soon" && took < 2*time.Second {
				t.Errorf("asked again after %s, was told to wait 1 s twice", took)
			}
		})
	}
}

func TestSecondTrySucceeds(t *testing.T) {
	for _, request := range []string{hello, helloStream} {
		var asked atomic.Int32
		a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), "hello") {
				t.Errorf("try %d has the body %q", asked.Load(), body)
			}
			switch asked.Add(1) {
			case 1:
				w.WriteHeader(503)
			case 2:
				panic(http.ErrAbortHandler) // the connection is cut
			default:
				if request == hello {
					_, _ = io.WriteString(w, whole)
					return
				}
				_, _ = io.WriteString(w, delta("hi")+finish+done)
			}
		})
		resp := a.chat(request)
		if body := readAll(t, resp.Body); resp.StatusCode != 200 || !strings.Contains(body, "hi") || asked.Load() != 3 {
			t.Errorf("got %d %s after %d tries", resp.StatusCode, body, asked.Load())
		}
	}
}

func TestNobodyThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	a := upstreamAPI(t, providerKey, nil, func(u *upstream) { u.url = srv.URL + "/v1/" + providerKey })
	message := wantError(t, a.chat(hello), 502, "upstream_error")
	if !strings.Contains(message, "connection refused") || strings.Contains(message, providerKey) {
		t.Errorf("got %s", message)
	}
}

// The key is for one host: a redirect does not take it to another.
func TestRedirectIsNotFollowed(t *testing.T) {
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	a := upstreamAPI(t, providerKey, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	wantError(t, a.chat(hello), 502, "upstream_error")
	if asked.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestSilentProvider(t *testing.T) {
	for _, request := range []string{hello, helloStream} {
		a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, func(u *upstream) { u.limits.silence = 30 * time.Millisecond })
		wantError(t, a.chat(request), 504, "upstream_timeout")
	}
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"choices":`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, func(u *upstream) { u.limits.silence = 30 * time.Millisecond })
	wantError(t, a.chat(hello), 504, "upstream_timeout")
}

// A provider that repeats the key does not tell it to our clients.
func TestKeyIsRedacted(t *testing.T) {
	a := upstreamAPI(t, providerKey, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, delta(r.Header.Get("Authorization"))+finish+done)
			return
		}
		_, _ = io.WriteString(w, strings.Replace(whole, "hi", r.Header.Get("Authorization"), 1))
	})
	for _, request := range []string{hello, helloStream} {
		if got := readAll(t, a.chat(request).Body); strings.Contains(got, providerKey) || !strings.Contains(got, "Bearer [redacted]") {
			t.Errorf("got %s", got)
		}
	}
}

// A word that serves as the key of a local server is no secret.
func TestShortKeyIsAWord(t *testing.T) {
	a := upstreamAPI(t, "hi", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, whole) })
	if got := readAll(t, a.chat(hello).Body); got != whole {
		t.Errorf("got %s", got)
	}
}

func TestHugeAnswer(t *testing.T) {
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 1<<20))
		_, _ = io.WriteString(w, `{"choices":[],"x":"`)
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if message := wantError(t, a.chat(hello), 502, "upstream_invalid"); !strings.Contains(message, "larger than 32 MB") {
		t.Errorf("got %s", message)
	}
}
