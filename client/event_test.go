package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// stream is what an engine sends of events with such ids.
func stream(ids ...int) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, ": a comment\nid: %d\nevent: state\ndata: {\"id\":%d,\"kind\":\"state\",\n", id, id)
		b.WriteString("data: \"to\":\"running\"}\n\n")
	}
	return b.String()
}

// TestEventsResume: a stream that ends, well or not, is asked for again after
// the last id, and no event comes twice.
func TestEventsResume(t *testing.T) {
	var asked []string
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { fmt.Fprint(w, stream(11, 12)) },
		func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) {
			fmt.Fprint(w, stream(12, 13)+"id: 14\ndata: {\"id\":14,\"ki") // the end of a killed engine
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"shutting_down","message":"the supervisor is shutting down"}`)
		},
		func(w http.ResponseWriter) { fmt.Fprint(w, stream(14, 15)) },
	}
	c := New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("after")+r.URL.Query().Get("profile"))
		answers[min(len(asked), len(answers))-1](w)
	}))
	var got []uint64
	for e, err := range c.Events(t.Context(), 10, "coder") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.ID); e.To != "running" {
			t.Errorf("%+v", e)
		}
		if e.ID == 15 {
			break
		}
	}
	if want := []uint64{11, 12, 13, 14, 15}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if want := []string{"10coder", "12coder", "12coder", "13coder", "13coder"}; !slices.Equal(asked, want) {
		t.Errorf("asked after %v, want %v", asked, want)
	}
}

func TestEventsEnd(t *testing.T) {
	last := func(c *Client, ctx context.Context) (err error) {
		for _, err = range c.Events(ctx, 0, "") {
		}
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	hangs := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	})
	if err := last(New(hangs), ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end: %v", err)
	}
	refuses := New(raw(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 39\r\n\r\n{\"code\":\"supervisor_denied\",\"message\":1}"))
	if err := last(refuses, t.Context()); fault.CodeOf(err) != fault.Internal {
		t.Errorf("refused without a reason: %v", err)
	}
	dies := New(raw(t, ""))
	dies.limits.silence = 50 * time.Millisecond
	if err := last(dies, t.Context()); fault.CodeOf(err) != fault.NoAnswer {
		t.Errorf("engine after engine dies: %v", err)
	}
	babbles := New(raw(t, "HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n"))
	if err := last(babbles, t.Context()); fault.CodeOf(err) != fault.Internal {
		t.Errorf("no event: %v", err)
	}
}

// TestEventsSilence: an engine that hangs in a stream is left for the next one.
func TestEventsSilence(t *testing.T) {
	asked := 0
	c := New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			fmt.Fprint(w, stream(1))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, stream(2))
	}))
	c.limits.quiet = 50 * time.Millisecond
	for e, err := range c.Events(t.Context(), 0, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == 2 {
			return
		}
	}
}

func TestListEvents(t *testing.T) {
	var asked string
	c := New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		fmt.Fprint(w, `{"events":[{"id":7,"kind":"engine"}],"last":7,"more":true}`)
	}))
	after := uint64(0)
	list, err := c.ListEvents(t.Context(), EventQuery{After: &after, Profile: "coder", Limit: 1})
	if err != nil || asked != "after=0&limit=1&profile=coder" || len(list.Events) != 1 || list.Last != 7 || !list.More {
		t.Errorf("%q: %+v, %v", asked, list, err)
	}
}

// FuzzReadEvents: whatever a supervisor sends, nothing but events with an id
// comes of it, or an error that can be shown.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte(stream(1, 2)))
	f.Add([]byte("data: {}\n\n"))
	f.Add([]byte("data:{\"id\":1}\r\n\r\n"))
	f.Add([]byte("\n\n:\nid: 1\nevent\ndata\n\ndata"))
	f.Fuzz(func(t *testing.T, body []byte) {
		err := readEvents(strings.NewReader(string(body)), func(e api.Event) bool {
			if e.ID == 0 {
				t.Error("an event without an id")
			}
			return true
		})
		if err != nil && fault.CodeOf(err) != fault.Internal {
			t.Error(err)
		}
	})
}
