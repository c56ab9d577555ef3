package server

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hermes/internal/fault"
)

const docsFile = "../../docs/reference/control-api.md"

// TestDocs keeps the reference page equal to the table and the wire types.
func TestDocs(t *testing.T) {
	want := docs(t)
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test ./internal/server -run TestDocs -update", docsFile)
	}
}

var update = flag.Bool("update", false, "rewrite generated files")

const docsHead = "# Control API\n\n" +
	"<!-- Generated: go test ./internal/server -run TestDocs -update -->\n\n" +
	"HTTP/1.1 and JSON over the supervisor's unix socket. Its path is `socket` in the record in `<home>/.hermes.lock`:\n\n" +
	"    curl --unix-socket \"$(head -1 \"$HERMES_HOME/.hermes.lock\" | jq -r .socket)\" http://hermes/v1/fleet\n\n" +
	"* **Who may.** The kernel tells the uid of a peer. Root, the home's owner and the fleet's uid may use every route; everybody else\n" +
	"  gets `supervisor_denied` (403). The gateways of a fleet share its uid, so this does not keep them apart.\n" +
	"* **Access.** `read` changes nothing. `control` does: it is logged with the peer's uid, and is acknowledged at once with the interim\n" +
	"  status 100, so that a client can tell a long wait from a supervisor that hangs. An action goes on when its client goes away.\n" +
	"* **Repeating.** Every request may be repeated. While the engine restarts, connections wait in the backlog; a request whose\n" +
	"  connection ends without an answer is to be sent again.\n" +
	"* **Bodies** may be left out: all fields have a default, except the names of profiles. At most 64 KiB. Fields not known are ignored.\n" +
	"* **Compatibility.** Routes, fields and codes are added, never changed.\n\n"

func docs(t *testing.T) string {
	var b strings.Builder
	b.WriteString(docsHead + "## Routes\n")
	for _, rt := range routes() {
		fmt.Fprintf(&b, "\n### `%s %s`\n\n%s\n\n", rt.method, rt.pattern, rt.does)
		fmt.Fprintf(&b, "* access: %s\n* command: `%s`\n", rt.access, rt.command)
		if rt.query != "" {
			fmt.Fprintf(&b, "* parameters: `%s`\n", strings.ReplaceAll(rt.query, ", ", "`, `"))
		}
		if rt.body != nil {
			fmt.Fprintf(&b, "* body: %s\n", link(rt.body))
		}
		if rt.answer != nil {
			stream := ""
			switch rt.stream {
			case "":
			case "line":
				stream = ", one per line, as they come (`application/x-ndjson`)"
			default:
				stream = ", one per line and " + rt.stream + ", as they come (`application/x-ndjson`)"
			}
			fmt.Fprintf(&b, "* answer: %s%s\n", link(rt.answer), stream)
		}
		if len(rt.codes) > 0 {
			fmt.Fprintf(&b, "* codes: %s\n", codeList(rt.codes))
		}
	}
	fmt.Fprintf(&b, "\n## Codes\n\nEvery route may answer with %s.\n\n| code | HTTP status | exit status of the CLI |\n| --- | --- | --- |\n", codeList(everyRoute()))
	for _, c := range allCodes() {
		fmt.Fprintf(&b, "| `%s` | %d | %d |\n", c, c.HTTPStatus(), c.ExitStatus())
	}
	b.WriteString("\n## Types\n")
	writeTypes(t, &b)
	return b.String()
}

func allCodes() []fault.Code {
	set := map[fault.Code]bool{}
	for _, c := range everyRoute() {
		set[c] = true
	}
	for _, rt := range routes() {
		for _, c := range rt.codes {
			set[c] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func codeList(codes []fault.Code) string {
	var s []string
	for _, c := range codes {
		s = append(s, fmt.Sprintf("`%s`", c))
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

// link names the wire type of v.
func link(v any) string {
	name := reflect.TypeOf(v).Name()
	if name == "" {
		return "`{}`"
	}
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
}

// writeTypes documents the structs of package api with their own comments.
func writeTypes(t *testing.T, b *strings.Builder) {
	var decls []ast.Decl
	for _, name := range []string{"api.go", "event.go", "profile.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), "../../api/"+name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		decls = append(decls, file.Decls...)
	}
	for _, decl := range decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			ts := spec.(*ast.TypeSpec)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			fmt.Fprintf(b, "\n### %s\n\n%s\n\n| field | type | |\n| --- | --- | --- |\n", ts.Name, prose(gen.Doc))
			for _, f := range st.Fields.List {
				writeField(t, b, ts.Name.Name, f)
			}
		}
	}
}

// writeField writes a row per name of f: its JSON name, its JSON type and what
// the source says of it.
func writeField(t *testing.T, b *strings.Builder, owner string, f *ast.Field) {
	if f.Tag == nil {
		t.Fatalf("a field of api.%s has no JSON name", owner)
	}
	name, rest, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
	text := prose(f.Doc)
	if text == "" {
		text = prose(f.Comment)
	}
	if rest != "" {
		text = strings.TrimSpace("optional. " + text)
	}
	fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, jsonType(f.Type), text)
}

func prose(c *ast.CommentGroup) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(c.Text()), " "), "|", "\\|")
}

func jsonType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return jsonType(e.X)
	case *ast.ArrayType:
		return "list of " + jsonType(e.Elt)
	case *ast.SelectorExpr:
		return "time (RFC 3339)"
	case *ast.Ident:
		switch e.Name {
		case "string", "bool":
			return e.Name
		case "int", "int64", "uint64":
			return "number"
		}
		return fmt.Sprintf("[%s](#%s)", e.Name, strings.ToLower(e.Name))
	}
	return "?"
}
