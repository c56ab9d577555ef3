package hermes_test

import (
	"fmt"
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	seedsPage = "docs/seeds.md"
	// seedsRows is the number of the last promise.
	seedsRows = 96
	// What the original's commits say of their own tests.
	originalsTests       = 97
	originalsDockerTests = 19
)

// TestSeeds: every promise has its row, every row tests that exist and run, and
// the numbers that the page states are right.
func TestSeeds(t *testing.T) {
	row := regexp.MustCompile(`^\| (\d+) \| (.+) \|$`)
	name := regexp.MustCompile("`([a-z0-9/]+\\.Test\\w+|test/script/[\\w-]+\\.txtar)`")
	page := readFile(t, seedsPage)
	tests := goTests(t)
	named := map[string]bool{}
	var rows []int
	for line := range strings.Lines(page) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		if len(rows) > 0 && n <= rows[len(rows)-1] || n < 1 || n > seedsRows {
			t.Errorf("%s: row %d stands after row %v", seedsPage, n, rows)
		}
		rows = append(rows, n)
		cells := strings.Split(m[2], " | ")
		if len(cells) != 3 {
			t.Errorf("%s: row %d has %d cells, want a promise, what hermes does and its tests", seedsPage, n, len(cells))
			continue
		}
		proof := name.FindAllStringSubmatch(cells[2], -1)
		if len(proof) == 0 {
			t.Errorf("%s: row %d names no test", seedsPage, n)
		}
		for _, p := range proof {
			named[p[1]] = true
			if strings.HasPrefix(p[1], "test/script/") {
				if _, err := os.Stat(p[1]); err != nil {
					t.Errorf("%s: row %d: %v", seedsPage, n, err)
				}
			} else if _, ok := tests[p[1]]; !ok {
				t.Errorf("%s: row %d names %s, which is no test that runs", seedsPage, n, p[1])
			}
		}
		if rest := strings.Trim(name.ReplaceAllString(cells[2], ""), ", "); rest != "" {
			t.Errorf("%s: row %d: %q is no test's name", seedsPage, n, rest)
		}
	}
	for n := 1; n <= seedsRows; n++ {
		if !slices.Contains(rows, n) {
			t.Errorf("%s: row %d is missing", seedsPage, n)
		}
	}
	countSeeds(t, page, len(rows), named, tests)
}

// countSeeds checks the sentence with the numbers, and that there are no fewer
// tests than the original had.
func countSeeds(t *testing.T, page string, rows int, named, tests map[string]bool) {
	t.Helper()
	docker := 0
	for n := range named {
		if tests[n] {
			docker++
		}
	}
	want := fmt.Sprintf("The page has %d rows. The original's commits speak of %d tests, %d of them against containers; this page names %d, %d of them against containers.",
		rows, originalsTests, originalsDockerTests, len(named), docker)
	if *update {
		page = regexp.MustCompile(`(?m)^The page has \d+ rows\. .*$`).ReplaceAllString(page, want)
		if err := os.WriteFile(seedsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(page, want) {
		t.Errorf("%s does not say %q: go test . -run TestSeeds -update", seedsPage, want)
	}
	if len(named) < originalsTests || docker < originalsDockerTests {
		t.Errorf("%s names %d tests, %d against containers; the original had %d and %d",
			seedsPage, len(named), docker, originalsTests, originalsDockerTests)
	}
}

// goTests are the tests that go test runs on Linux, as package.Name, those of
// the root in "hermes"; true for those that start containers.
func goTests(t *testing.T) map[string]bool {
	t.Helper()
	constraint := regexp.MustCompile(`(?m)^//go:build|_(darwin|windows|freebsd|openbsd|netbsd|arm64)_test\.go$`)
	all := map[string]bool{}
	containers := startContainers(t)
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, "_test.go") || constraint.MatchString(s.path) || constraint.Match(s.text) {
			continue
		}
		dir := s.dir
		if dir == "." {
			dir = "hermes"
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && isTest(f) {
				all[dir+"."+f.Name.Name] = s.dir == "test/e2e" && containers[f.Name.Name]
			}
		}
	}
	return all
}

// startContainers are the functions of test/e2e that use newContainer, or one that
// does.
func startContainers(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{"newContainer": true}
	for before := 0; before < len(found); {
		before = len(found)
		for _, s := range sources(t) {
			if s.dir != "test/e2e" {
				continue
			}
			for _, d := range s.ast.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Body != nil && mentions(f.Body, found) {
					found[f.Name.Name] = true
				}
			}
		}
	}
	return found
}

// mentions reports whether one of the functions is called there, or handed on.
func mentions(body ast.Node, names map[string]bool) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && names[id.Name]
		return !found
	})
	return found
}

// isTest reports what go test takes for a test, and not TestMain.
func isTest(f *ast.FuncDecl) bool {
	params := f.Type.Params.List
	if f.Recv != nil || f.Body == nil || len(f.Body.List) == 0 || !strings.HasPrefix(f.Name.Name, "Test") || len(params) != 1 {
		return false
	}
	star, ok := params[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	sel, ok := star.X.(*ast.SelectorExpr)
	return ok && isName(sel.X, "testing") && sel.Sel.Name == "T"
}

// TestTipBesideTheExample: who copies the first command of the page on Docker,
// or of the README, reads what it does, what that holds for and what opts out.
func TestTipBesideTheExample(t *testing.T) {
	const near = 15 // lines
	page := strings.Split(readFile(t, "docs/docker.md"), "\n")
	example := slices.IndexFunc(page, func(line string) bool { return strings.HasSuffix(line, "hermes gateway run") })
	tip := slices.IndexFunc(page, func(line string) bool { return strings.HasPrefix(line, "> **Tip: Gateway runs supervised.**") })
	if example < 0 || tip < example || tip > example+near {
		t.Fatalf("the first example is in line %d, the tip in line %d", example+1, tip+1)
	}
	var said strings.Builder
	for _, line := range page[tip:] {
		if !strings.HasPrefix(line, ">") {
			break
		}
		said.WriteString(strings.TrimPrefix(line, "> ") + " ")
	}
	for _, want := range []string{
		"stderr", "restarts on a crash", "exit code 0", "*What it holds for:*", "On a host", "hermes is not the init", "--no-supervise", "HERMES_GATEWAY_NO_SUPERVISE=1", "`=0` does not opt out", "CI jobs",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the tip does not say %q:\n%s", want, said.String())
		}
	}
	if !strings.Contains(readFile(t, "README.md"), "docs/docker.md#hermes-in-docker") {
		t.Error("README.md does not lead to the tip")
	}
}

// TestTradeOffIsSaid: the code that redirects says whose exit code the
// container's is then, and how to have the other one.
func TestTradeOffIsSaid(t *testing.T) {
	for _, s := range sources(t) {
		if s.path != "internal/cli/cmd_gateway_run.go" {
			continue
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "redirect" {
				continue
			}
			for _, want := range []string{"exit code", "0", "never the gateway's", "--no-supervise"} {
				if !strings.Contains(strings.Join(strings.Fields(f.Doc.Text()), " "), want) {
					t.Errorf("%s: the comment does not say %q", s.at(f), want)
				}
			}
			return
		}
	}
	t.Error("did not find the function that redirects")
}
