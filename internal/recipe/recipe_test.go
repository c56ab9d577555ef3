package recipe

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// of is the recipe of a profile coder with that config.yaml, at a port.
func of(t *testing.T, text string, port int, change func(in *Input, dir string)) (Recipe, error) {
	t.Helper()
	dir := t.TempDir()
	coder := filepath.Join(dir, "profiles", "coder")
	err := os.MkdirAll(coder, 0o755)
	for file, content := range map[string]string{"SOUL.md": "I", "config.yaml": text, ".env": "FROM=dotenv\n"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(coder, file), []byte(content), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	home, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	p, err := home.Profile("coder")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	settings, err := config.FromEnviron([]string{"HERMES_STOP_TIMEOUT=3"})
	if err != nil {
		t.Fatal(err)
	}
	in := Input{
		Settings: settings, Environ: []string{"PATH=/bin", "FROM=container"}, Self: "/init", SlotID: "gateway-coder.1", NotifyFD: 3,
		Config: (*store.Profile).Config,
		Port:   func(profile.Name, config.Gateway, map[string]string) (int, error) { return port, nil },
	}
	if change != nil {
		change(&in, coder)
	}
	return Of(t.Context(), p, in)
}

// free is a port nobody listens on, just now.
func free(t *testing.T) (port int, listener net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port, l
}

func TestRecipe(t *testing.T) {
	port, l := free(t)
	l.Close()
	r, err := of(t, "", port, nil)
	if err != nil || !r.BuiltIn || r.Path != "/init" || r.Port != port || r.Ready.Kind != config.ReadyNotify || r.StopTimeout != 3*time.Second {
		t.Errorf("built in: %+v, %v", r, err)
	}
	for _, want := range []string{"FROM=dotenv", "PORT=" + strconv.Itoa(port), "HERMES_SLOT_ID=gateway-coder.1", "HERMES_NOTIFY_FD=3"} {
		if !slices.Contains(r.Env, want) {
			t.Errorf("%s is not in %q", want, r.Env)
		}
	}
	r, err = of(t, "gateway:\n  command: [true, x]\n  stop_timeout: 1s\n  restart: never\n", 0, nil)
	if err != nil || r.BuiltIn || r.Path != "/bin/true" || r.Ready.Kind != config.ReadyExec || r.StopTimeout != time.Second || r.Restart != profile.RestartNever {
		t.Errorf("a command: %+v, %v", r, err)
	}
	if slices.ContainsFunc(r.Env, func(kv string) bool { return strings.HasPrefix(kv, "HERMES_NOTIFY_FD=") }) {
		t.Errorf("a command is given what it does not speak: %q", r.Env)
	}
}

func TestRefusals(t *testing.T) {
	port, _ := free(t)
	for _, tt := range []struct {
		name, config string
		port         int
		change       func(in *Input, dir string)
		code         fault.Code
		says         string
	}{
		{"no port left", "", 0, nil, fault.PortTaken, "no port in"},
		{"a port that is taken", "gateway:\n  host: 127.0.0.1\n", port, nil, fault.PortTaken, "port " + strconv.Itoa(port) + " is taken"},
		{"another profile's port", "", port, func(in *Input, _ string) {
			in.PortOwner = func(profile.Name, int) (profile.Name, bool) { return "writer", true }
		}, fault.PortTaken, "profile 'writer' has it"},
		{"no such program", "gateway:\n  command: [/no/such]\n", 0, nil, fault.InvalidConfig, "there is no file"},
		{"nonsense", "gateway:\n  nonsense: 1\n", 0, nil, fault.InvalidConfig, "nonsense"},
		{"in the foreground", "gateway:\n  command: [true]\n", 0, func(_ *Input, dir string) {
			fd, err := unix.Open(filepath.Join(dir, "foreground.lock"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
			if err == nil {
				err = unix.Flock(fd, unix.LOCK_EX)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
		}, fault.GatewayHeld, "it runs in the foreground, pid " + strconv.Itoa(os.Getpid())},
	} {
		if _, err := of(t, tt.config, tt.port, tt.change); fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestUnreadable: what the gateway's uid could not read is told before it is
// started.
func TestUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		testkit.Unavailable(t, "only root can ask for another uid")
	}
	_, err := of(t, "gateway:\n  command: [true]\n", 0, func(in *Input, _ string) { in.As = &Owner{UID: 4711, GID: 4711} })
	if fault.CodeOf(err) != fault.Unreadable {
		t.Errorf("%v", err)
	}
}
