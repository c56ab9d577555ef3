package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// homeDir is a home as files: what a test prepares in it, and what the probes
// leave there.
type homeDir struct {
	t     *testing.T
	home  string
	owner int // who gets what is made here, where the test is root
}

func (h *homeDir) dir(name string) string {
	if name == "default" {
		return h.home
	}
	return filepath.Join(h.home, "profiles", name)
}

// give hands a file to the home's owner.
func (h *homeDir) give(path string) {
	h.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Lchown(path, h.owner, h.owner); err != nil {
		h.t.Fatal(err)
	}
}

// profile makes one that has nothing but its mark.
func (h *homeDir) profile(name string) {
	h.t.Helper()
	dir := h.dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.give(filepath.Dir(dir))
	h.give(dir)
	h.write(name, "SOUL.md", "I am "+name+".\n")
}

// probeConfig is a config.yaml that runs the probe, open at the end.
func probeConfig(t *testing.T, path string, flags []string) string {
	t.Helper()
	words, err := json.Marshal(append([]string{path}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	return "gateway:\n  command: " + string(words) + "\n"
}

func (h *homeDir) write(name, file, content string) {
	h.t.Helper()
	path := filepath.Join(h.dir(name), file)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.give(path)
}

// lines are those of a file of the profile, none if it is not there.
func (h *homeDir) lines(name, file string) []string {
	content, err := os.ReadFile(filepath.Join(h.dir(name), file))
	if err != nil || len(content) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
}

// started waits until the probe has been started that many times.
func (h *homeDir) started(name string, times int) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%s started %d times", name, times), func() error {
		if got := len(h.lines(name, "starts")); got != times {
			return fmt.Errorf("%d times", got)
		}
		return nil
	})
}

// noDoubles checks that nobody met itself and how often each started.
func (h *homeDir) noDoubles(starts map[string]int) {
	h.t.Helper()
	for name, want := range starts {
		if d := h.lines(name, "doubles"); len(d) > 0 {
			h.t.Errorf("%s met itself: %v", name, d)
		}
		if got := len(h.lines(name, "starts")); got != want {
			h.t.Errorf("%s started %d times, want %d", name, got, want)
		}
	}
}

// patience bounds every wait; nothing here takes long on an idle machine.
const patience = 30 * time.Second

// eventually polls until check is content.
func (h *homeDir) eventually(what string, check func() error) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("not in %v: %s: %v", patience, what, err)
		}
		<-tick.C
	}
}
