package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func FuzzDecode(f *testing.F) {
	for _, m := range []*Message{
		{Op: OpHello, Seq: 1, Version: Version},
		{Op: OpSpawn, Seq: 2, Slot: "gateway-a", Generation: 7, Spec: &Spec{
			Path: "/bin/true", Dir: "/", Argv: []string{"true", ""}, Env: []string{"A=\xff"},
			Credential: &Credential{UID: 1, GID: 2, Groups: []uint32{3}}, Grace: time.Second,
		}},
		{Op: OpReply, Seq: 3, PID: 1, Stamp: "s", Runtime: "/run/x"},
		{Op: OpReply, Seq: 4, Runs: []RunInfo{{Slot: "a", Log: true, Exit: &Exit{Code: -1, Signal: 9}}}, More: true},
		{Op: OpExited, Slot: "a", Exit: &Exit{}},
	} {
		b, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{"", "\x00", "{}", `{"op":"spawn","spec":{"argc":-1,"envc":5}}` + "\x00\x00\x00\x00\x00", `{"op":"spawn","spec":{"argc":9223372036854775807}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("%v is not %v", err, errMalformed)
			}
			return
		}
		if m.Op == "" || m.Spec != nil && (len(m.Spec.Argv) != m.Spec.Argc || len(m.Spec.Env) != m.Spec.Envc) {
			t.Fatalf("decoded %+v", m)
		}
		again, err := Encode(m)
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("cannot encode what was decoded: %v", err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("cannot decode %q: %v", again, err)
		}
		if third, err := Encode(back); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("encoded %q, then %q (%v)", again, third, err)
		}
	})
}

func TestSpawnRoundTrip(t *testing.T) {
	// Any bytes but NUL: an environment need not be UTF-8.
	text := rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 20).Draw(t, "bytes"))
	})
	rapid.Check(t, func(t *rapid.T) {
		s := &Spec{
			Path: text.Draw(t, "path"), Dir: text.Draw(t, "dir"), Notify: text.Draw(t, "notify"), Lock: text.Draw(t, "lock"),
			Argv: rapid.SliceOfN(text, 1, 5).Draw(t, "argv"), Env: rapid.SliceOfN(text, 1, 5).Draw(t, "env"),
			Signal: rapid.IntRange(0, 64).Draw(t, "signal"), Main: rapid.Bool().Draw(t, "main"),
		}
		b, err := Encode(&Message{Op: OpSpawn, Spec: s})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		want := *s
		want.Argc, want.Envc = len(s.Argv), len(s.Env)
		if !reflect.DeepEqual(*m.Spec, want) {
			t.Fatalf("sent %+v, got %+v", want, *m.Spec)
		}
	})
}

func TestEncodeRefuses(t *testing.T) {
	spec := func(env string) *Message {
		return &Message{Op: OpSpawn, Spec: &Spec{Argv: []string{"x"}, Env: []string{env}}}
	}
	if _, err := Encode(spec(strings.Repeat("x", MaxFrame))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large message: %v, want ErrTooLarge", err)
	}
	if _, err := Encode(spec("a\x00b")); err == nil || errors.Is(err, ErrTooLarge) {
		t.Errorf("a NUL in a variable: %v, want an error", err)
	}
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	m, err := Decode([]byte(`{"op":"hello","seq":1,"from":"the future"}` + "\x00later\x00"))
	if err != nil || m.Op != OpHello || m.Seq != 1 {
		t.Errorf("decoded %+v, %v", m, err)
	}
}

func TestValidSlot(t *testing.T) {
	for slot, want := range map[string]bool{
		"gateway-default": true, "dashboard": true, "a.b_C-9": true,
		"": false, ".": false, "..": false, ".hidden": false, "a/b": false, "a b": false, "a\n": false, "ä": false,
		strings.Repeat("a", maxSlot): true, strings.Repeat("a", maxSlot+1): false,
	} {
		if ValidSlot(slot) != want {
			t.Errorf("ValidSlot(%q) is %v", slot, !want)
		}
	}
}
