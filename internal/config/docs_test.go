package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const docsFile = "../../docs/reference/config.md"

// TestKeysAreDocumented: every key the parser takes, or refuses as not built
// yet, is in the reference, and no key is there that the parser does not take.
func TestKeysAreDocumented(t *testing.T) {
	content, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	for section, keys := range map[string][]string{"gateway": gatewayKeys(), "model": modelKeys()} {
		got := rows(string(content), section)
		slices.Sort(keys)
		slices.Sort(got)
		if !slices.Equal(got, keys) {
			t.Errorf("%s: section %s has rows for %q, the parser takes %q", docsFile, section, got, keys)
		}
	}
	for _, key := range append(futureGatewayKeys(), "max_size", "max_files", "api_key") {
		if !strings.Contains(string(content), "`"+key+"`") {
			t.Errorf("%s does not mention %s", docsFile, key)
		}
	}
}

// rows are the keys in the first column of the table under a heading.
func rows(page, heading string) []string {
	_, section, _ := strings.Cut(page, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var keys []string
	for line := range strings.Lines(section) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ := strings.Cut(cell, "`")
			keys = append(keys, key)
		}
	}
	return keys
}

// TestExamplesAreValid: the examples of the reference are what the parser takes.
func TestExamplesAreValid(t *testing.T) {
	content, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(content), "\n```")
	examples := 0
	for _, part := range parts {
		text, ok := strings.CutPrefix(part, "yaml\n")
		if !ok {
			continue
		}
		examples++
		f, err := ParseFile("config.yaml", []byte(text))
		if err != nil || len(f.Warnings) > 0 {
			t.Errorf("%v, %v:\n%s", err, f.Warnings, text)
		}
	}
	if examples < 2 {
		t.Errorf("found %d examples", examples)
	}
}
