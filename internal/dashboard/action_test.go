package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hermes/api"
	"hermes/internal/fault"
)

// press posts a form from a page; asJSON as the page's script does.
func press(t *testing.T, d http.Handler, path, from string, asJSON bool, form ...string) *httptest.ResponseRecorder {
	t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Referer", from)
	if asJSON {
		r.Header.Set("Accept", "application/json")
	}
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	return rec
}

func told(t *testing.T, rec *httptest.ResponseRecorder) (res result) {
	t.Helper()
	if err := json.Unmarshal(rec.Body.Bytes(), &res); err != nil {
		t.Fatalf("%s: %v", rec.Body, err)
	}
	return res
}

// Each button does its own thing, on behalf of who pressed it.
func TestActions(t *testing.T) {
	e := three()
	d := start(t, e, func(o *Options) { o.User = func(*http.Request) string { return "alicé" } })
	for _, tt := range []struct {
		path string
		form []string
		said string
		want result
	}{
		{"/profile/coder/stop", nil, "stop coder by dashboard alic?", result{OK: true, Verb: "stop", Profile: "coder", Message: "coder is stopped"}},
		{"/profile/coder/restart", nil, "restart coder by dashboard alic?", result{OK: true, Verb: "restart", Profile: "coder", Message: "coder is running"}},
		{"/profile/default/start", nil, "start default by dashboard alic?", result{OK: true, Verb: "start", Profile: "default", Message: "default is stopped"}},
		{"/profiles", []string{"name", " zoe "}, "create zoe by dashboard alic?", result{OK: true, Verb: "create", Profile: "zoe", Message: "created profile 'zoe', its gateway is down until you start it"}},
		{"/profile/zoe/rename", []string{"to", "yara"}, "rename zoe yara by dashboard alic?", result{OK: true, Verb: "rename", Profile: "yara", Message: "renamed profile 'zoe' to 'yara'"}},
		{"/profile/yara/delete", []string{"confirm", "yara"}, "delete yara by dashboard alic?", result{OK: true, Verb: "delete", Profile: "yara", Message: "deleted profile 'yara'"}},
	} {
		rec := press(t, d, tt.path, "http://h/", true, tt.form...)
		if got := told(t, rec); rec.Code != http.StatusOK || got != tt.want {
			t.Errorf("%s: %d %+v", tt.path, rec.Code, got)
		}
		if said := e.heard(); said[len(said)-1] != tt.said {
			t.Errorf("%s: the engine heard %q", tt.path, said[len(said)-1])
		}
	}
}

func TestActionsThatFail(t *testing.T) {
	e := three()
	e.act = func(_ context.Context, verb, name string) (api.ActionResult, error) {
		if verb == "restart" { // it came up and fell over
			return api.ActionResult{Gateway: api.Gateway{Slot: "gateway-" + name, State: "parked", Reason: "exit 78", Hint: "hermes why coder"}}, nil
		}
		return api.ActionResult{}, fault.New(fault.PortTaken, "port 9300 is taken").WithHint("hermes port list")
	}
	d := start(t, e, func(o *Options) { o.Address = func(hint string) string { return hint + " --home /x" } })
	for _, tt := range []struct {
		path   string
		status int
		want   result
	}{
		{"/profile/coder/start", http.StatusConflict, result{Verb: "start", Profile: "coder", Code: "port_taken", Message: "port 9300 is taken", Hint: "hermes port list --home /x"}},
		{"/profile/coder/restart", http.StatusConflict, result{Verb: "restart", Profile: "coder", Code: "gateway_failed", Message: "gateway-coder is parked: exit 78", Hint: "hermes why coder --home /x"}},
		{"/profile/coder/delete", http.StatusBadRequest, result{Verb: "delete", Profile: "coder", Code: "usage", Message: "profile 'coder' was not deleted: its name was not typed"}},
	} {
		rec := press(t, d, tt.path, "http://h/", true)
		if got := told(t, rec); rec.Code != tt.status || got != tt.want {
			t.Errorf("%s: %d %+v", tt.path, rec.Code, got)
		}
	}
	if slices.ContainsFunc(e.heard(), func(s string) bool { return strings.HasPrefix(s, "delete") }) {
		t.Error("a profile was deleted whose name nobody typed")
	}
	if rec := press(t, d, "/profile/coder/explode", "http://h/", true); rec.Code != http.StatusNotFound {
		t.Errorf("an action that is none: %d", rec.Code)
	}
	if rec := press(t, d, "/profiles", "http://h/", true, "name", strings.Repeat("x", maxForm)); rec.Code != http.StatusBadRequest {
		t.Errorf("a long form: %d", rec.Code)
	}
}

// Without the page's script the result is on the page one is sent back to, once.
func TestActionsWithoutScript(t *testing.T) {
	d := start(t, three(), nil)
	for from, want := range map[string]string{
		"http://h/?state=parked&q=x&result=old": "/?q=x&result=",
		"http://h/profile/coder":                "/profile/coder?result=",
		"":                                      "/?result=",
		"http://h//evil.example/":               "/?result=",
		"https://evil.example/login":            "/?result=",
		"http://h/profile/../..//evil":          "/?result=",
	} {
		rec := press(t, d, "/profile/coder/stop", from, false)
		to := rec.Header().Get("Location")
		if rec.Code != http.StatusSeeOther || !strings.HasPrefix(to, want) || strings.Contains(to, "evil.example") {
			t.Errorf("from %q: %d to %q", from, rec.Code, to)
		}
	}
	to := press(t, d, "/profile/coder/stop", "http://h/", false).Header().Get("Location")
	for i, shown := range []bool{true, false} {
		if _, page := get(t, d, to); strings.Contains(page, `<li class="ok" data-verb="stop" data-profile="coder"`) != shown {
			t.Errorf("visit %d of %s: shown is not %v", i, to, shown)
		}
	}
	to = press(t, d, "/profile/coder/delete", "http://h/profile/coder", false, "confirm", "coder").Header().Get("Location")
	if !strings.HasPrefix(to, "/?result=") {
		t.Errorf("after deleting to %q", to)
	}
	if got := told(t, press(t, d, "/profile/broken/rename", "http://h/profile/broken", true, "to", "mended")); !strings.HasPrefix(got.Location, "/profile/mended?result=") {
		t.Errorf("after renaming: %+v", got)
	}
}

// A double click is one click.
func TestDoubleClick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := three()
		e.happened = make(chan api.Event)
		release := make(chan struct{})
		e.act = func(_ context.Context, _, name string) (api.ActionResult, error) {
			<-release
			return api.ActionResult{Gateway: api.Gateway{Profile: name, State: "running"}}, nil
		}
		d := start(t, e, nil)
		done := make(chan result, 3)
		for _, path := range []string{"/profile/coder/restart", "/profile/coder/restart", "/profile/coder/stop"} {
			go func() { done <- told(t, press(t, d, path, "http://h/", true)) }()
		}
		synctest.Wait()
		if said := e.heard(); len(said) != 2 {
			t.Errorf("the engine heard %q", said)
		}
		close(release)
		for range 3 {
			if res := <-done; !res.OK {
				t.Errorf("%+v", res)
			}
		}
	})
}

func TestStatic(t *testing.T) {
	d := New(Options{Logger: discard()})
	for name, f := range d.files {
		for _, tt := range []struct{ path, cache string }{{d.files.address(name), "immutable"}, {"/static/" + name, "no-cache"}, {"/static/" + name + "?v=old", "no-cache"}} {
			rec := httptest.NewRecorder()
			d.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", tt.path, nil))
			if rec.Code != http.StatusOK || !strings.Contains(rec.Header().Get("Cache-Control"), tt.cache) || rec.Header().Get("Content-Type") != f.kind || f.kind == "" {
				t.Errorf("%s: %d %v", tt.path, rec.Code, rec.Header())
			}
		}
		if strings.Contains(string(f.text), "innerHTML") || strings.Contains(string(f.text), "://") && !strings.HasSuffix(name, ".svg") {
			t.Errorf("%s makes HTML of text, or names another host", name)
		}
	}
	if status, _ := get(t, d, "/static/none"); status != http.StatusNotFound {
		t.Errorf("no such file: %d", status)
	}
}

// A log that is read again goes on after what was shown.
func TestLogPlace(t *testing.T) {
	line := func(second, text string) string { return "2026-11-23T12:00:" + second + ".000000Z " + text }
	var p logPlace
	for _, reading := range []struct{ lines, want []string }{
		{[]string{"cut off", line("01", "a"), line("01", "b"), "goes on"}, []string{"cut off", line("01", "a"), line("01", "b"), "goes on"}},
		{[]string{line("00", "old"), line("01", "a"), line("01", "b"), "goes on", line("01", "c"), line("02", "d")}, []string{line("01", "c"), line("02", "d")}},
		{[]string{line("02", "d")}, nil},
		{[]string{line("05", "after a gap"), "goes on"}, []string{line("05", "after a gap"), "goes on"}},
	} {
		p.again()
		var got []string
		for _, l := range reading.lines {
			if p.news(l) {
				got = append(got, l)
			}
		}
		if !slices.Equal(got, reading.want) {
			t.Errorf("of %q: %q", reading.lines, got)
		}
	}
}
