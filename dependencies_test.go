package hermes_test

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated pages")

const dependenciesFile = "docs/reference/dependencies.txt"

// TestDependencies: what is in the binary is a list that somebody read. It has
// one module per line; -update writes it.
func TestDependencies(t *testing.T) {
	sources(t) // the test is to run again when an import changes, not only this file
	readFile(t, "go.mod")
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/hermes")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
	slices.Sort(modules)
	want := strings.ReplaceAll(strings.Join(slices.Compact(modules), "\n")+"\n", "@", " ")
	if *update {
		if err := os.WriteFile(dependenciesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFile(t, dependenciesFile); got != want {
		t.Errorf("%s is not fresh: read the difference, then go test . -run TestDependencies -update\ngot:\n%swant:\n%s", dependenciesFile, got, want)
	}
}

// TestDependenciesAreExplained: every module that is required directly has its
// paragraph: what for, and why this one.
func TestDependenciesAreExplained(t *testing.T) {
	page := readFile(t, "docs/dependencies.md")
	for _, file := range []string{"go.mod", "test/compat/go.mod", "test/browser/go.mod", "tools/go.mod"} {
		for _, module := range required(readFile(t, file)) {
			if !strings.Contains(page, "`"+module+"`") {
				t.Errorf("docs/dependencies.md says nothing of %s, which %s requires", module, file)
			}
		}
	}
}

// required are the modules a go.mod requires directly. Tools are, although
// they are listed as indirect.
func required(mod string) []string {
	var modules []string
	for line := range strings.Lines(mod) {
		line = strings.TrimSpace(line)
		tool, isTool := strings.CutPrefix(line, "tool ")
		fields := strings.Fields(line)
		switch {
		case isTool:
			modules = append(modules, tool)
		case len(fields) == 2 && strings.Contains(fields[0], ".") && strings.HasPrefix(fields[1], "v"):
			modules = append(modules, fields[0])
		case len(fields) == 3 && fields[0] == "require":
			modules = append(modules, fields[1])
		}
	}
	return modules
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
