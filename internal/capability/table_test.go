package capability_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"hermes/internal/capability"
)

var update = flag.Bool("update", false, "rewrite generated files")

const page = "../../docs/reference/engines.md"

const head = "# Engines\n\n" +
	"Generated from the table by `make generate`. Every cell is proven: the [conformance suite](../developing.md#engines) runs over each engine and asserts what\n" +
	"is given, and for what is not that it is absent in just this way.\n\n" +
	"[../s6.md](../s6.md) is about s6, which is the engine of an image with `HERMES_ENGINE=s6`; without, it is `native`.\n\n"

// TestReferenceIsFresh keeps the page equal to the table.
func TestReferenceIsFresh(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test ./internal/capability -run TestReferenceIsFresh -update", page)
	}
}

func render() string {
	var b strings.Builder
	b.WriteString(head + "| capability | promise |")
	for _, e := range capability.Engines() {
		fmt.Fprintf(&b, " %s |", e)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(capability.Engines())) + "\n")
	for _, row := range capability.Table() {
		fmt.Fprintf(&b, "| `%s` | %s |", row.Capability, row.Means)
		for _, e := range capability.Engines() {
			mark := "no: "
			if row.Answers[e].Given {
				mark = "yes: "
			}
			fmt.Fprintf(&b, " %s |", mark+row.Answers[e].How)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestTableIsComplete: every row is there once and answers for every engine.
func TestTableIsComplete(t *testing.T) {
	seen := map[capability.Capability]bool{}
	for _, row := range capability.Table() {
		if seen[row.Capability] {
			t.Errorf("%s is there twice", row.Capability)
		}
		seen[row.Capability] = true
		if row.Means == "" || len(row.Answers) != len(capability.Engines()) {
			t.Errorf("%s means %q and has %d answers", row.Capability, row.Means, len(row.Answers))
		}
		for _, e := range capability.Engines() {
			if row.Answers[e].How == "" {
				t.Errorf("%s: nothing is said of %s", row.Capability, e)
			}
			if capability.Of(e, row.Capability) != row.Answers[e] {
				t.Errorf("Of(%s, %s) is not what the table says", e, row.Capability)
			}
		}
	}
	if got := capability.Of(capability.S6, "levitation"); got != (capability.Answer{}) {
		t.Errorf("what is not in the table is answered with %+v", got)
	}
}
