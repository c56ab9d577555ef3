package server

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/event"
)

// eventLog is a log of three events, with a fourth to come.
func eventLog(t *testing.T) (l *event.Log, ids []uint64) {
	t.Helper()
	l = event.Open(event.Options{})
	t.Cleanup(l.Close)
	for _, to := range []string{"starting", "running", "stopping"} {
		l.Emit(api.Event{Kind: api.EventState, Profile: "coder", Slot: "gateway-coder", To: to})
		ids = append(ids, l.Last())
	}
	return l, ids
}

func TestEventList(t *testing.T) {
	l, ids := eventLog(t)
	rn := serve(t, &backend{log: l}, nil)
	for query, want := range map[string][]uint64{
		"":                               ids,
		"?after=0":                       ids,
		"?limit=1":                       ids[2:],
		"?after=0&limit=2":               ids[:2],
		"?after=" + text(ids[1]):         ids[2:],
		"?after=" + text(ids[2]):         {},
		"?profile=coder&limit=2":         ids[1:],
		"?profile=gateway-coder&after=0": ids,
		"?profile=other":                 {},
	} {
		status, body := rn.ask(t, "GET", "/v1/events"+query, "")
		var list api.EventList
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, status, body)
		}
		if got := idsOf(list.Events); text(got...) != text(want...) || list.More != (query == "?after=0&limit=2") || list.Events == nil {
			t.Errorf("%s: %s", query, body)
		}
	}
	for query, code := range map[string]string{
		"?after=x": "usage", "?after=-1": "usage", "?after=18446744073709551616": "usage", "?limit=0": "usage",
		"?limit=10001": "usage", "?follow=yes": "usage", "?profile=..": "invalid_name",
	} {
		if status, body := rn.ask(t, "GET", "/v1/events"+query, ""); status/100 != 4 || !strings.Contains(body, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

func idsOf(events []api.Event) []uint64 {
	var ids []uint64
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func text(ids ...uint64) string {
	b, _ := json.Marshal(ids)
	return strings.Trim(string(b), "[]nul")
}

// follow opens a stream of events.
func (rn *running) follow(t *testing.T, query, lastID string) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://hermes/v1/events?follow=1"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := rn.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, got)
	}
	return bufio.NewScanner(resp.Body)
}

// take reads the stream until so many events are there, whose every line must
// be as it is to be; comments are left out.
func take(t *testing.T, s *bufio.Scanner, n int) []api.Event {
	t.Helper()
	var all []api.Event
	for len(all) < n && s.Scan() {
		id, ok := strings.CutPrefix(s.Text(), "id: ")
		if !ok {
			continue
		}
		var e api.Event
		s.Scan()
		kind := strings.TrimPrefix(s.Text(), "event: ")
		s.Scan()
		err := json.Unmarshal([]byte(strings.TrimPrefix(s.Text(), "data: ")), &e)
		if err != nil || text(e.ID) != id || e.Kind != kind || !s.Scan() || s.Text() != "" {
			t.Fatalf("%q is no event: %v", s.Text(), err)
		}
		all = append(all, e)
	}
	if len(all) < n {
		t.Fatalf("the stream ended after %d of %d events: %v", len(all), n, s.Err())
	}
	return all
}

func TestEventStream(t *testing.T) {
	l, ids := eventLog(t)
	rn := serve(t, &backend{log: l}, nil)
	all, rest, now := rn.follow(t, "&after=0", ""), rn.follow(t, "&after=0", text(ids[1])), rn.follow(t, "", "")
	l.Emit(api.Event{Kind: api.EventHealth, Slot: "gateway-coder", To: "ok"})
	ids = append(ids, l.Last())
	for name, c := range map[string]struct {
		stream *bufio.Scanner
		want   []uint64
	}{"after": {all, ids}, "Last-Event-ID": {rest, ids[2:]}, "from now on": {now, ids[3:]}} {
		if got := idsOf(take(t, c.stream, len(c.want))); text(got...) != text(c.want...) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	rn.stop()
	for _, s := range []*bufio.Scanner{all, rest, now} {
		for s.Scan() {
		}
		if s.Err() != nil {
			t.Errorf("the engine left, and the stream ended with %v", s.Err())
		}
	}
}

// TestSlowEventStream: one who asks for what is not kept is told so, and where
// it goes on.
func TestSlowEventStream(t *testing.T) {
	l := event.Open(event.Options{Ring: 4})
	t.Cleanup(l.Close)
	l.Emit(make([]api.Event, 10)...)
	rn := serve(t, &backend{log: l}, nil)
	got := take(t, rn.follow(t, "&after=0", ""), 5)
	if got[0].Kind != api.EventDropped || got[0].From != "1" || got[0].To != text(l.Last()-4) || got[0].ID != l.Last()-4 || got[4].ID != l.Last() {
		t.Errorf("%+v", got)
	}
}

func TestEventStreamKeepalive(t *testing.T) {
	l, _ := eventLog(t)
	rn := serve(t, &backend{log: l}, nil, func(s *Server) { s.keepalive = time.Millisecond })
	for s := rn.follow(t, "", ""); s.Scan(); {
		if s.Text() == ": keepalive" {
			return
		}
	}
	t.Error("a stream without events said nothing")
}

// An engine without events refuses to tell any, once and as a stream.
func TestNoEvents(t *testing.T) {
	rn := serve(t, &backend{}, func(o *Options) { o.Events = nil })
	for _, path := range []string{"/v1/events", "/v1/events?follow=1"} {
		status, body := rn.ask(t, "GET", path, "")
		if status != http.StatusNotImplemented || !strings.Contains(body, `"engine_lacks"`) || !strings.Contains(body, "hermes status") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := rn.ask(t, "GET", "/v1/events?limit=x", ""); status != http.StatusBadRequest {
		t.Errorf("a wrong question: %d", status)
	}
}
