package hermes_test

import (
	"bytes"
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// The budgets of a file and of a function, in lines.
const (
	maxFileLines = 600
	maxFuncLines = 60
)

// What may be longer than a function: data, and a story that loses its point
// when it is cut into pieces.
const (
	cases = "a table of cases: data, read from top to bottom"
	story = "one operator's story, told in its order"
)

// longFunctions may be longer than the budget.
func longFunctions() map[string]string {
	return map[string]string{
		"internal/config.TestParseFile":                      cases,
		"internal/config.TestParseFileErrors":                cases,
		"internal/launch.TestFaults":                         cases,
		"internal/reconcile.TestBoot":                        cases,
		"internal/server.TestRoutes":                         cases,
		"internal/server.routes":                             "the table of routes, which the reference page is made from",
		"internal/store.TestCorruptStateFiles":               cases,
		"internal/supervisor.TestBootTable":                  cases,
		"internal/supervisor.TestRunsOutliveTheirSupervisor": cases,
		"test/e2e.TestHomeOfTheOriginalBootsTwice":           story,
		"test/e2e.TestSetupInDocker":                         story,
		"internal/cli.TestSetupAsks":                         story,
	}
}

// TestBudgets: what does not fit on a screen or two is taken apart.
func TestBudgets(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, the budget is %d", s.path, n, maxFileLines)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.lines(f) <= maxFuncLines {
				continue
			}
			name := s.dir + "." + f.Name.Name
			if longFunctions()[name] == "" {
				t.Errorf("%s: %s has %d lines, the budget is %d", s.at(f), f.Name.Name, s.lines(f), maxFuncLines)
			}
			used[name] = true
		}
	}
	for name := range longFunctions() {
		if !used[name] {
			t.Errorf("%s is allowed to be long and is not: remove the line", name)
		}
	}
}

// TestPackageComments: exactly one package comment per package.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if _, ok := comments[s.dir]; !ok {
			comments[s.dir] = nil
		}
		if s.ast.Doc != nil {
			comments[s.dir] = append(comments[s.dir], s.path)
			if !strings.HasPrefix(s.ast.Doc.Text(), "Package ") && !strings.HasPrefix(s.ast.Doc.Text(), "Command ") {
				t.Errorf("%s: a package comment begins with Package or Command", s.path)
			}
		}
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments, want 1: %v", dir, len(files), files)
		}
	}
}

// mayExit are the files that may end the process: the programs.
func mayExit(s source) bool { return s.dir == "cmd/hermes" || s.test }

// maySkip are the helpers by which a test is left out: they give the reason,
// and fail where CI=true.
func maySkip(s source) bool {
	return s.path == "test/e2e/main_test.go" || s.path == "internal/testkit/testkit.go"
}

// mayUseFd are files that call (*os.File).Fd, which makes the descriptor block
// for everybody who shares it.
func mayUseFd() map[string]string {
	return map[string]string{
		"test/probe/main.go": "a lock file of the probe's own, which nobody shares",
	}
}

// TestForbiddenCalls: what no code here does.
func TestForbiddenCalls(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: func init: say it where it is used", s.at(n))
				}
			case *ast.SelectorExpr:
				checkSelector(t, s, n)
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Fd" && len(n.Args) == 0 && mayUseFd()[s.path] == "" {
					t.Errorf("%s: Fd() clears O_NONBLOCK: use SyscallConn", s.at(n))
				}
			}
			return true
		})
	}
}

func checkSelector(t *testing.T, s source, sel *ast.SelectorExpr) {
	t.Helper()
	switch name := sel.Sel.Name; {
	case isName(sel.X, "time") && name == "Sleep":
		t.Errorf("%s: time.Sleep: wait for what is awaited, with a deadline", s.at(sel))
	case isName(sel.X, "os") && name == "Exit" && !mayExit(s):
		t.Errorf("%s: os.Exit: return a status, cmd/hermes exits", s.at(sel))
	case isName(sel.X, "log") && strings.HasPrefix(name, "Fatal"):
		t.Errorf("%s: log.%s: return the error", s.at(sel), name)
	case isTesting(sel.X) && (name == "Skip" || name == "Skipf" || name == "SkipNow") && !maySkip(s):
		t.Errorf("%s: %s: say testkit.Unavailable(t, why), which fails where CI=true", s.at(sel), name)
	}
}

// isTesting reports what is by its name a *testing.T, B, F or TB.
func isTesting(e ast.Expr) bool {
	return isName(e, "t") || isName(e, "tb") || isName(e, "b") || isName(e, "f")
}

// constantVariables are package variables that are read only although Go
// cannot say so.
func constantVariables() map[string]string {
	return map[string]string{
		"internal/lifecycle.cells": "the table, copied by Next cell by cell",
	}
}

// TestPackageVariables: no package has state. What a variable may be: an error
// to compare with, a compiled regexp, an interface check, an embedded file.
func TestPackageVariables(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, spec := range decl.Specs {
				v := spec.(*ast.ValueSpec)
				for i, id := range v.Names {
					name := s.dir + "." + id.Name
					if id.Name == "_" || isEmbedded(decl, v) || i < len(v.Values) && isConstant(v.Values[i]) {
						continue
					}
					used[name] = true
					if constantVariables()[name] == "" {
						t.Errorf("%s: var %s: a package has no state; make it a constant, a function or a field", s.at(id), id.Name)
					}
				}
			}
		}
	}
	for name := range constantVariables() {
		if !used[name] {
			t.Errorf("%s is allowed to be a variable and is not there: remove the line", name)
		}
	}
}

func isEmbedded(decl *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, v.Doc} {
		if doc != nil && strings.HasPrefix(doc.List[len(doc.List)-1].Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// isConstant reports a call whose result nothing can change.
func isConstant(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	return isName(sel.X, "errors") && sel.Sel.Name == "New" || isName(sel.X, "regexp") && sel.Sel.Name == "MustCompile"
}

// TestPackageNames: a package is one noun.
func TestPackageNames(t *testing.T) {
	banned := map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "types": true, "base": true, "manager": true, "core": true, "pkg": true, "misc": true}
	for _, s := range sources(t) {
		if name := path.Base(s.dir); banned[name] {
			t.Errorf("%s: a package called %s says nothing of what it holds", s.path, name)
		}
	}
}
