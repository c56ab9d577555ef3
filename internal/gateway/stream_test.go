package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Deltas are passed on one by one: each arrives before the next is sent.
func TestStreamIsPassedOnAtOnce(t *testing.T) {
	next := make(chan struct{})
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, s := range []string{": thinking\n\n", delta("one"), delta("two"), finish, done} {
			_, _ = io.WriteString(w, s)
			if strings.HasPrefix(s, ":") || s == done {
				continue
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp := a.chat(helloStream)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" || resp.StatusCode != 200 {
		t.Fatalf("got %d %s", resp.StatusCode, got)
	}
	in := lineReader(resp.Body)
	for _, want := range []string{delta("one"), delta("two"), finish, done} {
		for line := range strings.Lines(want) {
			if got, err := in.ReadString('\n'); err != nil || got != line {
				t.Fatalf("got %q, %v, want %q", got, err, line)
			}
		}
		if want != done {
			next <- struct{}{}
		}
	}
	if rest := readAll(t, in); rest != "" {
		t.Errorf("after the end: %q", rest)
	}
}

// A provider may take longer than its silence is tolerated, as long as it is
// not silent.
func TestSlowDrip(t *testing.T) {
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for i := range 20 {
			<-tick.C
			_, _ = io.WriteString(w, ": "+strings.Repeat("x", i)+"\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, delta("late")+finish+done)
	}, func(u *upstream) { u.limits.silence, u.limits.keepAlive = 500*time.Millisecond, 20*time.Millisecond })
	all := events(t, readAll(t, a.chat(helloStream).Body))
	comments := 0
	for _, e := range all {
		if e.name == ":" {
			comments++
		}
	}
	if comments < 3 {
		t.Errorf("%d comments kept the connection alive for 800 ms at one per 20 ms", comments)
	}
	if last := all[len(all)-1]; string(last.data) != "[DONE]" || len(all)-comments != 3 {
		t.Errorf("got %d events, the last is %q", len(all)-comments, last.data)
	}
}

func TestStreamsThatEndBadly(t *testing.T) {
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	for _, tt := range []struct {
		name, code string
		serve      func(w http.ResponseWriter, r *http.Request)
	}{
		{"cut", "upstream_incomplete", func(w http.ResponseWriter, _ *http.Request) {
			flush(w)
			panic(http.ErrAbortHandler)
		}},
		{"cut in an event", "upstream_incomplete", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `data: {"choices":[{"delta":{"conte`)
			flush(w)
			panic(http.ErrAbortHandler)
		}},
		{"ended without an end", "upstream_incomplete", func(http.ResponseWriter, *http.Request) {}},
		{"ended in an event", "upstream_incomplete", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "data: {}\n") }},
		{"not JSON", "upstream_invalid", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "data: {\"choices\":\n\n"+done) }},
		{"huge", "upstream_invalid", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "data: \""+strings.Repeat("x", maxEvent)+"\"\n\n"+done)
		}},
		{"hangs", "upstream_timeout", func(w http.ResponseWriter, r *http.Request) {
			flush(w)
			<-r.Context().Done()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, delta("one"))
				tt.serve(w, r)
			}, func(u *upstream) {
				if tt.name == "hangs" {
					u.limits.silence = 300 * time.Millisecond
				}
			})
			resp := a.chat(helloStream)
			all := events(t, readAll(t, resp.Body)) // the stream itself ends well
			if len(all) != 2 || string(all[0].data) != strings.TrimSpace(strings.TrimPrefix(delta("one"), "data: ")) {
				t.Fatalf("got %d events", len(all))
			}
			var e wireError
			if err := json.Unmarshal(all[1].data, &e); err != nil || e.Error.Code != tt.code || e.Error.Message == "" {
				t.Errorf("the last event is %q, want code %s", all[1].data, tt.code)
			}
			if !strings.Contains(a.log.String(), "code="+tt.code) {
				t.Errorf("not in the log: %s", a.log)
			}
		})
	}
}

func TestStreamsThatEndWellEnough(t *testing.T) {
	for name, stream := range map[string]string{
		"all right":          delta("one") + finish + done,
		"without [DONE]":     delta("one") + finish,
		"without blank line": delta("one") + finish + "data: [DONE]",
		"noise":              "\uFEFF: hello\n\nid: 1\nretry: 5\nnonsense\n\n" + delta("one") + "event: \n\n" + finish + done,
		"CRLF":               strings.ReplaceAll(delta("one")+finish+done, "\n", "\r\n"),
		"more after the end": delta("one") + finish + done + delta("two"),
	} {
		a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, stream)
		})
		if got, want := readAll(t, a.chat(helloStream).Body), delta("one")+finish+done; got != want {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
	}
}

// A client that does not read holds nothing for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	ended := make(chan struct{})
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		chunk := delta(strings.Repeat("x", 64<<10))
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}, func(u *upstream) { u.limits.write = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(helloStream), helloStream)
	wait(t, "the provider's request ends", ended)
}

// Nor does one that does not write.
func TestClientThatDoesNotWrite(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}}, func(s *server) { s.limits.body = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", chatPath)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if answer := readAll(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("got %q", answer)
	}
}

// A chat may take longer than its request may: the deadline of the one does
// not cut the other.
func TestSlowAnswerOutlivesTheBodyDeadline(t *testing.T) {
	a := upstreamAPI(t, "", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(700 * time.Millisecond):
			_, _ = io.WriteString(w, whole)
		case <-r.Context().Done():
		}
	}, func(u *upstream) { u.limits.body = 500 * time.Millisecond })
	if got := readAll(t, a.chat(hello).Body); got != whole {
		t.Errorf("got %s", got)
	}
}
