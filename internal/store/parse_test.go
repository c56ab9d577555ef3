package store

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"hermes/internal/profile"
)

func seedState(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"intent":"running","generation":3,"changed_at":"2026-11-23T04:05:06Z","changed_by":"cli"}`,
		`{"version":1,"intent":"stopped","changed_by":"\u001b[2J\u0000 you"}`,
		`{"version":1,"state":"parked","reason":"\u001b[2J","exits":[{"signal":"\u001b"}]}`,
		`{"version":1,"state":"parked","failures":2,"port":9200,"exits":[{"run":1,"code":78,"reason":"x"}]}`,
		`{"gateway_state":"running","desired_state":"stopped","pid":7,"updated_at":"2026-11-23T04:05:06Z"}`,
		`{"version":99}`, `{"pid":1e999}`, `{"pid":4194305}`, "", "null", "[]", `{"version":1,"intent":"running"} x`, "\xff", `{"a":"\u0000\ud800"}`,
	} {
		f.Add([]byte(s))
	}
}

func FuzzIntent(f *testing.F) {
	seedState(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseIntent(data)
		if err != nil {
			return
		}
		if r.Validate() != nil || strings.ContainsAny(r.ChangedBy, "\x00\x1b") || len(r.ChangedBy) > maxReason {
			t.Fatalf("%q gave %+v", data, r)
		}
		written, err := encode(r)
		if err != nil {
			return // a year beyond 9999 can be read and not be written
		}
		again, err := parseIntent(written)
		if err != nil || !reflect.DeepEqual(again, r) && !again.ChangedAt.Equal(r.ChangedAt) {
			t.Fatalf("%q gave %+v, then %+v, %v", data, r, again, err)
		}
	})
}

func FuzzSupervision(f *testing.F) {
	seedState(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSupervision(data)
		if err != nil {
			return
		}
		text := s.Reason + s.Keeper
		for _, e := range s.Exits {
			text += e.Reason + e.Signal
		}
		if len(s.Exits) > profile.MaxExits || s.Failures < 0 || s.Port > 65535 || strings.ContainsAny(text, "\x00\x1b") || !utf8.ValidString(text) {
			t.Fatalf("%q gave %+v", data, s)
		}
	})
}

func FuzzLegacy(f *testing.F) {
	seedState(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLegacy(data)
		if err != nil {
			return
		}
		if !json.Valid(data) || l.PID < 0 || l.PID > maxPID || strings.ContainsAny(l.GatewayState+l.DesiredState+l.ExitReason, "\x00\x1b") {
			t.Fatalf("%q gave %+v", data, l)
		}
	})
}

func FuzzPID(f *testing.F) {
	seedState(f)
	f.Add([]byte(" 42\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if pid := parsePID(data); pid < 0 || pid > maxPID {
			t.Fatalf("%q gave %d", data, pid)
		}
	})
}

// A good file that replaced the bad one before it was set aside stays.
func TestSetAsideOfTheWrongFile(t *testing.T) {
	h, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p, err := h.Profile(profile.Default)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := os.WriteFile(p.at(intentFile), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad, err := os.Lstat(p.at(intentFile))
	if err != nil {
		t.Fatal(err)
	}
	good := profile.IntentRecord{Version: 1, Intent: profile.Running, Generation: 9}
	if err := p.WriteIntent(good); err != nil {
		t.Fatal(err)
	}
	if _, err := p.setAside(intentFile, bad); err != nil {
		t.Fatal(err)
	}
	if r, state, err := p.Intent(); state != Valid || r.Generation != 9 {
		t.Errorf("%v, %v, %v", r, state, err)
	}
}

func TestQuote(t *testing.T) {
	for path, want := range map[string]string{"/opt/data": "/opt/data", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "": "''", "/$x;": "'/$x;'"} {
		if got := quote(path); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
}
