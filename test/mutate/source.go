package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// mutation removes one guard: a piece of a function is replaced.
type mutation struct {
	guard string // what it keeps from happening, in words
	file  string // relative to the module
	in    string // the function or method
	old   string // an expression or statement, as it stands there but for white space
	new   string // what is to stand there instead
	test  string // package.Test or package.Test/subtest
}

// apply is the source without the guard. The piece has to be in the function
// exactly once: one that is not there any more proves nothing.
func (m mutation) apply(source []byte) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, m.file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []span
	functions := 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != m.in {
			continue
		}
		functions++
		ast.Inspect(f, func(n ast.Node) bool {
			if n == nil {
				return false
			}
			at := span{fset.Position(n.Pos()).Offset, fset.Position(n.End()).Offset}
			if words(string(source[at.from:at.to])) == words(m.old) && !slices.Contains(found, at) {
				found = append(found, at) // an expression may be all of a statement
			}
			return true
		})
	}
	if functions != 1 || len(found) != 1 {
		return nil, fmt.Errorf("%s has %d functions %s with %d times %q: the table does not fit the source any more",
			m.file, functions, m.in, len(found), m.old)
	}
	mutated := string(source[:found[0].from]) + m.new + string(source[found[0].to:])
	if _, err := parser.ParseFile(fset, m.file, mutated, parser.SkipObjectResolution); err != nil {
		return nil, fmt.Errorf("%q does not fit where %q stands: %w", m.new, m.old, err)
	}
	return []byte(mutated), nil
}

// span is where a node stands in the text.
type span struct{ from, to int }

func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// target is the package, as go test wants it, and the name of the test.
func (m mutation) target() (pkg, name string) {
	dir, name, _ := strings.Cut(m.test, ".")
	return "./" + dir, name
}
