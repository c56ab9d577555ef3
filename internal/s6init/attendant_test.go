package s6init

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/lease"
)

func TestIsAttendant(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{[]string{".s6-svscan/SIGTERM"}, true},
		{[]string{".s6-svscan/SIGINT"}, true},
		{[]string{".s6-svscan/finish"}, true},
		{[]string{"hermes", MainWord, "true", "/bin/true", "true"}, true},
		{[]string{"hermes", BeatWord, "/opt/data"}, true},
		{[]string{"finish", "0", "0", "gateway-coder"}, false}, // a slot's
		{[]string{"./run", "gateway-coder"}, false},
		{[]string{"/init", "gateway", "run"}, false},
		{[]string{"hermes"}, false},
	} {
		if got := IsAttendant(tt.args); got != tt.want {
			t.Errorf("%q: %v", tt.args, got)
		}
	}
}

// TestCapacity: the option that a version has is found in its usage.
func TestCapacity(t *testing.T) {
	for usage, want := range map[string]string{
		"usage: s6-svscan [ -c maxservices ] [ -t timeout ] [ -d notif ] [ dir ]":                       "-c", // 2.11
		"usage: s6-svscan [ -c services_max | -C services_max ] [ -L name_max ] [ -t timeout ] [ dir ]": "-C", // 2.13
		"fatal: unrecognized option: -Z": "-C", // 2.15
	} {
		path := filepath.Join(t.TempDir(), "s6-svscan")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+usage+"' >&2\nexit 100\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := capacity(path); !slices.Equal(got, []string{want, maxServices}) {
			t.Errorf("%q: %q", usage, got)
		}
	}
}

func TestCodeOf(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + int(unix.SIGTERM)} {
		cmd := exec.Command("/bin/sh", "-c", script)
		_ = cmd.Run() // how it ended is what is asked
		if got := codeOf(cmd.ProcessState); got != want {
			t.Errorf("%q: %d, want %d", script, got, want)
		}
	}
	if got := codeOf(nil); got != 1 {
		t.Errorf("nobody knows: %d", got)
	}
}

// TestCheck: nothing but process 1 can become s6-svscan.
func TestCheck(t *testing.T) {
	if err := Check(); err == nil {
		t.Error("a test can")
	}
}

func TestParseProcess(t *testing.T) {
	if pid, birth, ok := parseProcess([]byte("42 4711\n")); pid != 42 || birth != 4711 || !ok {
		t.Errorf("%d %d %v", pid, birth, ok)
	}
	for _, text := range []string{"", "42", "1 4711", "-7 1", "x 1", "42 x", "42 1 1"} {
		if _, _, ok := parseProcess([]byte(text)); ok {
			t.Errorf("%q is a process", text)
		}
	}
}

// TestBeat: a home on a remote file system keeps its heartbeat, until another
// supervisor has taken it.
func TestBeat(t *testing.T) {
	home := t.TempDir()
	began := time.Now().Add(-time.Hour)
	l, err := lease.Take(home, lease.Self(began), lease.TakeOptions{Now: began, Remote: func(int) (bool, error) { return true, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- beat(ctx, l, time.Millisecond, os.Stderr) }()
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if rec, _, err := lease.Read(home); err == nil && rec.Heartbeat.After(began) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeat")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	other := lease.Self(time.Now())
	other.Host, other.Heartbeat = "another", time.Now()
	b, err := json.Marshal(other)
	if err == nil {
		err = os.WriteFile(filepath.Join(home, lease.File), append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := beat(t.Context(), l, time.Millisecond, os.Stderr); !errors.Is(err, lease.ErrLost) {
		t.Errorf("taken by another: %v", err)
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add([]byte("42 4711\n"))
	f.Add([]byte("1 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pid, _, ok := parseProcess(b); ok && pid < 2 {
			t.Errorf("%q: %d", b, pid)
		}
	})
}
