package logfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// gate is a stdout that is stuck until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

// teed is what a tee shows of pieces of output.
func teed(t *testing.T, format Format, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	tee := NewTee(&out, format)
	clk := newClock()
	l := openLog(t, Options{Dir: t.TempDir(), Tee: tee, Profile: "coder", Now: clk.now})
	for _, p := range pieces {
		write(t, l, p)
	}
	_ = l.Close()
	must(t, tee.Close(t.Context()))
	return out.String()
}

func TestTeePlain(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"lines", []string{"a\nb\n"}, "[coder] a\n[coder] b\n"},
		{"partial lines", []string{"a", "b", "c\nd"}, "[coder] abc\n[coder] d\n"},
		{"empty line", []string{"\n"}, "[coder] \n"},
		{"carriage return", []string{"a\r\nb\rc\n"}, "[coder] a\n[coder] b\\x0dc\n"},
		{"tab and letters", []string{"a\tü 漢 👩‍💻\n"}, "[coder] a\tü 漢 👩‍💻\n"},
		{"escape", []string{"\x1b[31mred\x1b]0;title\x07\n"}, `[coder] \x1b[31mred\x1b]0;title\x07` + "\n"},
		{"C1 and DEL", []string{"\u009b31m\x7f\n"}, `[coder] \u009b31m\x7f` + "\n"},
		{"no UTF-8", []string{"\xff\x9b\x00\n"}, `[coder] \xff\x9b\x00` + "\n"},
		{"text from right to left", []string{"\u202egnp.exe \u2067x\u2069\n"}, `[coder] \u202egnp.exe \u2067x\u2069` + "\n"},
		{"another line for some", []string{"a\u2028b\n"}, `[coder] a\u2028b` + "\n"},
	} {
		if got := teed(t, Plain, c.pieces...); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTeeJSON(t *testing.T) {
	got := teed(t, JSON, "say \"hi\" \\o/\x1b[0m\xff\u009b\u2028\n", "\n")
	want := `{"ts":"2026-05-28T12:42:13.123456Z","profile":"coder","line":"say \"hi\" \\o/\u001b[0m` + "\ufffd" + `\u009b\u2028"}` + "\n" +
		`{"ts":"2026-05-28T12:42:13.123456Z","profile":"coder","line":""}` + "\n"
	if got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestTeeDividesLongLines(t *testing.T) {
	long := strings.Repeat("ü", maxTeeLine) // two pieces and a bit, at odd places
	for _, pieces := range [][]string{{long + "\n"}, {"x", long[:77], long[77:20_001], long[20_001:], "\n"}} {
		got := teed(t, Plain, pieces...)
		joined := ""
		for line := range strings.Lines(got) {
			if len(line) > maxTeeLine+len("[coder] \n") || !utf8.ValidString(line) {
				t.Errorf("a line of %d bytes, valid: %v", len(line), utf8.ValidString(line))
			}
			joined += strings.TrimSuffix(strings.TrimPrefix(line, "[coder] "), "\n")
		}
		if joined+"\n" != strings.Join(pieces, "") {
			t.Errorf("%d bytes came out", len(joined))
		}
	}
}

// FuzzLine: whatever a gateway prints, a line of the tee is one line, and holds
// nothing that steers a terminal; JSON is JSON, and says what was printed.
func FuzzLine(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("\x1b]52;c;\x07\r\n\u009b\u2029\xc2"))
	f.Add([]byte("\"\\\xff\xfe\u202e\ufffd"))
	f.Fuzz(func(t *testing.T, line []byte) {
		line = bytes.ReplaceAll(line, newline(), []byte(" "))
		for _, format := range []Format{Plain, JSON} {
			got := string(format.append(nil, []byte(testStamp), "coder", line))
			body, ended := strings.CutSuffix(got, "\n")
			bad := func(r rune) bool {
				return unicode.IsControl(r) && r != '\t' || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
			}
			if !ended || strings.ContainsFunc(body, bad) || !utf8.ValidString(body) {
				t.Fatalf("%s: %q", format, got)
			}
		}
		var v struct{ TS, Profile, Line string }
		out := JSON.append(nil, []byte(testStamp), "coder", line)
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		var want strings.Builder
		for _, r := range string(bytes.TrimSuffix(line, []byte("\r"))) {
			want.WriteRune(r)
		}
		if v.Line != want.String() || v.Profile != "coder" || v.TS+" " != testStamp {
			t.Fatalf("%q became %+v", line, v)
		}
	})
}

func TestPrintable(t *testing.T) {
	if got := Printable("a\tb\x1b[2J"); got != "a\tb\\x1b[2J" {
		t.Errorf("%q", got)
	}
}

// TestSlowTeeLosesAndCounts: stdout is stuck; the log is complete all the same,
// and when stdout goes on it says what it did not show.
func TestSlowTeeLosesAndCounts(t *testing.T) {
	g := newGate()
	tee := NewTee(g, Plain)
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Tee: tee, Profile: "coder"})
	const lines = 50_000
	for range lines / 500 {
		write(t, l, string(lines100(50_000)))
	}
	if s := l.Stats(); s.Bytes != lines*100 || s.Lost != 0 {
		t.Errorf("the log: %+v", s)
	}
	lost := tee.Stats().Lost
	if lost == 0 || lost > lines || !tee.Stats().Failing || l.Stats().TeeLost != lost {
		t.Fatalf("%+v, %+v", tee.Stats(), l.Stats())
	}
	close(g.open)
	eventually(t, "an empty buffer", func() bool {
		tee.mu.Lock()
		defer tee.mu.Unlock()
		return len(tee.pending.text) == 0
	})
	write(t, l, "after\n")
	must(t, tee.Close(t.Context()))
	out := g.buf.String()
	if n := int64(strings.Count(out, "[coder] 0")); n != lines-lost {
		t.Errorf("%d lines shown, %d lost, of %d", n, lost, lines)
	}
	want := fmt.Sprintf("[hermes] %d lines of output are missing here: standard output is not read fast enough\n[coder] after\n", lost)
	if !strings.HasSuffix(out, want) {
		t.Errorf("it ends with %q", out[max(0, len(out)-200):])
	}
	if s := tee.Stats(); s.Bytes != int64(len(out)) || s.Failing {
		t.Errorf("%+v, %d bytes", s, len(out))
	}
}

// limited is a stdout on a disk that is full after so many bytes.
type limited struct {
	mu   sync.Mutex
	left int
	buf  bytes.Buffer
}

func (w *limited) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(p), w.left)
	w.left -= n
	w.buf.Write(p[:n])
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}

// TestFailingTee counts what each log lost, and when there is space again it
// says on a line of its own how much that was in all.
func TestFailingTee(t *testing.T) {
	w := &limited{left: len("[anna] one\n[ber")}
	tee := NewTee(w, Plain)
	pool := NewPool()
	logs := map[string]*Log{}
	for _, name := range []string{"anna", "bert"} {
		logs[name] = openLog(t, Options{Dir: t.TempDir(), Tee: tee, Profile: name, Pool: pool})
	}
	lost := func(n int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d lines are lost", n), func() bool { return tee.Stats().Lost == n })
	}
	write(t, logs["anna"], "one\n")
	eventually(t, "it is written", func() bool { return tee.Stats().Bytes > 0 })
	write(t, logs["bert"], "two\n")
	lost(1)
	write(t, logs["anna"], "three\n")
	lost(2)
	write(t, logs["bert"], "four\nfive\n")
	lost(4)
	w.mu.Lock()
	w.left = 1 << 20
	w.mu.Unlock()
	if s := tee.Stats(); !s.Failing || s.Why != unix.ENOSPC.Error() {
		t.Errorf("%+v", s)
	}
	write(t, logs["anna"], "six\n")
	must(t, tee.Close(t.Context()))
	want := "[anna] one\n[ber\n[hermes] 4 lines of output are missing here: no space left on device\n[anna] six\n"
	if got := w.buf.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if a, b, s := logs["anna"].Stats().TeeLost, logs["bert"].Stats().TeeLost, tee.Stats(); a != 1 || b != 3 || s.Failing {
		t.Errorf("%d of anna's and %d of bert's, %+v", a, b, s)
	}
}

func TestGapIsMentionedAtClose(t *testing.T) {
	g := newGate()
	tee := NewTee(g, JSON)
	big := bytes.Repeat([]byte("x\n"), teeLimit/2)
	tee.add(new(stream), big, []byte(testStamp))
	eventually(t, "a write", func() bool { tee.mu.Lock(); defer tee.mu.Unlock(); return len(tee.pending.text) == 0 })
	tee.add(new(stream), big, []byte(testStamp))
	tee.add(new(stream), []byte("lost\n"), []byte(testStamp))
	close(g.open)
	must(t, tee.Close(t.Context()))
	lines := regexp.MustCompile(`(?m)^\{"ts":"[^"]+Z","profile":"hermes","line":"1 lines [^"]+"\}$`)
	if !lines.Match(g.buf.Bytes()[2*len(big):]) {
		t.Errorf("it ends with %q", g.buf.Bytes()[2*len(big):])
	}
	tee.add(new(stream), []byte("late\nlate\n"), []byte(testStamp))
	if s := tee.Stats(); s.Lost != 3 {
		t.Errorf("%+v", s)
	}
}

func TestCloseOfStuckTeeHasADeadline(t *testing.T) {
	g := newGate()
	tee := NewTee(g, Plain)
	tee.add(new(stream), []byte("x\n"), []byte(testStamp))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := tee.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(g.open)
	must(t, tee.Close(t.Context())) // twice is the same as once
	if g.buf.String() != "x\n" {
		t.Errorf("%q", g.buf.String())
	}
}

// TestClosedStdout: nobody reads stdout any more. With an *os.File as fd 1 Go
// would end the process, so another process plays this.
func TestClosedStdout(t *testing.T) {
	r, w := newPipe(t)
	_ = r.Close()
	cmd := actor(t, "unread", t.TempDir())
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

func playUnread(dir string) error {
	tee := NewTee(os.Stdout, Plain)
	l, err := Open(Options{Dir: dir, Tee: tee, Profile: "coder"})
	if err != nil {
		return err
	}
	if _, err := l.Write([]byte("a\nb\n")); err != nil {
		return err
	}
	if err := errors.Join(l.Close(), tee.Close(context.Background())); err != nil {
		return err
	}
	if s := tee.Stats(); s.Lost != 2 || s.Why != unix.EPIPE.Error() || !s.Failing || l.Stats().Bytes != 4 || l.Stats().TeeLost != 2 {
		return fmt.Errorf("%+v %+v", s, l.Stats())
	}
	return nil
}

// TestNonblockingStdout: another program that shares stdout made it nonblocking;
// it must be neither believed nor changed.
func TestNonblockingStdout(t *testing.T) {
	r, w := newPipe(t)
	must(t, r.enter())
	conn, err := w.SyscallConn()
	must(t, err)
	flags := func() (n int) {
		must(t, conn.Control(func(fd uintptr) { n, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }))
		must(t, err)
		return n
	}
	for _, nonblocking := range []bool{true, false} {
		must(t, conn.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), nonblocking) }))
		must(t, err)
		before := flags()
		tee := NewTee(w, Plain)
		const size = 500_000 // more than the pipe holds, less than the tee does
		for i := range 5 {
			tee.add(new(stream), bytes.Repeat([]byte(strconv.Itoa(i)+"\n"), size/10), []byte(testStamp))
		}
		n, err := io.CopyN(io.Discard, r.file, size)
		if err != nil || n != size {
			t.Errorf("%d %v", n, err)
		}
		must(t, tee.Close(t.Context()))
		if s := tee.Stats(); s.Lost != 0 || s.Bytes != size {
			t.Errorf("%+v", s)
		}
		if got := flags(); got != before {
			t.Errorf("flags %o became %o", before, got)
		}
	}
}
