package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// refused runs a command that has to fail with this code and say all of what.
func (h *host) refused(code int, what []string, args ...string) {
	h.t.Helper()
	stdout, stderr, got := h.run(args...)
	if got != code {
		h.t.Errorf("hermes %q: exit %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	for _, w := range what {
		if !strings.Contains(stderr, w) {
			h.t.Errorf("hermes %q does not say %q:\n%s", args, w, stderr)
		}
	}
	if !strings.HasPrefix(stderr, "✗ ") {
		h.t.Errorf("hermes %q: no mark: %s", args, stderr)
	}
}

// TestBadNames: with a supervisor and without one, nothing is made.
func TestBadNames(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	check := func() {
		for _, name := range []string{"../x", "", strings.Repeat("a", 65), "Upper", "-x", "a/b", "a.b", "tmp", "default"} {
			h.refused(1, []string{"as a profile name"}, "profile", "create", "--", name)
		}
		h.refused(1, []string{"no such gateway 'typo'", "`hermes profile create typo`"}, "gateway", "stop", "typo")
		entries, err := os.ReadDir(filepath.Join(h.home, "profiles"))
		if err != nil || len(entries) != 0 {
			t.Errorf("profiles/ has %v, %v", entries, err)
		}
	}
	check()
	h.start()
	check()
	h.refused(1, []string{"no such gateway 'typo'"}, "-p", "typo", "gateway", "start")
	h.refused(2, []string{"start --all", "stopped on purpose"}, "gateway", "start", "--all")
	_, _, code := h.run("gateway", "status", "typo")
	if code != 4 {
		t.Errorf("gateway status of no gateway: exit %d", code)
	}
}

// TestUpWithUnknownProfile: an error unless --create, and nothing keeps running.
func TestUpWithUnknownProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.refused(1, []string{"no such gateway 'typo'", "hermes up --create typo"}, "up", "typo")
	h.start("--create", "typo")
	if g := h.gateway("typo"); g.Intent != "running" {
		t.Errorf("typo: %+v", g)
	}
}

// TestBadConfig: every mistake is named with file and line, the gateway is
// parked, and corrected it starts.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.write("anna", "config.yaml", "# mine\ngateway:\n  comand: [x]\n  restart: sometimes\n  user: 5\n")
	h.start("--", "anna")
	h.state("anna", "parked")
	reason := h.gateway("anna").Reason
	for _, want := range []string{"config.yaml:3", "comand", "command", "config.yaml:4", "sometimes", "config.yaml:5", "user"} {
		if !strings.Contains(reason, want) {
			t.Errorf("the reason does not say %q: %s", want, reason)
		}
	}
	h.refused(1, []string{"config.yaml:3"}, "gateway", "start", "anna")
	h.configure("anna")
	h.must("gateway", "start", "anna")
	h.started("anna", 1) // exec'd is not yet at work
	h.noDoubles(map[string]int{"anna": 1})
}

// TestBadStateFiles: torn, huge and binary files are set aside by name, and the
// boot goes on.
func TestBadStateFiles(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	bad := map[string]string{
		"torn":   `{"version":1,"intent":"runn`,
		"huge":   `{"version":1,"x":"` + strings.Repeat("a", 1<<20) + `"}`,
		"binary": "\x00\xff\xfe\x7fELF",
		"empty":  "",
		"alien":  `[1,2,3]`,
	}
	for name, content := range bad {
		h.probe(name)
		h.write(name, "gateway_intent.json", content)
		h.write(name, "supervision.json", content)
		h.write(name, "gateway_state.json", content)
	}
	h.probe("good")
	h.start("good")
	h.state("good", "running")
	for name, content := range bad {
		h.state(name, "stopped")
		aside, err := filepath.Glob(filepath.Join(h.dir(name), "gateway_intent.json.corrupt-*"))
		if err != nil || len(aside) != 1 {
			t.Errorf("%s: set aside: %v, %v", name, aside, err)
			continue
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != content {
			t.Errorf("%s: what was set aside is not what was there", name)
		}
		h.must("gateway", "start", name)
	}
}

// TestHostileProfile: a FIFO named .env hangs nothing, links out of the home
// are not profiles and are not read.
func TestHostileProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("fifo")
	if err := syscall.Mkfifo(filepath.Join(h.dir("fifo"), ".env"), 0o666); err != nil {
		t.Fatal(err)
	}
	h.probe("link")
	secret := filepath.Join(filepath.Dir(h.home), "secret")
	if err := os.WriteFile(secret, []byte("STOLEN=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(h.dir("link"), ".env")); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(filepath.Dir(h.home), "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "SOUL.md"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(h.home, "profiles", "outside")); err != nil {
		t.Fatal(err)
	}
	h.start("fifo", "link")
	for _, name := range []string{"fifo", "link"} {
		h.state(name, "parked")
		if reason := h.gateway(name).Reason; !strings.Contains(reason, ".env") {
			t.Errorf("%s: reason %q", name, reason)
		}
	}
	for _, g := range h.fleet().Gateways {
		if g.Profile == "outside" {
			t.Error("a link out of the home became a profile")
		}
	}
	if !strings.Contains(h.output.String(), "outside") {
		t.Error("the link out of the home was not reported")
	}
}

// TestTakenPort: the start is refused with the owner's name, and succeeds once
// the port is free.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	h.probe("anna")
	h.write("anna", "config.yaml", fmt.Sprintf("gateway:\n  command: [%q]\n  port: %d\n", binaries().probe, port))
	h.start()
	h.refused(1, []string{"port " + strconv.Itoa(port) + " is taken"}, "gateway", "start", "anna")
	h.state("anna", "backoff")
	l.Close()
	h.must("gateway", "start", "anna")
	h.probe("bert")
	h.write("bert", "config.yaml", fmt.Sprintf("gateway:\n  command: [%q]\n  port: %d\n", binaries().probe, port))
	h.refused(1, []string{"profile 'anna' has it"}, "gateway", "start", "bert")
}

// TestUnwritableHome: refused with path and owner, by a user who is not root.
func TestUnwritableHome(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if err := os.Chmod(h.home, 0o555); err != nil {
		t.Fatal(err)
	}
	h.refused(1, []string{h.home}, "up")
	if err := os.Chmod(h.home, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestSecondSupervisor: refused with the holder's pid, and the first one goes
// on.
func TestSecondSupervisor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	h.start("anna")
	h.state("anna", "running")
	h.refused(1, []string{"pid " + strconv.Itoa(h.up.Process.Pid), h.home}, "up")
	h.state("anna", "running")
	h.noDoubles(map[string]int{"anna": 1})
}

// TestMovedProfile: mv of a profile whose gateway runs is a rename: the old
// gateway stops before the new one starts, intent and port go along.
func TestMovedProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna", "-slow-stop", "300ms")
	h.start("anna")
	h.state("anna", "running")
	before := h.gateway("anna")
	if err := os.Rename(h.dir("anna"), h.dir("zoe")); err != nil {
		t.Fatal(err)
	}
	h.eventually("zoe runs", func() error { return h.expect("zoe running") })
	after := h.gateway("zoe")
	if after.Port != before.Port || after.Intent != "running" || after.PID == before.PID {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	h.started("zoe", 2)
	h.noDoubles(map[string]int{"zoe": 2})
	h.must("profile", "rename", "zoe", "yara")
	h.state("yara", "running")
	if got := h.gateway("yara").Port; got != before.Port {
		t.Errorf("port %d, was %d", got, before.Port)
	}
	h.started("yara", 3)
	h.noDoubles(map[string]int{"yara": 3})
	if err := os.RemoveAll(h.dir("yara")); err != nil {
		t.Fatal(err)
	}
	h.eventually("its slot is gone", func() error { return h.expect() })
}

// TestMadeByHand: a profile made by other means gets its slot by itself.
func TestMadeByHand(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if err := os.Remove(filepath.Join(h.home, "profiles")); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.probe("anna")
	h.eventually("anna has a slot", func() error { return h.expect("anna stopped") })
	h.must("gateway", "start", "anna")
	out := h.must("profile", "create", "bert")
	if !strings.Contains(out, "bert") {
		t.Errorf("profile create said %q", out)
	}
	if g := h.gateway("bert"); g.State != "stopped" || g.IntentBy == "migration" {
		t.Errorf("bert: %+v", g)
	}
	h.must("profile", "delete", "-y", "anna")
	if _, err := os.Stat(h.dir("anna")); !os.IsNotExist(err) {
		t.Error("anna is still there")
	}
	if err := h.expect("bert stopped"); err != nil {
		t.Error(err)
	}
}

// TestEnvironmentOfAGateway: the container's environment, .env over it, and
// what hermes says over both; nothing passes through a shell.
func TestEnvironmentOfAGateway(t *testing.T) {
	t.Parallel()
	h := newHost(t, "FROM_CONTAINER=1", "BOTH=container", "NOTIFY_SOCKET=/nowhere")
	h.probe("anna", "-env")
	h.write("anna", ".env", "BOTH=dotenv\nCOMMAND=$(id)\nHERMES_PROFILE=forged\n")
	h.start("anna")
	h.state("anna", "running")
	h.eventually("its log has the environment", func() error {
		log, err := os.ReadFile(filepath.Join(h.home, "logs/gateways/anna/current"))
		if err != nil {
			return err
		}
		for _, want := range []string{
			"FROM_CONTAINER=1", "BOTH=dotenv", "COMMAND=$(id)", "HERMES_PROFILE=anna", "HERMES_SUPERVISED_CHILD=anna",
			"HERMES_S6_SUPERVISED_CHILD=1", "HERMES_HOME=" + h.dir("anna"), "PORT=", "API_SERVER_PORT=",
			"HERMES_SLOT_ID=gateway-anna.", "NOTIFY_SOCKET=" + h.runtime,
		} {
			if !bytes.Contains(log, []byte("env "+want)) {
				return fmt.Errorf("no %s", want)
			}
		}
		return nil
	})
}
