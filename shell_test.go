package hermes_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"hermes/internal/testkit"
)

// TestShellcheck runs shellcheck over every shell file of the repository.
func TestShellcheck(t *testing.T) {
	var files []string
	err := walk(func(path string) error {
		content, err := os.ReadFile(path)
		first, _, _ := bytes.Cut(content, []byte("\n"))
		words := bytes.Fields(first)
		script := len(words) > 0 && bytes.HasPrefix(first, []byte("#!")) &&
			slices.Contains([]string{"sh", "bash", "dash"}, filepath.Base(string(words[len(words)-1])))
		if script || filepath.Ext(path) == ".sh" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, ".ci/run") {
		t.Errorf("did not find .ci/run among the shell files %v", files)
	}
	if _, err := exec.LookPath("shellcheck"); err != nil {
		testkit.Unavailable(t, "no shellcheck here: apt-get install shellcheck")
	}
	if out, err := exec.Command("shellcheck", files...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
