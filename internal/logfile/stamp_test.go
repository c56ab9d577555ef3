package logfile

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

const testStamp = "2026-05-28T12:42:13.123456Z "

func TestStamp(t *testing.T) {
	local := time.FixedZone("CEST", 2*60*60)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{newClock().now(), testStamp},
		{time.Date(2026, 5, 28, 14, 42, 13, 0, local), "2026-05-28T12:42:13.000000Z "},
		{time.Unix(0, 0), "1970-01-01T00:00:00.000000Z "},
	} {
		if got := string(appendStamp(nil, c.at)); got != c.want || len(got) != stampLen {
			t.Errorf("%v: %q, want %q", c.at, got, c.want)
		}
	}
}

func TestFill(t *testing.T) {
	const s = testStamp
	roomy := room{1 << 20, 1 << 20}
	for _, c := range []struct {
		name   string
		in     string
		inLine bool
		room   room
		want   string
		n      int
	}{
		{"nothing", "", false, roomy, "", 0},
		{"a line", "a\n", false, roomy, s + "a\n", 2},
		{"empty lines", "\n\n", false, roomy, s + "\n" + s + "\n", 2},
		{"no newline", "a\nb", false, roomy, s + "a\n" + s + "b", 3},
		{"continued", "b\nc\n", true, roomy, "b\n" + s + "c\n", 4},
		{"only a newline", "\n", true, roomy, "\n", 1},
		{"carriage return and NUL", "a\x00\r\n", false, roomy, s + "a\x00\r\n", 4},
		{"soft end at a line", "a\nb\nc\n", false, room{31, 1 << 20}, s + "a\n" + s + "b\n", 4},
		{"soft end is no end within a line", "abcdef", false, room{30, 1 << 20}, s + "abcdef", 6},
		{"hard end within a line", "abcdef\n", false, room{10, 31}, s + "abc", 3},
		{"hard end within a continued line", "abcdef\n", true, room{0, 2}, "ab", 2},
		{"no room for a stamp", "a\nb\n", false, room{1 << 20, 30 + 28}, s + "a\n", 2},
	} {
		got, n := fill(nil, []byte(c.in), []byte(s), c.inLine, c.room)
		if string(got) != c.want || n != c.n {
			t.Errorf("%s: %q, %d, want %q, %d", c.name, got, n, c.want, c.n)
		}
	}
}

// FuzzFill cuts any bytes anywhere and fills chunks of any size: without the
// stamps, what comes out is what went in, and each line has one stamp.
func FuzzFill(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), uint8(1), uint8(40), uint8(60))
	f.Add([]byte("\n\n\n\x00\xff"+testStamp+"\n"), uint8(3), uint8(0), uint8(30))
	f.Add(bytes.Repeat([]byte("x"), 500), uint8(200), uint8(255), uint8(100))
	f.Fuzz(func(t *testing.T, in []byte, cut, soft, hard uint8) {
		r := room{int(soft), max(int(hard), stampLen+1)}
		var out, stored []byte
		inLine := false
		for rest := in; len(rest) > 0; {
			piece := rest[:min(len(rest), int(cut)+1)]
			rest = rest[len(piece):]
			for len(piece) > 0 {
				chunk, n := fill(out[:0], piece, []byte(testStamp), inLine, r)
				if n == 0 || len(chunk) > r.hard {
					t.Fatalf("%d of %d bytes in a chunk of %d, room %+v", n, len(piece), len(chunk), r)
				}
				if got := payload(chunk, inLine); got != n {
					t.Fatalf("payload %d, want %d in %q", got, n, chunk)
				}
				inLine = chunk[len(chunk)-1] != '\n'
				stored = append(stored, chunk...)
				piece = piece[n:]
			}
		}
		if got := unstamped(t, string(stored)); got != string(in) {
			t.Fatalf("%q came out as %q", in, got)
		}
		if want := strings.Count(string(in)+"x", "\n") + 1; len(in) > 0 {
			if in[len(in)-1] == '\n' {
				want--
			}
			if got := len(stored) - len(in); got != want*stampLen {
				t.Fatalf("%d bytes of stamps for %d lines", got, want)
			}
		}
	})
}

func TestPayloadOfTornChunk(t *testing.T) {
	chunk := []byte(testStamp + "ab\n" + testStamp + "c\n")
	for cut, want := range map[int]int{0: 0, 10: 0, 28: 0, 29: 1, 31: 3, 40: 3, 59: 3, 60: 4, 61: 5} {
		if got := payload(chunk[:cut], false); got != want {
			t.Errorf("cut at %d: %d, want %d", cut, got, want)
		}
	}
	if got := payload([]byte("ab\n"+testStamp+"c"), true); got != 4 {
		t.Errorf("continued line: %d, want 4", got)
	}
}
