package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hermes/api"
)

// docker is one container with a home in a directory of this host.
type docker struct {
	homeDir
	name  string
	image string
	s6    bool // skarnet's s6 supervises in it
}

// newDocker prepares a home for a container of the image from nothing; run
// starts the container.
func newDocker(t *testing.T) *docker {
	t.Helper()
	buildImage(t)
	return newContainer(t, builtImage)
}

// newDockerBare is newDocker for the image as it is shipped.
func newDockerBare(t *testing.T) *docker {
	t.Helper()
	d := newDocker(t)
	d.image = "hermes-e2e-base"
	return d
}

// newDockerS6 is newDocker for the image with s6.
func newDockerS6(t *testing.T) *docker {
	t.Helper()
	buildImageS6(t)
	d := newContainer(t, builtImageS6)
	d.s6 = true
	return d
}

func newContainer(t *testing.T, image func() (id string, err error)) *docker {
	t.Helper()
	home, err := os.MkdirTemp("", "hermes-docker-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := image()
	if err != nil {
		t.Fatal(err)
	}
	d := &docker{homeDir: homeDir{t, home, 0}, name: filepath.Base(home), image: id}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("docker", "logs", d.name).CombinedOutput()
			t.Logf("docker logs %s:\n%s", d.name, out)
		}
		_ = exec.Command("docker", "rm", "--force", "--volumes", d.name).Run()
		os.RemoveAll(home)
	})
	return d
}

// probe makes a profile whose gateway is the probe with these flags.
func (d *docker) probe(name string, flags ...string) {
	d.t.Helper()
	d.profile(name)
	d.configure(name, flags...)
}

// configure sets the probe's flags.
func (d *docker) configure(name string, flags ...string) {
	d.t.Helper()
	d.write(name, "config.yaml", probeConfig(d.t, "/bin/probe", flags))
}

// run starts the container in the background with options before the image
// and the command after it.
func (d *docker) run(options []string, command ...string) {
	d.t.Helper()
	args := append([]string{"run", "--detach", "--name", d.name, "--volume", d.home + ":/opt/data"}, options...)
	d.docker(append(append(args, d.image), command...)...)
}

// docker is one docker command that has to succeed.
func (d *docker) docker(args ...string) string {
	d.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// hermes is a hermes command in the container.
func (d *docker) hermes(args ...string) (stdout, stderr string, code int) {
	return d.exec(append([]string{d.name, "hermes"}, args...)...)
}

func (d *docker) exec(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	cmd := exec.Command("docker", append([]string{"exec"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		d.t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

func (d *docker) must(args ...string) string {
	d.t.Helper()
	stdout, stderr, code := d.hermes(args...)
	if code != 0 {
		d.t.Fatalf("hermes %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func (d *docker) fleet() (f api.Fleet, err error) {
	stdout, stderr, code := d.hermes("status", "--json")
	if code != 0 {
		return f, fmt.Errorf("status: exit %d: %s", code, stderr)
	}
	return f, json.Unmarshal([]byte(stdout), &f)
}

// expect compares "name state" pairs with the fleet, default left out.
func (d *docker) expect(want ...string) func() error {
	return func() error {
		f, err := d.fleet()
		if err != nil {
			return err
		}
		return compare(f, want)
	}
}
