package event_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/event"
)

func eventDir(home string) string { return filepath.Join(home, "logs", "events") }

// size is what the events of a home take on disk, and in how many files.
func size(t *testing.T, home string) (bytes int64, files int) {
	t.Helper()
	entries, err := os.ReadDir(eventDir(home))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		st, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += st.Size()
	}
	return bytes, len(entries)
}

func readHome(t *testing.T, home string, q event.Query) api.EventList {
	t.Helper()
	list, err := event.ReadHome(home, q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestBounds: a fleet that flaps for ever takes the space it is allowed, what
// is kept has no gap and says what is gone, and the last file alone says what
// is known of each slot.
func TestBounds(t *testing.T) {
	home := t.TempDir()
	o := event.Options{Home: home, MaxSize: 16384, MaxFiles: 3, Ring: 20}
	l := open(t, o)
	l.Emit(api.Event{Kind: api.EventIntent, Profile: "quiet", Slot: "gateway-quiet", To: "running", Generation: 3})
	first := l.Last()
	for range 100 {
		emitMany(l, 7)
		l.Flush()
	}
	bytes, files := size(t, home)
	if files > 3 || bytes > 3*(16384+4096) {
		t.Errorf("%d bytes in %d files", bytes, files)
	}
	all := readHome(t, home, event.Query{})
	oldest, newest := all.Events[0].ID, all.Events[len(all.Events)-1].ID
	if !all.Gone || newest != l.Last() || len(all.Events) != int(newest-oldest)+1 {
		t.Errorf("%d events from %d to %d, gone %v", len(all.Events), oldest, newest, all.Gone)
	}
	for after, gone := range map[uint64]bool{first: true, oldest - 2: true, oldest - 1: false, newest: false} {
		if got := l.Page(event.Query{After: after, Limit: 1}); got.Gone != gone {
			t.Errorf("after %d: gone %v", after, got.Gone)
		}
	}
	next := open(t, o)
	if got := next.Before()["gateway-quiet"]; got.Intent != "running" || got.Generation != 3 {
		t.Errorf("what was told of a quiet slot long ago is %+v", got)
	}
	next.Emit(state("p0", "a", "b"))
	if got := next.Page(event.Query{Newest: true, Limit: 150}); len(got.Events) != 150 || got.Events[148].ID != newest {
		t.Errorf("%d newest, the last but one is %d, want %d", len(got.Events), got.Events[148].ID, newest)
	}
}

// TestReaderAtItsOwnPace reads all there is in small pieces, while more comes
// and files are filled: from the files first, then from memory, each event once.
func TestReaderAtItsOwnPace(t *testing.T) {
	l := open(t, event.Options{Home: t.TempDir(), MaxSize: 8192, MaxFiles: 100, Ring: 32})
	var got []api.Event
	q := event.Query{Limit: 5}
	for range 400 {
		l.Emit(state("anna", "a", "b"))
		if l.Last()%3 == 0 {
			l.Flush()
		}
		list := l.Page(q)
		got, q.After = append(got, list.Events...), list.Last
		if list.Gone {
			t.Fatal("what was not read yet is gone")
		}
	}
	ascending(t, got)
	if got[len(got)-1].ID != l.Last() || len(got) != 400 {
		t.Errorf("%d events read, the last %d, want 400 and %d", len(got), got[len(got)-1].ID, l.Last())
	}
}

// TestSlowReader: who comes back to a log in memory after too long is told that
// something is gone, and goes on with the oldest there is.
func TestSlowReader(t *testing.T) {
	l := open(t, event.Options{Ring: 10})
	before := l.Last()
	emitMany(l, 25)
	list, err := l.Next(t.Context(), event.Query{After: before})
	if err != nil || !list.Gone || len(list.Events) != 10 || list.Events[0].ID != before+16 {
		t.Errorf("%+v, %v", list, err)
	}
	if again := l.Page(event.Query{After: list.Last - 5}); again.Gone || len(again.Events) != 5 {
		t.Errorf("%+v", again)
	}
}

// TestTornAndAlienLines: what makes no sense costs itself only, and the log goes
// on in lines of its own.
func TestTornAndAlienLines(t *testing.T) {
	home := t.TempDir()
	l := open(t, event.Options{Home: home})
	emitMany(l, 3)
	l.Close()
	path := filepath.Join(eventDir(home), "current")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(file, "no event\n\x00\n{\"id\":1,\"kind\":\"state\"}\n{\"id\":18446744073709551615}\n{\"id\":9007199254740993,\"kind\":\"state\"}\n%s\n{\"id\":", strings.Repeat("x", 100<<10))
	file.Close()
	next := open(t, event.Options{Home: home})
	if got := next.Stats().Skipped; got != 7 {
		t.Errorf("%d lines skipped, want 7", got)
	}
	emitMany(next, 3)
	next.Flush()
	if got := readHome(t, home, event.Query{}); len(got.Events) != 6 || got.Gone {
		t.Errorf("%d events are read, want 6", len(got.Events))
	}
}

// TestLostHeader: without its first line a file still has its events, and what
// was known comes from the one before.
func TestLostHeader(t *testing.T) {
	home := t.TempDir()
	o := event.Options{Home: home, MaxSize: 4096}
	l := open(t, o)
	l.Emit(api.Event{Kind: api.EventIntent, Profile: "quiet", Slot: "gateway-quiet", To: "running", Generation: 3})
	for _, n := 0, 0; n < 2; _, n = size(t, home) {
		emitMany(l, 10)
		l.Flush()
	}
	last := l.Last()
	l.Close()
	path := filepath.Join(eventDir(home), "current")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{\"after\":\n"+string(b[strings.IndexByte(string(b), '\n')+1:])), 0o644); err != nil {
		t.Fatal(err)
	}
	next := open(t, o)
	if row := next.Before()["gateway-quiet"]; row.Generation != 3 || next.Last() < last {
		t.Errorf("%+v, and the ids begin after %d, want %d", row, next.Last(), last)
	}
}

// TestHostileFiles: nothing but a file that is ours alone is written, and
// nothing hangs.
func TestHostileFiles(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink(elsewhere, path) },
		"a hard link": func(path string) error { return os.Link(elsewhere, path) },
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"a directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "deep"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if err := os.MkdirAll(eventDir(home), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := plant(filepath.Join(eventDir(home), "current")); err != nil {
				t.Fatal(err)
			}
			l := open(t, event.Options{Home: home})
			emitMany(l, 2)
			l.Flush()
			if got := readHome(t, home, event.Query{}); len(got.Events) != 2 || l.Stats().Failing != "" {
				t.Errorf("%d events are read; %+v", len(got.Events), l.Stats())
			}
			if b, err := os.ReadFile(elsewhere); err != nil || string(b) != "mine\n" {
				t.Errorf("written elsewhere: %q, %v", b, err)
			}
		})
	}
	home := t.TempDir()
	if err := os.Symlink(filepath.Dir(elsewhere), filepath.Join(home, "logs")); err != nil {
		t.Fatal(err)
	}
	l := open(t, event.Options{Home: home})
	emitMany(l, 2)
	l.Flush()
	if _, err := os.Stat(filepath.Join(filepath.Dir(elsewhere), "events")); err == nil || l.Stats().Failing == "" {
		t.Errorf("a link out of the home was followed: %+v", l.Stats())
	}
}

// TestUnwritable: where nothing can be written events are told all the same and
// at once, those that nobody has room for are counted, and once it can be
// written again the rest is there, with an event that says what is missing.
func TestUnwritable(t *testing.T) {
	home := t.TempDir()
	blocker := filepath.Join(home, "logs")
	if err := os.WriteFile(blocker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, event.Options{Home: home, Ring: 20})
	before := l.Last()
	for _, n := range []int{29, 1} { // until it fails, and from then on
		emitMany(l, n)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // before the file is tried again
		list, err := l.Next(ctx, event.Query{After: l.Last() - 1})
		cancel()
		if err != nil || len(list.Events) != 1 {
			t.Errorf("told: %+v, %v", list, err)
		}
	}
	if s := l.Stats(); s.Lost != 10 || s.Failing == "" {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	l.RetryNow()
	l.Flush()
	l.Flush()
	got := readHome(t, home, event.Query{}).Events
	if len(got) != 21 || got[0].ID != before+11 {
		t.Fatalf("%d events, from %v", len(got), got[:1])
	}
	want := api.Event{
		ID: before + 31, At: got[20].At, Kind: api.EventDropped, From: fmt.Sprint(before + 1), To: fmt.Sprint(before + 10),
		Cause: "10 events could not be written and are missing in the files",
	}
	if got[20] != want || l.Stats().Failing != "" {
		t.Errorf("%+v, %+v", got[20], l.Stats())
	}
}

// TestFullDisk: a write that fails halfway leaves no event twice and none torn.
func TestFullDisk(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(eventDir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	l := open(t, event.Options{Home: home})
	emitMany(l, 10)
	l.Flush()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	bytes, _ := size(t, home)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(bytes) + 1000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	emitMany(l, 10)
	l.Flush()
	failing := l.Stats().Failing
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if failing == "" {
		t.Error("the file took more than it can")
	}
	l.RetryNow()
	l.Flush()
	got := readHome(t, home, event.Query{}).Events
	ascending(t, got)
	if len(got) != 20 || got[19].ID != l.Last() || l.Stats().Lost != 0 {
		t.Errorf("%d events, %+v", len(got), l.Stats())
	}
}

// TestAppend: an event's line is what encoding/json reads and would write.
func TestAppend(t *testing.T) {
	code := 78
	at := time.Date(2026, 11, 23, 10, 0, 0, 123000, time.UTC)
	for _, e := range []api.Event{
		{},
		{
			ID: 1, At: at, Kind: "state", Profile: "coder", Slot: "gateway-coder", From: "running", To: "parked", Health: "unknown",
			Cause: "exit 78: \"quoted\" \\ \x1b[31m\x7f \u2028 ü \xff <b>", By: "cli uid 7", Generation: 1 << 63, PID: 42,
			Exit: &api.Exit{Code: &code, At: at, Strays: []api.Stray{{PID: 7, Name: "x", End: "SIGKILL"}}},
		},
	} {
		want, err := plainly(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(event.Append(nil, &e)) + "\n"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzAppend: the same of any event.
func FuzzAppend(f *testing.F) {
	f.Add(uint64(1), int64(1_700_000_000), "state", "coder", "exit 78", uint64(3), 42, false)
	f.Add(uint64(0), int64(-1), "", "\x7f\x00\"\\ü", "\u2028 \xff <b>&", uint64(1)<<63, -1, true)
	f.Add(uint64(1), int64(0), "a\tb", "\u2028", "\xc3", uint64(0), 0, true)
	f.Fuzz(func(t *testing.T, id uint64, at int64, kind, name, text string, generation uint64, pid int, ended bool) {
		e := api.Event{
			ID: id, At: time.Unix(0, at).UTC(), Kind: kind, Profile: name, Slot: "gateway-" + name, From: name, To: text, Health: kind,
			Cause: text, By: name, Generation: generation, PID: pid,
		}
		if ended {
			e.Exit = &api.Exit{Code: &pid, Signal: kind, Reason: text, At: e.At, Strays: []api.Stray{{PID: pid, Name: name, End: kind}}}
		}
		want, err := plainly(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(event.Append(nil, &e)) + "\n"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

// plainly is a line as encoding/json writes it.
func plainly(e api.Event) (string, error) {
	var line strings.Builder
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(e)
	return line.String(), err
}

// FuzzFile: whatever is in the files, reading them gives ascending ids and the
// log goes on after them.
func FuzzFile(f *testing.F) {
	f.Add([]byte("{\"after\":7,\"slots\":[{\"slot\":\"gateway-a\",\"state\":\"running\"}]}\n{\"id\":8,\"at\":\"2026-11-23T10:00:00Z\",\"kind\":\"state\",\"slot\":\"gateway-a\",\"to\":\"stopped\"}\n"), []byte("{\"after\":8}\n{\"id\":9,\"kind\":\"engine\"}"))
	f.Add([]byte("{\"id\":18446744073709551615,\"kind\":\"slot\",\"slot\":\"a\",\"to\":\"renamed\"}\n"), []byte("\n\n{\"after\":18446744073709551615}\n"))
	f.Add([]byte{}, []byte("{\"after\":null}\n{}"))
	f.Fuzz(func(t *testing.T, archive, current []byte) {
		home := t.TempDir()
		if err := os.MkdirAll(eventDir(home), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{fmt.Sprintf("%020d.jsonl", 7): archive, "current": current} {
			if err := os.WriteFile(filepath.Join(eventDir(home), name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		old := readHome(t, home, event.Query{}).Events
		l := event.Open(event.Options{Home: home})
		defer l.Close()
		l.Emit(state("anna", "a", "b"))
		l.Flush()
		got := ids(readHome(t, home, event.Query{}).Events)
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("ids %v", got)
		}
		if len(got) != len(old)+1 || got[len(got)-1] != l.Last() {
			t.Fatalf("ids %v, and %d was added to %d", got, l.Last(), len(old))
		}
	})
}
