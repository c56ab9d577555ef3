package hermes_test

import (
	"go/ast"
	"go/scanner"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	keeperDir  = "internal/keeper"
	keeperPage = "docs/keeper.md"
	// keeperRules is how many rules the page has, keeperLines how many lines of
	// code the keeper may have. A number that only ever falls: what does not fit
	// is policy, and belongs to the engine.
	keeperRules = 28
	keeperLines = 1940
)

// TestKeeperRulesHaveTests: every rule of the keeper's page names tests that
// exist. A rule without one says what has yet to be built.
func TestKeeperRulesHaveTests(t *testing.T) {
	row := regexp.MustCompile(`^\| (\d+) \| (.+) \|$`)
	name := regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`|`(test/script/[\\w-]+\\.txtar)`")
	tests := testNames(t)
	seen := 0
	for line := range strings.Lines(readFile(t, keeperPage)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		seen++
		if n, err := strconv.Atoi(m[1]); err != nil || n != seen {
			t.Errorf("%s: rule %s stands where rule %d should", keeperPage, m[1], seen)
		}
		cells := strings.Split(m[2], " | ")
		if len(cells) != 3 {
			t.Errorf("%s: rule %d has %d cells, want what goes wrong, the rule and its tests", keeperPage, seen, len(cells))
			continue
		}
		named := name.FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 && !strings.HasPrefix(cells[2], "not built yet: ") {
			t.Errorf("%s: rule %d names no test", keeperPage, seen)
		}
		for _, n := range named {
			if script := n[3]; script != "" {
				if _, err := os.Stat(script); err != nil {
					t.Errorf("%s: rule %d: %v", keeperPage, seen, err)
				}
			} else if !tests[n[1]+"."+n[2]] {
				t.Errorf("%s: rule %d names %s.%s, which does not exist", keeperPage, seen, n[1], n[2])
			}
		}
		if rest := name.ReplaceAllString(cells[2], ""); strings.Contains(rest, "`") {
			t.Errorf("%s: rule %d: %q is no test's name", keeperPage, seen, rest)
		}
	}
	if seen != keeperRules {
		t.Errorf("%s has %d rules, want %d", keeperPage, seen, keeperRules)
	}
}

// testNames are the tests there are, as package.Name; those of the root have the
// package "hermes".
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, s := range sources(t) {
		dir := s.dir
		if dir == "." {
			dir = "hermes"
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasSuffix(s.path, "_test.go") && strings.HasPrefix(f.Name.Name, "Test") {
				names[dir+"."+f.Name.Name] = true
			}
		}
	}
	return names
}

// TestKeeperStaysSmall: PID 1 is small, and depends on nothing that decides,
// parses or speaks HTTP.
func TestKeeperStaysSmall(t *testing.T) {
	allowed := []string{"golang.org/x/sys/unix", "hermes/internal/process", "hermes/internal/slotlock", "hermes/internal/wire"}
	banned := []string{"net", "log", "encoding/json", "regexp", "text/template", "os/exec", "plugin", "database/sql"}
	lines := 0
	for _, s := range sources(t) {
		if s.dir != keeperDir || s.test {
			continue
		}
		lines += codeLines(s)
		for _, path := range s.imports() {
			first, _, _ := strings.Cut(path, "/")
			if first == "hermes" || strings.Contains(first, ".") {
				if !slices.Contains(allowed, path) {
					t.Errorf("%s imports %s, which is none of %v", s.path, path, allowed)
				}
				continue
			}
			for _, b := range banned {
				if path == b || strings.HasPrefix(path, b+"/") {
					t.Errorf("%s imports %s", s.path, path)
				}
			}
		}
	}
	if lines == 0 || lines > keeperLines {
		t.Errorf("the keeper has %d lines of code, its budget is %d", lines, keeperLines)
	}
	if page, want := readFile(t, keeperPage), strconv.Itoa(keeperLines); !strings.Contains(page, "budget is "+want[:1]+","+want[1:]+" lines") {
		t.Errorf("%s does not say that the budget is %s lines", keeperPage, want)
	}
}

// codeLines is how many lines have more than a comment on them.
func codeLines(s source) int {
	var sc scanner.Scanner
	file := token.NewFileSet().AddFile(s.path, -1, len(s.text))
	sc.Init(file, s.text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, lit := sc.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		for i := range strings.Count(lit, "\n") + 1 {
			lines[file.Line(pos)+i] = true
		}
	}
}

// mayBeNonblocking are the descriptors whose O_NONBLOCK is set after they were
// made. It is a flag of the open description: whoever else has it is hit, and for
// 0 to 2 that is the terminal, or the container's log.
func mayBeNonblocking() map[string]string {
	return map[string]string{
		"internal/keeper/fork.go":              "the keeper's end of a log pipe; the gateway has the other",
		"internal/process/handle.go":           "a pidfd of its own",
		"internal/wire/socket.go":              "an end of the keeper's own connection",
		"internal/supervisor/notifysockets.go": "an epoll set of its own",
		"internal/engine/enginetest/world.go":  "the fake's end of a log pipe",
	}
}

// TestDescriptorsStayAsTheyAre: no shared descriptor is made to block, none is
// made not to. [TestForbiddenCalls] bans (*os.File).Fd.
func TestDescriptorsStayAsTheyAre(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch sel.Sel.Name {
			case "SetNonblock":
				used[s.path] = true
				if mayBeNonblocking()[s.path] == "" {
					t.Errorf("%s: SetNonblock changes a descriptor for everybody who has it", s.at(sel))
				}
			case "F_SETFL":
				t.Errorf("%s: F_SETFL changes a descriptor for everybody who has it", s.at(sel))
			case "ExtraFiles":
				if !s.test {
					t.Errorf("%s: ExtraFiles calls Fd, which makes the descriptor block for everybody who has it", s.at(sel))
				}
			}
			return true
		})
	}
	for p := range mayBeNonblocking() {
		if !used[p] {
			t.Errorf("%s is allowed to call SetNonblock and does not: remove the line", path.Base(p))
		}
	}
}
