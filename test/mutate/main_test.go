package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTable: every guard is in the source today, once, and every test is there.
// That it goes red takes `make mutate-gates`.
func TestTable(t *testing.T) {
	const root = "../.."
	seen := map[string]bool{}
	for _, m := range table() {
		source, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.apply(source); err != nil {
			t.Errorf("%s: %v", m.guard, err)
		}
		for _, key := range []string{m.guard, m.file + m.in + m.old + m.new} {
			if seen[key] {
				t.Errorf("%s is there twice: %q", m.guard, key)
			}
			seen[key] = true
		}
		pkg, name := m.target()
		first, _, _ := strings.Cut(name, "/")
		if !declares(t, filepath.Join(root, pkg), "func "+first+"(t *testing.T)") {
			t.Errorf("%s: %s has no %s", m.guard, pkg, first)
		}
	}
	for _, gate := range []string{"gate 1:", "gate 2:", "gate 3:"} {
		n := 0
		for guard := range seen {
			if strings.HasPrefix(guard, gate) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is removed %d times, want once", gate, n)
		}
	}
}

func declares(t *testing.T, dir, what string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(what)) {
			return true
		}
	}
	return false
}

// door is a module with two guards, one of which is tested.
func door(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "door"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"go.mod": "module house\n\ngo 1.26\n",
		"door/door.go": `package door

func Open(key, code string) bool {
	if key != "right" {
		return false
	}
	if code != "1234" {
		return false
	}
	return true
}
`,
		"door/door_test.go": `package door

import "testing"

func TestKey(t *testing.T) {
	t.Run("wrong", func(t *testing.T) {
		if Open("wrong", "1234") {
			t.Error("open")
		}
	})
}

func TestCode(t *testing.T) {
	if !Open("right", "1234") {
		t.Error("shut")
	}
}

func TestRed(t *testing.T) { t.Error("red anyway") }

func TestLeftOut(t *testing.T) { t.Skip("not here") }

func TestPanics(t *testing.T) {
	if Open("wrong", "1234") {
		panic("open")
	}
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func removed(test string) mutation {
	return mutation{"the key", "door/door.go", "Open", `key != "right"`, "false", test}
}

// TestProve: a guard is proven by a test that is green with it and red without.
func TestProve(t *testing.T) {
	dir := door(t)
	before, err := os.ReadFile(filepath.Join(dir, "door/door.go"))
	if err != nil {
		t.Fatal(err)
	}
	both := removed("door.TestPanics")
	both.guard = "the key, once more"
	var out bytes.Buffer
	if err := prove(t.Context(), dir, []mutation{removed("door.TestKey/wrong"), both}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "2 guards removed in turn") {
		t.Errorf("it says\n%s", out.String())
	}
	if after, err := os.ReadFile(filepath.Join(dir, "door/door.go")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the source was touched: %v\n%s", err, after)
	}
}

// TestNotProven: what is no proof, and what the table says then.
func TestNotProven(t *testing.T) {
	dir := door(t)
	for _, tt := range []struct {
		name string
		m    mutation
		want string
	}{
		{"a test that does not notice", mutation{"the code", "door/door.go", "Open", `code != "1234"`, "false", "door.TestCode"}, "stays green"},
		{"a test that is red anyway", removed("door.TestRed"), "with every guard in place ./door TestRed goes red"},
		{"a test that is left out", removed("door.TestLeftOut"), "is left out"},
		{"no such test", removed("door.TestKey/typo"), "is there such a test?"},
		{"a guard that has gone", mutation{"the key", "door/door.go", "Open", `key == "left"`, "false", "door.TestKey"}, "does not fit the source any more"},
		{"a function that has gone", mutation{"the key", "door/door.go", "Close", `key != "right"`, "false", "door.TestKey"}, "does not fit the source any more"},
		{"a guard that is there twice", mutation{"both", "door/door.go", "Open", "false", "true", "door.TestKey"}, "2 times"},
		{"a change that is no Go", mutation{"the key", "door/door.go", "Open", `key != "right"`, "}", "door.TestKey"}, "does not fit where"},
		{"a change that does not compile", mutation{"the key", "door/door.go", "Open", `key != "right"`, "lock", "door.TestKey"}, "does not compile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := prove(t.Context(), dir, []mutation{tt.m}, &out)
			if err == nil || !strings.Contains(out.String()+err.Error(), tt.want) {
				t.Errorf("%v, want %q\n%s", err, tt.want, out.String())
			}
		})
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"-only", "("}} {
		if code := run(args, new(bytes.Buffer)); code != 2 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
	if code := run([]string{"-only", "^no such guard$"}, new(bytes.Buffer)); code != 1 {
		t.Errorf("nothing to remove: exit %d", code)
	}
}
