package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"hermes/internal/testkit"
)

func TestLinesAreStamped(t *testing.T) {
	c := newClock()
	dir := filepath.Join(t.TempDir(), "logs", "gateways", "coder")
	l := openLog(t, Options{Dir: dir, Now: c.now})
	write(t, l, "one\ntwo\n")
	c.advance(time.Second)
	write(t, l, "three\n")
	want := testStamp + "one\n" + testStamp + "two\n2026-05-28T12:42:14.123456Z three\n"
	if got := content(t, dir); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s := l.Stats(); s != (Stats{Bytes: 14}) {
		t.Errorf("%+v", s)
	}
}

func TestPartialLineIsContinued(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: c.now})
	write(t, l, "a")
	c.advance(time.Minute)
	write(t, l, "b")
	_ = l.Close()
	l = openLog(t, Options{Dir: dir, Now: c.now}) // the successor of a supervisor
	write(t, l, "c\nd\n")
	if got, want := content(t, dir), testStamp+"abc\n2026-05-28T12:43:13.123456Z d\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFreshSetsUnfinishedAside(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: c.now, Fresh: true})
	write(t, l, "whole\n")
	_ = l.Close()
	l = openLog(t, Options{Dir: dir, Now: c.now, Fresh: true})
	write(t, l, "cut")
	if got := fileNames(t, dir); len(got) != 1 {
		t.Fatalf("a finished line was set aside: %v", got)
	}
	_ = l.Close()
	l = openLog(t, Options{Dir: dir, Now: c.now, Fresh: true})
	write(t, l, "new\n")
	names := fileNames(t, dir)
	if len(names) != 2 || !strings.HasSuffix(names[0], ".u") {
		t.Fatalf("%v", names)
	}
	b, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil || string(b) != testStamp+"new\n" {
		t.Errorf("%q %v", b, err)
	}
}

func TestRotation(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: c.now, MaxSize: minMaxSize, MaxFiles: 4})
	var want []string
	for i := range 1000 {
		if i%100 == 50 {
			c.advance(-time.Hour) // order of names stays order of writing
		}
		line := fmt.Sprintf("line %d\n", i)
		want = append(want, line)
		write(t, l, line)
	}
	names := fileNames(t, dir)
	if len(names) != 4 || names[3] != current {
		t.Fatalf("%v", names)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > minMaxSize || b[len(b)-1] != '\n' || name != current && len(b) < minMaxSize-2000 {
			t.Errorf("%s has %d bytes and ends with %q", name, len(b), b[len(b)-1])
		}
	}
	got := unstamped(t, content(t, dir))
	kept := strings.Count(got, "\n")
	if got != strings.Join(want[len(want)-kept:], "") {
		t.Errorf("not the last lines in their order:\n%s", got)
	}
}

func TestDefaultIsTenFilesOfOneMegabyte(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	write(t, l, string(lines100(12_000_000)))
	names := fileNames(t, dir)
	var size int64
	for _, name := range names {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if len(names) != 10 || size < 9_000_000 || size > 10_000_000 {
		t.Errorf("%d files, %d bytes", len(names), size)
	}
}

func TestLongLineIsDividedWithoutSecondStamp(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 100})
	long := strings.Repeat("0123456789", 2000) + "\n"
	write(t, l, "before\n")
	write(t, l, long[:12345])
	_ = l.Close()
	l = openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 100})
	write(t, l, long[12345:]+"after\n")
	if got := unstamped(t, content(t, dir)); got != "before\n"+long+"after\n" {
		t.Errorf("%d bytes came out", len(got))
	}
	if n := len(fileNames(t, dir)); n != 6 {
		t.Errorf("%d files", n)
	}
}

// TestWhatGoesInComesOut: whatever is written, cut wherever, over any number of
// rotations and successors.
func TestWhatGoesInComesOut(t *testing.T) {
	base := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		dir := filepath.Join(base, fmt.Sprint(run))
		c := newClock()
		o := Options{
			Dir: dir, Now: c.now, MaxFiles: 1 << 20,
			MaxSize: int64(rapid.IntRange(minMaxSize, 3*minMaxSize).Draw(rt, "size")),
		}
		l := openLog(t, o)
		piece := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 50),
			rapid.Custom(func(rt *rapid.T) []byte {
				line := strings.Repeat("x", rapid.IntRange(0, 3000).Draw(rt, "length"))
				return []byte(strings.Repeat(line+"\n", rapid.IntRange(1, 5).Draw(rt, "lines")))
			}),
			rapid.Just([]byte(strings.Repeat("\n", 300))),
			rapid.Just([]byte(testStamp)),
		)
		var in strings.Builder
		for range rapid.IntRange(1, 20).Draw(rt, "writes") {
			p := piece.Draw(rt, "piece")
			in.Write(p)
			write(t, l, string(p))
			c.advance(time.Duration(rapid.IntRange(-2000, 2000).Draw(rt, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 4).Draw(rt, "successor") == 0 {
				_ = l.Close()
				l = openLog(t, o)
			}
		}
		if s := l.Stats(); s.Lost != 0 {
			rt.Fatalf("%+v", s)
		}
		if got := unstamped(t, content(t, dir)); got != in.String() {
			rt.Fatalf("%q came out as %q", in.String(), got)
		}
		_ = l.Close()
		_ = os.RemoveAll(dir)
	})
}

func TestWriteAfterCloseIsLost(t *testing.T) {
	l := openLog(t, Options{Dir: t.TempDir()})
	_ = l.Close()
	_ = l.Close()
	if n, err := l.Write([]byte("abc")); n != 0 || err != os.ErrClosed {
		t.Errorf("%d %v", n, err)
	}
	if s := l.Stats(); s.Lost != 3 {
		t.Errorf("%+v", s)
	}
}

func TestLose(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: c.now})
	write(t, l, "par")
	l.Lose(100, "no supervisor")
	l.Lose(0, "nothing")
	write(t, l, "after\n")
	want := testStamp + "par\n" + testStamp + "hermes: 100 bytes of output lost here: no supervisor\n" + testStamp + "after\n"
	if got := content(t, dir); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s := l.Stats(); s.Lost != 100 || s.Dropped != 100 || s.LostLines != 0 || s.Bytes != 9 || !s.LostAt.Equal(c.t) || s.Failing {
		t.Errorf("%+v", s)
	}
}

// TestLossesAreToldApart: what the file did not take and what never came here.
func TestLossesAreToldApart(t *testing.T) {
	c := newClock()
	dir := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(dir, nil, 0o600))
	l := openLog(t, Options{Dir: dir, Now: c.now})
	l.Lose(100, "no supervisor")
	write(t, l, "one\ntw")
	c.advance(10 * time.Second)
	write(t, l, "o\n")
	s := l.Stats()
	if s.Lost != 108 || s.Dropped != 100 || s.LostLines != 2 || !s.LostAt.Equal(c.t) || !s.Failing {
		t.Errorf("%+v", s)
	}
	must(t, os.Remove(dir))
	c.advance(patience)
	must(t, l.Close()) // nobody has said anything since
	stamp := string(appendStamp(nil, c.t))
	want := stamp + "hermes: 100 bytes of output lost here: no supervisor\n" +
		stamp + "hermes: 8 bytes of output lost here (2 lines, since 2026-05-28T12:42:13Z): " + s.LastError + "\n"
	if got := content(t, dir); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOpenRefusesOptionsThatCannotWork(t *testing.T) {
	for _, o := range []Options{
		{},
		{Dir: "relative/dir"},
		{Dir: "/"},
		{Dir: "/a/b", Home: "/c"},
		{Dir: "/a/b", Home: "/a/b"},
		{Dir: "/a/../b", Home: "/a"},
		{Dir: "/a/b", Home: "a"},
	} {
		if l, err := Open(o); err == nil {
			_ = l.Close()
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestOwnerGetsWhatIsMade(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root can give files away")
	}
	home := t.TempDir()
	dir := filepath.Join(home, "logs", "gateways", "coder")
	if err := os.Mkdir(filepath.Join(home, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, Options{Dir: dir, Home: home, Owner: &Owner{10000, 10001}, MaxSize: minMaxSize})
	write(t, l, string(lines100(10_000)))
	if n := len(fileNames(t, dir)); n < 3 {
		t.Fatalf("%d files", n)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range append(paths, dir, filepath.Dir(dir)) {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Uid != 10000 || st.Gid != 10001 || st.Mode&0o007 != 0 {
			t.Errorf("%s: %d:%d %o %v", path, st.Uid, st.Gid, st.Mode, err)
		}
	}
	var st unix.Stat_t // was there before
	if err := unix.Lstat(filepath.Join(home, "logs"), &st); err != nil || st.Uid != 0 {
		t.Errorf("a directory that was not made here was given away: %d %v", st.Uid, err)
	}
}

func TestManyArchivesAreReducedToTheNewest(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i := range 30 {
		name := archiveName(label{tai, uint32(i)}, safe)
		names = append(names, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, archiveName(label{tai - 1, 0}, safe)), 0o700); err != nil {
		t.Fatal(err) // no log: neither counted against us nor an obstacle
	}
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 6})
	write(t, l, string(lines100(4000)))
	got := fileNames(t, dir)
	// Two files were filled, so three of the old ones and current make six.
	if len(got) != 7 || !slices.Equal(got[1:4], names[27:]) || l.Stats().Lost != 0 {
		t.Errorf("%v, %+v", got, l.Stats())
	}
}

func TestOnlySoManyFilesAreOpen(t *testing.T) {
	const logs = maxOpenFiles + 40
	home, pool := t.TempDir(), NewPool()
	var all []*Log
	for i := range logs {
		all = append(all, openLog(t, Options{Dir: filepath.Join(home, fmt.Sprint(i)), Pool: pool}))
	}
	if n := openFiles(all); n != 0 {
		t.Fatalf("%d files are open before anything was written", n)
	}
	for _, part := range []string{"one\nha", "lf\n"} {
		for _, l := range all {
			write(t, l, part)
		}
		if n := openFiles(all); n != maxOpenFiles {
			t.Errorf("%d files are open, want %d", n, maxOpenFiles)
		}
	}
	for i, l := range all {
		if got := unstamped(t, content(t, filepath.Join(home, fmt.Sprint(i)))); got != "one\nhalf\n" {
			t.Fatalf("log %d: %q", i, got)
		}
		must(t, l.Close())
	}
	if len(pool.files) != 0 {
		t.Errorf("%d closed logs are remembered", len(pool.files))
	}
}

// A line whose end nobody will write is ended although its file was closed in
// the middle of it.
func TestLineOfAFileThatRestsIsEnded(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	write(t, l, "half")
	if !l.rest() {
		t.Fatal("the log is busy")
	}
	l.endLine()
	if got := unstamped(t, content(t, dir)); got != "half\n" {
		t.Errorf("%q", got)
	}
}

func openFiles(all []*Log) (n int) {
	for _, l := range all {
		l.mu.Lock()
		if l.file != nil {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

// So is the one that the supervisor before this one has left.
func TestLineOfTheSupervisorBeforeIsEnded(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	write(t, l, "half")
	must(t, l.Close())
	openLog(t, Options{Dir: dir}).endLine()
	if got := unstamped(t, content(t, dir)); got != "half\n" {
		t.Errorf("%q", got)
	}
}
