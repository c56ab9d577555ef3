package s6

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hermes/internal/testkit"
)

// machine is a root directory with files and, where a name ends in a slash,
// directories.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if name[len(name)-1] == '/' {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return root
}

func TestDetect(t *testing.T) {
	const comm, base, service = "proc/1/comm", "run/s6/basedir/", "run/service/"
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"s6":                     {map[string]string{comm: "s6-svscan\n", base: "", service: ""}, true},
		"another process 1":      {map[string]string{comm: "hermes\n", base: "", service: ""}, false},
		"a name that begins so":  {map[string]string{comm: "s6-svscan-log\n", base: "", service: ""}, false},
		"no /proc":               {map[string]string{base: "", service: ""}, false},
		"no base directory":      {map[string]string{comm: "s6-svscan\n", service: ""}, false},
		"a file in its place":    {map[string]string{comm: "s6-svscan\n", "run/s6/basedir": "", service: ""}, false},
		"no scan directory":      {map[string]string{comm: "s6-svscan\n", base: ""}, false},
		"comm is no file":        {map[string]string{comm + "/": "", base: "", service: ""}, false},
		"nothing at all":         {map[string]string{}, false},
		"s6 without its newline": {map[string]string{comm: "s6-svscan", base: "", service: ""}, true},
	} {
		root := machine(t, c.files)
		d, err := Detect(root)
		if c.want && (err != nil || d.Dir != root+"/run/service") || !c.want && (!errors.Is(err, ErrAbsent) || d != (Scandir{})) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	root := machine(t, map[string]string{comm: "s6-svscan\n", base: "", service: ""})
	must(t, os.RemoveAll(filepath.Join(root, base)))
	must(t, os.Symlink(filepath.Join(root, service), filepath.Join(root, base[:len(base)-1])))
	if _, err := Detect(root); err != nil {
		t.Errorf("the base directory is a link: %v", err)
	}
}

// TestDetectUnprivileged: what it looks at is everybody's, and what an ordinary
// user cannot look at is no s6.
func TestDetectUnprivileged(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	root := machine(t, map[string]string{"proc/1/comm": "s6-svscan\n", "run/s6/basedir/": "", "run/service/": ""})
	if _, err := Detect(root); err != nil {
		t.Errorf("%v", err)
	}
	must(t, os.Chmod(root+"/run/s6", 0))
	defer os.Chmod(root+"/run/s6", 0o755)
	if _, err := Detect(root); !errors.Is(err, ErrAbsent) {
		t.Errorf("%v", err)
	}
}

// TestDetectHere: this machine's process 1 is what it is.
func TestDetectHere(t *testing.T) {
	name, _ := os.ReadFile("/proc/1/comm")
	_, err := Detect("")
	if string(name) != "s6-svscan\n" && !errors.Is(err, ErrAbsent) {
		t.Errorf("process 1 is %q: %v", name, err)
	}
}
