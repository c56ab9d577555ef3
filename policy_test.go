// Package hermes_test holds the repository to its own rules: which package may
// import which, what no code here does, what every page must be true about.
//
// The tests read the sources themselves, with go/parser: what they open is part
// of the key of the test cache, so a cached pass is never stale. ARCHITECTURE.md
// explains the rules; an exception is a line in a table here, with its reason.
package hermes_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// source is one Go file of the repository.
type source struct {
	path string // relative to the repository, with slashes
	dir  string
	test bool // a _test.go file, or a package that only tests use
	ast  *ast.File
	fset *token.FileSet
	text []byte
}

// at is where a node stands, for messages.
func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(n.Pos()).Line)
}

// lines is the number of lines a node takes.
func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// imports are the paths a file imports.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

// sources are all Go files.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var parseOnce = sync.OnceValues(func() ([]source, error) {
	var all []source
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s := source{path: path, dir: filepath.ToSlash(filepath.Dir(path)), fset: token.NewFileSet(), text: text}
		rank, _ := rankOf(s.dir)
		s.test = strings.HasSuffix(path, "_test.go") || rank == free
		s.ast, err = parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		all = append(all, s)
		return err
	})
	return all, err
})

// walk calls f for every file of the repository, as far as git would take it:
// not for what is built, and not for what a person tries out.
func walk(f func(path string) error) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch path {
			case ".git", "build", "home":
				return filepath.SkipDir
			}
			return nil
		}
		if path == ".git" { // of a worktree
			return nil
		}
		return f(filepath.ToSlash(path))
	})
}

// ourImport is the directory of a package of this module, ok false for others.
func ourImport(path string) (dir string, ok bool) {
	if path == "hermes" {
		return ".", true
	}
	return strings.CutPrefix(path, "hermes/")
}
