package server

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// FuzzRequest sends any body to any route as any name: nothing but a checked
// request may reach the backend, and every answer is one a client can read.
func FuzzRequest(f *testing.F) {
	f.Add("coder", `{"by":"cli","timeout_ms":1500,"no_wait":true}`)
	f.Add("coder", `{"timeout_ms":1e300}`)
	f.Add("..", `{"to":"../../etc","name":"\u0000"}`)
	f.Add("Coder", `{"by":"\u001b[2J"}`)
	f.Add("", "null")
	f.Add("%2e%2e%2f", "[")
	f.Fuzz(func(t *testing.T, name, body string) {
		b := &backend{all: func(context.Context, func(api.ActionResult)) error { return nil }}
		b.act = func(_ context.Context, n profile.Name, r profile.Request) (api.ActionResult, error) {
			if _, err := profile.Parse(string(n)); err != nil || r.Timeout < 0 || r.Timeout > maxWait || strings.ContainsAny(r.By, "\n\x1b\x00") {
				t.Errorf("the backend was asked for %q with %+v", n, r)
			}
			return api.ActionResult{}, nil
		}
		s := New(Options{Fleet: b, Inspector: b, Operator: b, Profiles: b, Planner: b, Events: b, Allowed: AllowUIDs(), Logger: discard()})
		defer s.killNow()
		for _, rt := range routes() {
			r := httptest.NewRequest(rt.method, "/", strings.NewReader(body))
			r.SetPathValue("profile", name)
			r.SetPathValue("name", name)
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{}))
			w := &writer{ResponseWriter: httptest.NewRecorder()}
			err := s.answer(rt, w, r)
			if err == nil {
				continue
			}
			switch fault.CodeOf(err) {
			case fault.Usage, fault.InvalidName, fault.GatewayNotRegistered:
			default:
				t.Errorf("%s %s %q: %v", rt.method, rt.pattern, body, err)
			}
			if w.status != 0 {
				t.Errorf("%s %s %q: an answer (%d) and an error: %v", rt.method, rt.pattern, body, w.status, err)
			}
		}
	})
}

// FuzzEventQuery: whatever an address asks of events, the log is asked for no
// more than it is to give, and what cannot be meant is refused.
func FuzzEventQuery(f *testing.F) {
	f.Add("after=7&limit=3&profile=coder", "")
	f.Add("follow=1", "18446744073709551615")
	f.Add("follow=1&after=x", "-1")
	f.Add("limit=99999999999999999999&profile=../x", "\n")
	f.Add("after=%31&follow=0;limit=1", "8")
	f.Fuzz(func(t *testing.T, query, last string) {
		r := httptest.NewRequest("GET", "/v1/events", nil)
		r.URL.RawQuery = query
		r.Header["Last-Event-Id"] = []string{last}
		q, _, err := eventQuery(r)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.Usage && code != fault.InvalidName {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if q.Limit < 1 || q.Limit > maxEvents || q.Newest && q.After != 0 {
			t.Errorf("%q: %+v", query, q)
		}
		if _, err := profile.Parse(q.Profile); q.Profile != "" && err != nil {
			t.Errorf("%q asks for %q", query, q.Profile)
		}
	})
}
