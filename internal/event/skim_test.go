package event

import (
	"testing"
	"time"

	"hermes/api"
)

// FuzzSkim: what is skimmed of a line is what reading it gives; a line that is
// not skimmed is read.
func FuzzSkim(f *testing.F) {
	code := 78
	for _, e := range []api.Event{
		{ID: 7, At: time.Unix(1, 0).UTC(), Kind: "state", Profile: "coder", Slot: "gateway-coder", From: "running", To: "parked", Health: "unknown", Cause: "exit 78", PID: 4},
		{ID: 8, Kind: "intent", Slot: "dashboard", To: "running", Generation: 3, By: "cli uid 7"},
		{ID: 9, Kind: "state", Slot: "gateway-a", To: "backoff", Exit: &api.Exit{Code: &code}},
	} {
		f.Add(Append(nil, &e))
	}
	for _, line := range []string{
		"", "{", "{}", `{"id":7}`, `{"id":7,"kind":"x"`, `{"id":7,"kind":"x",}`, `{"id":07,"kind":"x"}`, `{"id":,"kind":"x"}`,
		`{"id":7,"kind":"x","exit":{}}`, `{"id":7,"kind":"x","exit":null}}`, `{"id":7,"kind":"x","id":8}`, `{"id":7,"kind":"x","KIND":"y"}`, `{"id":7,"kind":"\u0078"}`,
		"{\"id\":1,\"kind\":\"state\",\"profile\":\"\xff\",\"slot\":\"0\"}", "{\"id\":1,\"kind\":\"state\",\"slot\":\"0\",\"\xff\":\"1\"}",
		`{"id":1,"kind":"x","slot":"0","KIND":"state"}`, `{"id":1,"kind":"state","slot":"0","ſlot":"1"}`, `{"id":1,"kind":"state","slot":"0","ID":2}`,
		`{"id":1,"kind":"state","slot":"0","exit":{},"slot":"1","exit":{}}`, `{"id":1,"kind":"state","slot":"0","exit":{},"x":{"exit":{}}}`,
		`{"id":1,"kind":"state","slot":"0","exit":{"strays":[{"pid":2}]},"to":"x","x":{}}`, `{"id":1,"kind":"state","slot":"0","exit":{"reason":"}}"}}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s := skimmer{words: map[string]string{}}
		var fast, slow api.Event
		if !s.skim(line, &fast) || Parse(line, &slow) != nil {
			return // what makes no sense to either costs itself only
		}
		table, same := Table{}, Table{}
		table.Apply(&fast)
		same.Apply(&slow)
		if fast.ID != slow.ID || len(table) != len(same) || table[fast.Slot] != same[slow.Slot] {
			t.Errorf("%s: %+v, read %+v", line, fast, slow)
		}
	})
}

// TestSkim: what the log writes is skimmed.
func TestSkim(t *testing.T) {
	code := 1
	e := api.Event{
		ID: 7, At: time.Unix(1, 0).UTC(), Kind: "state", Profile: "coder", Slot: "gateway-coder", From: "running", To: "backoff", Health: "unknown",
		Cause: "exit 1", PID: 4, Exit: &api.Exit{Code: &code, Started: time.Unix(1, 0)},
	}
	for _, exit := range []*api.Exit{e.Exit, nil} {
		e.Exit = exit
		var got api.Event
		if s := (skimmer{words: map[string]string{}}); !s.skim(Append(nil, &e), &got) || got.To != "backoff" || got.ID != 7 {
			t.Errorf("%s is not skimmed", Append(nil, &e))
		}
	}
}

// FuzzContent: whatever a file holds, what is read of it are events with ids
// that ascend between the bounds asked for.
func FuzzContent(f *testing.F) {
	f.Add([]byte("{\"after\":7,\"slots\":[{\"slot\":\"gateway-a\"}]}\n{\"id\":8,\"kind\":\"state\",\"slot\":\"gateway-a\"}\n{\"id\":8,\"kind\":\"state\"}\n"), uint64(7), uint64(9))
	f.Add([]byte("{\"after\":7}\n\n{\"id\":9,\"kind\":\"x\"}\nx\n{\"id\":8,\"ki"), uint64(0), uint64(1<<60))
	f.Fuzz(func(t *testing.T, data []byte, after, before uint64) {
		c := parseContent(data, 0)
		last := after
		each := func(e *api.Event) bool {
			if e.ID <= last || e.ID >= before || e.ID > maxID || e.Kind == "" {
				t.Errorf("%+v follows %d", e, last)
			}
			last = e.ID
			return true
		}
		c.each(after, before, each)
		last, before = after, maxID+1
		c.skim(after, each)
	})
}
