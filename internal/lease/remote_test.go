package lease

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func remote(int) (bool, error) { return true, nil }

// foreign is the record of a supervisor on another machine.
func foreign(beat time.Time) Record {
	r := testRecord()
	r.Host, r.Container, r.BootID, r.PID = "elsewhere", "", "another", 1
	r.Heartbeat = beat
	return r
}

// leave writes rec into home's lock file without holding the lock, as a
// machine does whose locks are not seen here.
func leave(t *testing.T, home string, rec Record) {
	t.Helper()
	b, err := encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, File), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRemote(t *testing.T) {
	now := time.Now()
	same := testRecord()
	same.PID, same.BootID, same.Heartbeat = 1, "before the reboot", now.Add(-time.Second)
	moved := testRecord()
	moved.Container, moved.Heartbeat = "another", now.Add(-time.Second)
	tests := map[string]struct {
		old     Record
		options TakeOptions
		refused bool
	}{
		"another host, fresh":        {foreign(now.Add(-time.Minute)), TakeOptions{Remote: remote}, true},
		"another host, almost stale": {foreign(now.Add(time.Second - TakeOverAfter)), TakeOptions{Remote: remote}, true},
		"another host, stale":        {foreign(now.Add(-TakeOverAfter)), TakeOptions{Remote: remote}, false},
		"another host, clock ahead":  {foreign(now.Add(10 * time.Minute)), TakeOptions{Remote: remote}, true},
		"another host, nonsense":     {foreign(now.Add(1000 * time.Hour)), TakeOptions{Remote: remote}, false},
		"another host, no heartbeat": {foreign(time.Time{}), TakeOptions{Remote: remote}, false},
		"another host, take over":    {foreign(now), TakeOptions{Remote: remote, TakeOver: true}, false},
		"another container, fresh":   {moved, TakeOptions{Remote: remote}, true},
		"this host, fresh":           {same, TakeOptions{Remote: remote}, false},
		"another host, local disk":   {foreign(now), TakeOptions{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			leave(t, home, tt.old)
			tt.options.Now = now
			l, err := Take(home, testRecord(), tt.options)
			if held, ok := errors.AsType[*HeldError](err); ok != tt.refused || err != nil && !ok {
				t.Fatalf("got %v", err)
			} else if ok {
				if held.Record.Host != tt.old.Host || !held.Expires.Equal(tt.old.Heartbeat.Add(TakeOverAfter)) {
					t.Errorf("refused with %+v", held)
				}
				// The refusal has not touched the record, and let go of the lock.
				if b, _ := os.ReadFile(filepath.Join(home, File)); string(b) != mustEncode(t, tt.old) {
					t.Errorf("the record became %s", b)
				}
				tt.options.TakeOver = true
				if l, err = Take(home, testRecord(), tt.options); err != nil {
					t.Fatal(err)
				}
			}
			defer l.Close()
			if l.Remote() != (tt.options.Remote != nil) || l.Record().Heartbeat.IsZero() == l.Remote() {
				t.Errorf("remote %v, record %+v", l.Remote(), l.Record())
			}
		})
	}
}

func mustEncode(t *testing.T, r Record) string {
	t.Helper()
	b, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBeat(t *testing.T) {
	home := t.TempDir()
	now := time.Now()
	l, err := Take(home, testRecord(), TakeOptions{Remote: remote, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	// The engine beats, having learnt from the record that it has to.
	dup := Adopt(mustDup(t, l.FD()), home)
	defer dup.Close()
	if !dup.Remote() {
		t.Fatal("the engine takes the home for local")
	}
	later := now.Add(BeatEvery)
	if err := dup.Beat(later); err != nil {
		t.Fatal(err)
	}
	if rec := wantStatus(t, home, Held); !rec.Heartbeat.Equal(later) || !rec.Same(l.Record()) {
		t.Errorf("read %+v", rec)
	}
	if err := dup.Update(testRecordLike(dup.Record())); err != nil {
		t.Fatal(err)
	}
	if rec := wantStatus(t, home, Held); !rec.Heartbeat.Equal(later) || rec.Socket != "/elsewhere" {
		t.Errorf("an update without a heartbeat left %+v", rec)
	}

	// A torn record is the holder's to mend.
	if err := os.WriteFile(filepath.Join(home, File), []byte(`{"ver`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := dup.Beat(later); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, home, Held)

	// Somebody else's is the proof of a take-over, and is left alone.
	leave(t, home, foreign(later))
	if err := dup.Beat(later); !errors.Is(err, ErrLost) {
		t.Errorf("beat with %v after a take-over", err)
	}
	if rec := wantStatus(t, home, Held); rec.Host != "elsewhere" {
		t.Errorf("the new holder's record became %+v", rec)
	}
}

// testRecordLike is rec as a caller has it who knows nothing of heartbeats.
func testRecordLike(rec Record) Record {
	rec.Heartbeat, rec.Socket = time.Time{}, "/elsewhere"
	return rec
}

func TestBeatIsNothingOnALocalDisk(t *testing.T) {
	home := t.TempDir()
	l, err := Take(home, testRecord(), TakeOptions{Remote: func(int) (bool, error) { return false, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, _ := os.ReadFile(filepath.Join(home, File))
	if err := l.Beat(time.Now()); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(filepath.Join(home, File)); string(after) != string(before) {
		t.Errorf("wrote %s", after)
	}
}

// A reader does not see the locks of other machines either.
func TestReadBelievesAFreshHeartbeat(t *testing.T) {
	home := t.TempDir()
	leave(t, home, foreign(time.Now()))
	if rec := wantStatus(t, home, Held); rec.Host != "elsewhere" {
		t.Errorf("read %+v", rec)
	}
	leave(t, home, foreign(time.Now().Add(-TakeOverAfter)))
	wantStatus(t, home, Free)
	same := testRecord()
	same.Heartbeat = time.Now()
	leave(t, home, same)
	wantStatus(t, home, Free)
}

func TestRemoteUnknown(t *testing.T) {
	home := t.TempDir()
	boom := errors.New("boom")
	_, err := Take(home, testRecord(), TakeOptions{Remote: func(int) (bool, error) { return false, boom }})
	if !errors.Is(err, boom) {
		t.Errorf("taken with %v", err)
	}
	wantStatus(t, home, Free) // the lock was let go of
}

func TestRemoteFSOfProc(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if is, err := remoteFS(int(fd)); is || err != nil {
			t.Errorf("procfs: %v, %v", is, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := remoteFS(-1); err == nil {
		t.Error("no descriptor has a file system")
	}
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	dup, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return dup
}
