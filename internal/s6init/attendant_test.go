package s6init

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
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
