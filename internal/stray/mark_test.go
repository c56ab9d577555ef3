package stray

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMark(t *testing.T) {
	for in, want := range map[string]Mark{
		"gateway-anna.17@0a":  {"gateway-anna", 17, "0a"},
		"gateway-a.b.17@0a@b": {"gateway-a.b", 17, "0a@b"},
		"gateway-anna.17":     {"gateway-anna", 17, ""}, // as hermes wrote it once: of no lineage
	} {
		if got, ok := ParseMark(in); !ok || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "@", ".1@x", "gateway-anna@x", "gateway-anna.@x", "gateway-anna.1@", "gateway-anna.-1@x",
		"gateway-anna.01@x", "gateway-anna.+1@x", "gateway-anna.1 @x", "gateway-anna.18446744073709551616@x",
	} {
		if got, ok := ParseMark(in); ok {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
}

func TestMarkRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Mark{
			Slot:       rapid.StringMatching(`gateway-[a-z0-9._-]{1,64}`).Draw(t, "slot"),
			Generation: rapid.Uint64().Draw(t, "generation"),
			Lineage:    rapid.StringMatching(`[0-9a-f]{0,16}`).Draw(t, "lineage"),
		}
		if got, ok := ParseMark(want.String()); !ok || got != want {
			t.Fatalf("%q is read as %+v, %v", want, got, ok)
		}
	})
}

func TestFindMark(t *testing.T) {
	for _, c := range []struct {
		environ, want string
		ok            bool
	}{
		{"", "", false},
		{"A=b\x00HERMES_SLOT_ID=x.1@y\x00C=d\x00", "x.1@y", true},
		{"HERMES_SLOT_ID=x.1@y", "x.1@y", true},
		{"HERMES_SLOT_ID=first\x00HERMES_SLOT_ID=second\x00", "first", true},
		{"HERMES_SLOT_ID=\x00", "", true},
		{"\x00\x00\x00HERMES_SLOT_ID=x\x00", "x", true},
		{"XHERMES_SLOT_ID=x\x00A=HERMES_SLOT_ID=x\x00HERMES_SLOT_IDS=x\x00hermes_slot_id=x\x00", "", false},
		{"nginx: master process /usr/sbin/nginx", "", false}, // written over it
	} {
		if got, ok := findMark([]byte(c.environ)); got != c.want || ok != c.ok {
			t.Errorf("%q: got %q, %v, want %q, %v", c.environ, got, ok, c.want, c.ok)
		}
	}
}

func FuzzFindMark(f *testing.F) {
	f.Add([]byte("A=b\x00HERMES_SLOT_ID=gateway-anna.1@x\x00"))
	f.Add([]byte("HERMES_SLOT_ID\x00=\x00\x00"))
	f.Add([]byte("HERMES_SLOT_ID=HERMES_SLOT_ID=gateway-anna.1"))
	f.Fuzz(func(t *testing.T, environ []byte) {
		value, ok := findMark(environ)
		if ok != (strings.HasPrefix(string(environ), Variable+"=") || strings.Contains(string(environ), "\x00"+Variable+"=")) {
			t.Errorf("%q: found %v", environ, ok)
		}
		if m, ok := ParseMark(value); ok && m.String() != value {
			t.Errorf("%q is read as %+v", value, m)
		}
	})
}

func FuzzParseChildren(f *testing.F) {
	f.Add([]byte("1 22 333 "))
	f.Add([]byte("-1 x 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, pid := range parseChildren(b) {
			if pid <= 0 {
				t.Errorf("%q: pid %d", b, pid)
			}
		}
	})
}
