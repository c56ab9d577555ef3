package hermes_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// free is the rank of packages that only tests use: they may import anything,
// and nothing that ships may import them.
const free = 99

// ranks are the layers. A package imports packages of a strictly lower rank,
// never its neighbours; one without a rank fails.
func ranks() map[string]int {
	return map[string]int{
		"api":                        0,
		"internal/amount":            0,
		"internal/capability":        0,
		"internal/condition":         0,
		"internal/fault":             0,
		"internal/notify":            0,
		"internal/process":           0,
		"internal/profile":           0,
		"internal/lease":             1,
		"internal/runtimedir":        0,
		"client":                     2,
		"internal/access":            2,
		"internal/config":            1,
		"internal/event":             1,
		"internal/lifecycle":         1,
		"internal/logfile":           1,
		"internal/port":              1,
		"internal/reconcile":         2, // it bounds a kept backoff with restart's numbers
		"internal/restart":           1,
		"internal/machine":           1,
		"internal/slotlock":          1,
		"internal/vitals":            1,
		"internal/wire":              1,
		"internal/stray":             2,
		"internal/engine":            2,
		"internal/holder":            2,
		"internal/keeper":            2,
		"internal/launch":            3,
		"internal/s6":                3,
		"internal/store":             3,
		"internal/engine/native":     3,
		"internal/census":            4,
		"internal/gateway":           4,
		"internal/recipe":            4,
		"internal/s6fleet":           5,
		"internal/s6init":            6,
		"internal/supervisor":        5,
		"internal/server":            5,
		"internal/dashboard":         5,
		"internal/app":               6,
		"internal/cli":               7,
		"cmd/hermes":                 8,
		".":                          free,
		"bench":                      free,
		"internal/engine/enginetest": free,
		"internal/fleettest":         free,
		"internal/testkit":           free,
	}
}

func rankOf(dir string) (int, bool) {
	if strings.HasPrefix(dir, "test/") {
		return free, true
	}
	rank, ok := ranks()[dir]
	return rank, ok
}

// TestImportRanks keeps the layers apart.
func TestImportRanks(t *testing.T) {
	reported := map[string]bool{}
	for _, s := range sources(t) {
		mine, ok := rankOf(s.dir)
		if !ok {
			if !reported[s.dir] {
				t.Errorf("%s has no rank: give it one in imports_test.go", s.dir)
			}
			reported[s.dir] = true
			continue
		}
		if s.test {
			continue
		}
		for _, path := range s.imports() {
			dir, ours := ourImport(path)
			theirs, known := rankOf(dir)
			if ours && known && theirs >= mine {
				t.Errorf("%s: %s (rank %d) imports %s (rank %d)", s.path, s.dir, mine, dir, theirs)
			}
		}
	}
	for dir := range ranks() {
		if !slices.ContainsFunc(sources(t), func(s source) bool { return s.dir == dir }) {
			t.Errorf("%s has a rank but does not exist", dir)
		}
	}
}

// purePackages decide and do nothing: the same facts in, the same answer out.
func purePackages() []string {
	return []string{
		"api", "internal/profile", "internal/fault", "internal/amount", "internal/capability", "internal/condition",
		"internal/lifecycle", "internal/restart", "internal/reconcile", "internal/port",
	}
}

// TestPurePackages: no I/O, no clock, no goroutine, nobody else's code.
func TestPurePackages(t *testing.T) {
	forbidden := []string{"os", "net", "syscall", "log", "sync", "context", "unsafe", "math/rand", "math/rand/v2", "crypto/rand", "io/fs"}
	for _, s := range sources(t) {
		if s.test || !slices.Contains(purePackages(), s.dir) {
			continue
		}
		for _, path := range s.imports() {
			if _, ours := ourImport(path); ours {
				continue // by rank
			}
			switch {
			case path == "net/http" && s.dir == "internal/fault":
				// The names of HTTP's status codes, nothing else.
			case strings.Contains(strings.Split(path, "/")[0], "."):
				t.Errorf("%s imports %s, which is not of the standard library", s.path, path)
			case slices.ContainsFunc(forbidden, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") }):
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in a pure package", s.at(n))
			case *ast.SelectorExpr:
				clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
				if isName(n.X, "time") && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s: time.%s in a pure package", s.at(n), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestEnvironmentIsReadOnce: config alone turns variables into settings. What
// is handed on as a whole (os.Environ) is not read.
func TestEnvironmentIsReadOnce(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.dir == "internal/config" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isName(sel.X, "os") && slices.Contains([]string{"Getenv", "LookupEnv", "ExpandEnv"}, sel.Sel.Name) {
				t.Errorf("%s: os.%s: the environment is read by internal/config alone", s.at(n), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestOneSeam: commands reach a fleet through one function, which knows every
// engine.
func TestOneSeam(t *testing.T) {
	const seam = "internal/cli/seam.go"
	found := false
	for _, s := range sources(t) {
		if s.test || s.dir == "client" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && isName(sel.X, "client") && sel.Sel.Name == "Find" {
				found = true
				if s.path != seam {
					t.Errorf("%s: client.Find: %s finds the fleet, under whatever engine", s.at(sel), seam)
				}
			}
			return true
		})
	}
	if !found {
		t.Errorf("%s finds nobody", seam)
	}
}

func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
