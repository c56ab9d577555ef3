package s6fleet

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/s6"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// What was broken or stopped before a boot is not started by it: s6-supervise
// finds a file "down" in the slot. `make mutate-gates` takes each guard away.

// booted is the slot of coder after a boot, and what is on record of it. Without
// an s6-svscan it is files alone.
type booted struct {
	t    *testing.T
	home string
	dir  string // of the slot
	boot Boot
}

// coder is a home whose profile coder has these files.
func coder(t *testing.T, files map[string]string) *booted {
	t.Helper()
	b := &booted{t: t, home: t.TempDir(), dir: filepath.Join(t.TempDir(), "service")}
	b.write("SOUL.md", "I am coder.\n")
	b.write("config.yaml", "gateway:\n  command: [/bin/true]\n")
	for name, content := range files {
		b.write(name, content)
	}
	b.boot = Boot{
		Scandir: s6.Scandir{Dir: b.dir}, Self: "/init", Log: slog.New(slog.DiscardHandler),
		Settings: config.Settings{StopTimeout: 8 * time.Second},
	}
	return b
}

func (b *booted) path(name string) string { return filepath.Join(b.home, "profiles", "coder", name) }

func (b *booted) write(name, content string) {
	b.t.Helper()
	if err := os.MkdirAll(b.path(""), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// run boots and tells whether coder is to be up, and what is on record.
func (b *booted) run() (up bool, s profile.Supervision) {
	b.t.Helper()
	home, err := store.Open(b.home)
	if err != nil {
		b.t.Fatal(err)
	}
	defer home.Close()
	b.boot.Home = home
	if err := b.boot.Scandir.Prepare(s6.Access{Group: os.Getegid(), Owner: os.Geteuid()}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.boot.Run(); err != nil {
		b.t.Fatal(err)
	}
	slot := filepath.Join(b.dir, "gateway-coder")
	if _, err := os.Lstat(filepath.Join(slot, "run")); err != nil {
		b.t.Fatalf("it has no slot: %v", err)
	}
	_, err = os.Lstat(filepath.Join(slot, "down"))
	p, openErr := home.Profile("coder")
	if openErr != nil {
		b.t.Fatal(openErr)
	}
	defer p.Close()
	s, _, _ = p.Supervision()
	return os.IsNotExist(err), s
}

func (b *booted) isDown() profile.Supervision {
	b.t.Helper()
	up, s := b.run()
	if up {
		b.t.Errorf("it is up: %+v", s)
	}
	return s
}

const wanted = `{"version":1,"intent":"running","generation":3,"changed_at":"2026-05-28T12:42:13Z","changed_by":"test"}`

// TestWantedIsUpUnderS6: the others of these tests are about exceptions.
func TestWantedIsUpUnderS6(t *testing.T) {
	if up, s := coder(t, map[string]string{"gateway_intent.json": wanted}).run(); !up || s.State != profile.StateStarting {
		t.Errorf("up %v, %+v", up, s)
	}
	if up, _ := coder(t, map[string]string{"gateway_state.json": `{"gateway_state":"running"}`}).run(); !up {
		t.Error("the original's running gateway is down")
	}
}

func TestParkedIsDownUnderS6(t *testing.T) {
	s := coder(t, map[string]string{
		"gateway_intent.json": wanted,
		"supervision.json":    `{"version":1,"state":"parked","reason":"exit 78: typo","intent_generation":3,"exits":[{"run":1,"code":78}]}`,
	}).isDown()
	if s.State != profile.StateParked || s.Reason != "exit 78: typo" {
		t.Errorf("on record: %+v", s)
	}
}

func TestStoppedIsDownUnderS6(t *testing.T) {
	s := coder(t, map[string]string{"gateway_intent.json": strings.Replace(wanted, "running", "stopped", 1)}).isDown()
	if s.State != profile.StateStopped {
		t.Errorf("on record: %+v", s)
	}
}

// TestOriginalsGatewayIsDownUnderS6: what was not running is down, for good.
func TestOriginalsGatewayIsDownUnderS6(t *testing.T) {
	for name, content := range map[string]string{
		"stopped": `{"gateway_state":"stopped"}`, "starting": `{"gateway_state":"starting"}`,
		"startup_failed": `{"gateway_state":"startup_failed"}`, "none": `{}`, "corrupt": `{"gateway_state":"running"`,
	} {
		b := coder(t, map[string]string{"gateway_state.json": content})
		b.isDown()
		if intent, err := os.ReadFile(b.path("gateway_intent.json")); err != nil || !strings.Contains(string(intent), `"stopped"`) {
			t.Errorf("%s: the intent is %s, %v", name, intent, err)
		}
	}
}

func TestNoSuperviseIsDownUnderS6(t *testing.T) {
	b := coder(t, map[string]string{"gateway_intent.json": wanted})
	b.boot.Commands = []reconcile.Command{{Profile: "coder", Foreground: true}}
	b.isDown()
	if intent, err := os.ReadFile(b.path("gateway_intent.json")); err != nil || string(intent) != wanted {
		t.Errorf("the intent was touched: %s, %v", intent, err)
	}
}

// TestUnreadableIsDownUnderS6: nothing is concluded from a file that cannot be
// read now, and nothing is written.
func TestUnreadableIsDownUnderS6(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	for _, file := range []string{"gateway_intent.json", "supervision.json"} {
		const kept = `{"version":1,"state":"parked","reason":"typo","intent_generation":3}`
		b := coder(t, map[string]string{"gateway_intent.json": wanted, "supervision.json": kept})
		if err := os.Chmod(b.path(file), 0); err != nil {
			t.Fatal(err)
		}
		b.isDown()
		if err := os.Chmod(b.path(file), 0o644); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"gateway_intent.json": wanted, "supervision.json": kept} {
			if got, err := os.ReadFile(b.path(name)); err != nil || string(got) != want {
				t.Errorf("%s unreadable: %s is %s, %v", file, name, got, err)
			}
		}
	}
}

// TestIntentThatCannotBeWrittenIsDownUnderS6: the boot after this one would not
// know of it.
func TestIntentThatCannotBeWrittenIsDownUnderS6(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	b := coder(t, map[string]string{"gateway_state.json": `{"gateway_state":"running"}`})
	if err := os.Chmod(b.path(""), 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(b.path(""), 0o755)
	b.isDown()
}
