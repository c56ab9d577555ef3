// Package e2e drives the shipped binary from outside, on this host and in
// Docker, with real processes that find doubles of themselves.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built is where TestMain put the binaries; any uid may execute them.
type built struct{ dir, hermes, probe string }

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hermes-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, pkg := range map[string]string{"hermes": "hermes/cmd/hermes", "probe": "hermes/test/probe"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	if err := os.Setenv("HERMES_E2E_BIN", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func binaries() built {
	dir := os.Getenv("HERMES_E2E_BIN")
	return built{dir, filepath.Join(dir, "hermes"), filepath.Join(dir, "probe")}
}

// unavailable leaves a test out where the machine cannot run it, and says so;
// CI must be able to run everything.
func unavailable(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must run this test: %s", what)
	}
	t.Skip(what)
}
