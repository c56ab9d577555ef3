package vitals

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const docsFile = "../../docs/reference/metrics.md"

// TestDocs keeps the reference page equal to the table.
func TestDocs(t *testing.T) {
	want := docs()
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
		t.Errorf("%s is stale: go test ./internal/vitals -run TestDocs -update", docsFile)
	}
}

const docsHead = "# Metrics\n\n" +
	"<!-- Generated: go test ./internal/vitals -run TestDocs -update -->\n\n" +
	"What `/metrics` tells, in Prometheus's text format. [../watching.md](../watching.md) is about what to make of it.\n\n" +
	"Names and labels stay; series are added. The only labels are `profile`, words of a list, and the version. What a gateway says, its reasons and its log, is\n" +
	"no label. A state or health that is not in its list, from an engine newer than who serves the page, is 0 for every word.\n\n" +
	"A counter may begin again at 0, which `rate()` and `increase()` allow for. While the supervisor does not answer, `hermes_up` is the only series.\n\n" +
	"| series | type | labels | meaning |\n| --- | --- | --- | --- |\n"

func docs() string {
	var b strings.Builder
	b.WriteString(docsHead)
	for _, f := range families() {
		labels := "`profile`"
		switch {
		case f.labels != nil:
			labels = ""
			for _, l := range f.labels(example()) {
				labels += ", `" + l.name + "`"
			}
			labels = strings.TrimPrefix(labels, ", ")
		case f.fleet != nil:
			labels = ""
		case f.is != nil:
			labels += ", `" + f.label + "`: " + strings.Join(f.values, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, labels, f.help)
	}
	return b.String()
}
