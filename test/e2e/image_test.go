package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// image is the shipped image with what tests need on top: the probe, and
// Debian's busybox-static for gateways that need a shell.
const image = "hermes-e2e"

// imageS6 is the shipped image with s6, likewise, on a Debian that takes no
// registry.
const (
	imageS6      = "hermes-e2e-s6"
	debian       = "hermes-e2e-debian"
	dockerfileS6 = "FROM hermes-e2e-base-s6\nCOPY busybox probe /bin/\n"
)

// bareImage is an image of somebody else's with hermes in it: it has neither
// /run nor /tmp.
const (
	bareImage      = "hermes-e2e-bare"
	bareDockerfile = "FROM scratch\nCOPY --from=hermes-e2e-base /init /init\nCOPY --from=hermes-e2e-base /init /bin/hermes\n" +
		"COPY busybox probe /bin/\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\n" +
		"ENV HERMES_HOME=/opt/data PATH=/bin\nENTRYPOINT [\"/init\"]\n"
)

// buildImage builds the image from nothing once, from the tree as it is.
func buildImage(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		unavailable(t, fmt.Sprintf("no Docker engine here: %v\n%s", err, out))
	}
	if err := buildOnce(); err != nil {
		t.Fatal(err)
	}
}

// buildImageS6 builds the one with s6.
func buildImageS6(t *testing.T) {
	t.Helper()
	buildImage(t)
	if _, err := exec.LookPath("debootstrap"); err != nil {
		unavailable(t, "no debootstrap here: apt-get install debootstrap")
	}
	if err := buildS6Once(); err != nil {
		t.Fatal(err)
	}
}

var buildOnce = sync.OnceValue(func() error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return errors.New("no busybox: apt-get install busybox-static")
	}
	if err := os.MkdirAll(imageDir(), 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{busybox: "busybox", binaries().probe: "probe"} {
		if err := copyFile(from, filepath.Join(imageDir(), to)); err != nil {
			return err
		}
	}
	err = run("make", "-C", "../..", "image", "IMAGE=hermes-e2e-base")
	if err == nil {
		err = buildOn(image, "FROM hermes-e2e-base\nCOPY busybox probe /bin/\nCOPY busybox /bin/sh\nCOPY busybox /bin/sleep\n")
	}
	if err == nil {
		err = buildOn(bareImage, bareDockerfile)
	}
	return err
})

var buildS6Once = sync.OnceValue(func() error {
	err := run("make", "-C", "../..", "base-s6", "image-s6", "IMAGE=hermes-e2e-base", "S6_BASE="+debian)
	if err == nil {
		err = buildOn(imageS6, dockerfileS6)
	}
	return err
})

// The images by their ids: another run of these tests on this machine takes
// the names away.
var (
	builtImage   = sync.OnceValues(func() (string, error) { return imageID(image) })
	builtImageS6 = sync.OnceValues(func() (string, error) { return imageID(imageS6) })
)

func imageID(name string) (string, error) {
	out, err := exec.Command("docker", "image", "inspect", "--format", "{{.Id}}", name).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// imageDir has what the tests' images are built from.
func imageDir() string { return filepath.Join(binaries().dir, "image") }

// buildOn builds an image from that directory.
func buildOn(name, dockerfile string) error {
	file := filepath.Join(imageDir(), name+".Dockerfile")
	if err := os.WriteFile(file, []byte(dockerfile), 0o644); err != nil {
		return err
	}
	return run("docker", "build", "--quiet", "--tag", name, "--file", file, imageDir())
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}

// inBothImages runs a test in the image from nothing and in the one with s6.
func inBothImages(t *testing.T, test func(t *testing.T, d *docker)) {
	t.Helper()
	t.Parallel()
	for name, prepare := range map[string]func(*testing.T) *docker{"native": newDocker, "s6": newDockerS6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, prepare(t))
		})
	}
}
