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
	"sync"
	"testing"

	"hermes/api"
)

// image is the shipped image with what tests need on top: the probe, and
// Debian's busybox-static for gateways that need a shell.
const image = "hermes-e2e"

// bareImage is an image of somebody else's with hermes in it: it has neither
// /run nor /tmp.
const (
	bareImage      = "hermes-e2e-bare"
	bareDockerfile = "FROM scratch\nCOPY --from=hermes-e2e-base /init /init\nCOPY --from=hermes-e2e-base /init /bin/hermes\n" +
		"COPY busybox probe /bin/\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\n" +
		"ENV HERMES_HOME=/opt/data PATH=/bin\nENTRYPOINT [\"/init\"]\n"
)

// docker is one container with a home in a directory of this host.
type docker struct {
	homeDir
	name  string
	image string
}

// buildImage builds the image under test once, from the tree as it is.
func buildImage(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		unavailable(t, fmt.Sprintf("no Docker engine here: %v\n%s", err, out))
	}
	if err := buildOnce(); err != nil {
		t.Fatal(err)
	}
}

var buildOnce = sync.OnceValue(func() error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return errors.New("no busybox: apt-get install busybox-static")
	}
	dir := filepath.Join(binaries().dir, "image")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{busybox: "busybox", binaries().probe: "probe"} {
		if err := copyFile(from, filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	dockerfile := "FROM hermes-e2e-base\nCOPY busybox probe /bin/\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bare"), []byte(bareDockerfile), 0o644); err != nil {
		return err
	}
	for _, c := range []*exec.Cmd{
		exec.Command("make", "-C", "../..", "image", "IMAGE=hermes-e2e-base"),
		exec.Command("docker", "build", "--quiet", "--tag", image, dir),
		exec.Command("docker", "build", "--quiet", "--tag", bareImage, "--file", filepath.Join(dir, "bare"), dir),
	} {
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", c.Args, err, out)
		}
	}
	return nil
})

// builtImage is the image by its id: another run of these tests on this machine
// takes the name away.
var builtImage = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("docker", "image", "inspect", "--format", "{{.Id}}", image).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
})

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// newDocker prepares a home; run starts the container.
func newDocker(t *testing.T) *docker {
	t.Helper()
	buildImage(t)
	home, err := os.MkdirTemp("", "hermes-docker-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := builtImage()
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
