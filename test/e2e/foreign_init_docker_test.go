package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScriptsOfAnotherInit: what an image has for s6-overlay is named at boot and
// by doctor, and not run.
func TestScriptsOfAnotherInit(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		scripts := t.TempDir()
		for _, name := range []string{"10-mounts", "20-certs"} {
			if err := os.WriteFile(filepath.Join(scripts, name), []byte("#!/bin/sh\necho ran >>/opt/data/ran\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		d.probe("anna")
		d.run([]string{"--volume", scripts + ":/etc/cont-init.d:ro"})
		d.eventually("the supervisor answers", d.expect("anna stopped"))
		const want = "scripts of another init in /etc/cont-init.d are not run: 10-mounts, 20-certs"
		if n := strings.Count(d.logs(), "warning: "+want+" (foreign_init)\nhint: run them from the container's command"); n != 1 {
			t.Errorf("boot names them %d times:\n%s", n, d.logs())
		}
		if stdout, _, _ := d.hermes("doctor"); !strings.Contains(stdout, want) {
			t.Errorf("doctor says nothing of them:\n%s", stdout)
		}
		if _, err := os.Lstat(filepath.Join(d.home, "ran")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("one was run: %v", err)
		}
	})
}
