package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hermes/internal/testkit"
)

// at is a docker command on a terminal.
func (d *docker) at(args ...string) (*testkit.Terminal, *exec.Cmd) {
	d.t.Helper()
	terminal := testkit.NewTerminal(d.t)
	cmd := exec.Command("docker", args...)
	terminal.Start(cmd)
	return terminal, cmd
}

// owned checks who has a file of the home, and that nobody else may read it.
func (d *docker) owned(name string, uid uint32) {
	d.t.Helper()
	info, err := os.Lstat(filepath.Join(d.home, name))
	if err != nil {
		d.t.Error(err)
		return
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || info.Mode() != 0o600 {
		d.t.Errorf("%s belongs to %d, mode %v; want %d, 0600", name, st.Uid, info.Mode(), uid)
	}
}

// TestSetupInDocker is the first command a person types, and the second.
func TestSetupInDocker(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		run := []string{"run", "-it", "--rm", "--name", d.name, "--volume", d.home + ":/opt/data", "--env", "PUID=4711", d.image, "setup"}

		// Ctrl-C at the last question: nothing was written.
		terminal, cmd := d.at(run...)
		terminal.Type("\n\n")
		terminal.Expect("Key for OPENAI_API_KEY", 1)
		terminal.Type("sk-s3cr\x03")
		if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok || exit.ExitCode() != 130 {
			t.Errorf("Ctrl-C: %v", cmd.ProcessState)
		}
		if left, err := os.ReadDir(d.home); err != nil || len(left) > 0 {
			t.Errorf("an interrupted setup left %v (%v)", left, err)
		}

		asked, cmd := d.at(run...)
		asked.Type("\n\n")
		asked.Expect("Key for OPENAI_API_KEY", 1)
		asked.Type("sk-s3cret\n")
		if err := cmd.Wait(); err != nil {
			t.Fatalf("setup: %v\n%s", err, asked.Shown())
		}
		asked.Expect("✓ set up profile 'default' in /opt/data: openai, gpt-4o-mini\n", 1)
		asked.Expect("hint: docker run … gateway run\n", 1)
		if strings.Contains(terminal.Shown()+asked.Shown(), "s3cr") {
			t.Errorf("the key was shown:\n%s", asked.Shown())
		}
		for _, name := range []string{".env", "config.yaml", "SOUL.md"} {
			d.owned(name, 4711)
		}
		if _, err := os.Lstat(filepath.Join(d.home, "logs")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("setup booted a fleet: %v", err)
		}

		// What the hint says works, and the gateway can read what was written.
		d.run([]string{"--env", "PUID=4711"}, "gateway", "run")
		ready := func() error {
			f, err := d.fleet()
			if err == nil && (len(f.Gateways) != 1 || f.Gateways[0].State != "running" || f.Gateways[0].Health != "ok") {
				err = fmt.Errorf("%+v", f.Gateways)
			}
			return err
		}
		d.eventually("the gateway is ready, with its key", ready)

		// In the running container, as root: the hint is another one, the owner the same.
		inside, cmd := d.at("exec", "-it", d.name, "hermes", "setup", "--provider", "echo")
		if err := cmd.Wait(); err != nil {
			t.Errorf("setup in the container: %v\n%s", err, inside.Shown())
		}
		inside.Expect("hint: hermes gateway restart\n", 1)
		d.owned("config.yaml", 4711)
		d.must("gateway", "restart")

		// And from another container beside it.
		beside, cmd := d.at("run", "-it", "--rm", "--volume", d.home+":/opt/data", "--env", "PUID=4711", d.image, "setup", "--provider", "echo")
		if err := cmd.Wait(); err != nil {
			t.Errorf("setup beside the container: %v\n%s", err, beside.Shown())
		}
		beside.Expect("hint: docker exec ", 1)
		beside.Expect(" hermes gateway restart\n", 1)
		if stdout := d.must("gateway", "install"); !strings.Contains(stdout, "the supervisor runs a gateway for every profile") {
			t.Errorf("gateway install: %s", stdout)
		}
	})
}
