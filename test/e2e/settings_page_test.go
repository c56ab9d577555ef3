package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/settings.md")

// TestSettingsPage: the page of settings is what TestSettings and
// TestRefusedSettings prove of them.
func TestSettingsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Settings\n\nGenerated from the tests that prove it, by `make generate`. Every row is a container that is run.\n\n" +
		"## What works\n\n" +
		"Under each of these a fleet boots, starts, stops and restarts by `docker exec`; a gateway that crashes comes back and one that ends with 78 is parked;\n" +
		"`kill -9` of the engine costs no gateway anything; `docker restart` brings everything back as it was; `docker stop` ends everything in order, exit code 0;\n" +
		"no zombie stays. The report is told once at boot, and by `hermes doctor`; [conditions.md](conditions.md) explains it.\n\n" +
		"| setting | gateways run as | reported |\n| --- | --- | --- |\n")
	for _, s := range settings() {
		fmt.Fprintf(&b, "| %s | %d | %s |\n", s.describe(), s.uid, codes(s.reports))
	}
	b.WriteString("\n## What is refused\n\nThe container ends at once with exit code 1, and says:\n")
	for _, r := range refusals() {
		fmt.Fprintf(&b, "\n%s (`%s`; the home belongs to %d, mode 0700):\n\n", r.name, r.options, r.owner)
		for line := range strings.Lines(r.want) {
			fmt.Fprintf(&b, "    %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	page := filepath.Join("..", "..", "docs", "reference", "settings.md")
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("docs/reference/settings.md is stale, run make generate (%v)", err)
	}
}

// describe is the setting in a cell of the table.
func (s setting) describe() string {
	text := s.name
	if slices.Contains(s.options, "--entrypoint") { // the program is the test's own
		return text
	}
	if options := strings.Join(s.options, " "); options != "" && options != s.name {
		text += ": `" + options + "`"
	}
	if s.owner != 0 {
		text += fmt.Sprintf(" (the home belongs to %d)", s.owner)
	}
	return text
}

// codes are names of conditions in a cell.
func codes(reports string) string {
	if reports == "" {
		return "nothing"
	}
	return "`" + strings.Join(strings.Fields(reports), "`, `") + "`"
}
