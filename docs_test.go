package hermes_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"hermes/internal/config"
	"hermes/internal/lease"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/restart"
)

// page is one Markdown file without its code blocks.
type page struct {
	path, text string
}

func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		all = append(all, page{path, regexp.MustCompile("(?s)\n```.*?\n```").ReplaceAllString(string(text), "")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLinks: every relative link of every page leads to a file, and to a
// heading of it.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := p.path
			if file != "" {
				target = path.Join(path.Dir(p.path), file)
			}
			content, err := os.ReadFile(target)
			if err != nil {
				if info, statErr := os.Stat(target); statErr != nil || !info.IsDir() {
					t.Errorf("%s: the link %s leads nowhere", p.path, m[1])
				}
				continue
			}
			if anchor != "" && !headings(string(content))[anchor] {
				t.Errorf("%s: %s has no heading #%s", p.path, target, anchor)
			}
		}
	}
}

// headings are the anchors of a page's headings, as GitHub makes them.
func headings(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		all[anchor] = true
	}
	return all
}

// TestDocsNamedInCode: a comment that sends somebody to a page sends them to
// one that exists.
func TestDocsNamedInCode(t *testing.T) {
	name := regexp.MustCompile(`\bdocs/[\w./-]*\w`)
	for _, s := range sources(t) {
		for _, group := range s.ast.Comments {
			for _, file := range name.FindAllString(group.Text(), -1) {
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: it names %s, which is not there", s.at(group), file)
				}
			}
		}
	}
}

// TestNothingFromOutside: the repository stands alone.
func TestNothingFromOutside(t *testing.T) {
	// In two parts, so that this file is none of them.
	words := []string{".." + "/shared", "/work" + "/"}
	err := walk(func(path string) error {
		content, err := os.ReadFile(path)
		for _, w := range words {
			if bytes.Contains(content, []byte(w)) {
				t.Errorf("%s mentions %s", path, w)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNumbersInDocs: what a page promises is what the code does.
func TestNumbersInDocs(t *testing.T) {
	const files, docker = "docs/reference/files.md", "docs/docker.md"
	for _, promise := range []struct{ page, text string }{
		{files, "ready for " + human(restart.HealthyAfter)},
		{files, fmt.Sprintf("%s, doubling to %s, ±%d %%", human(restart.First), human(restart.Longest), int(100*restart.Jitter))},
		{files, fmt.Sprintf("%d in %s", restart.AskedLimit, human(restart.AskedWindow))},
		{files, fmt.Sprintf("last %d exits", profile.MaxExits)},
		{files, fmt.Sprintf("**%d**", profile.ExitConfig)},
		{files, fmt.Sprintf("**%d**", profile.ExitTempFail)},
		{files, fmt.Sprintf("[%d, %d)", port.First, port.First+port.Count)},
		{files, "older than " + human(lease.TakeOverAfter)},
		{docker, human(config.DefaultStopTimeout)},
		{docker, fmt.Sprintf("127.0.0.1:%d:%d", port.Default, port.Default)},
		{docker, fmt.Sprint(config.FallbackID)},
		{"docs/reference/config.md", human(config.DefaultStartTimeout)},
		{"docs/nas.md", fmt.Sprint(port.Preferred("coder"))},
	} {
		content, err := os.ReadFile(promise.page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), promise.text) {
			t.Errorf("%s does not say %q", promise.page, promise.text)
		}
	}
	content, err := os.ReadFile(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []profile.State{
		profile.StateStopped, profile.StateStarting, profile.StateRunning,
		profile.StateStopping, profile.StateBackoff, profile.StateParked,
	} {
		if !strings.Contains(string(content), "| `"+string(s)+"` |") {
			t.Errorf("%s has no row for the state %s", files, s)
		}
	}
}

// human is a duration as the pages write it: "250 ms", "10 s", "5 min".
func human(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}

// TestVariablesInDocs: every variable that config reads has its row in the
// page on containers, or in the reference.
func TestVariablesInDocs(t *testing.T) {
	var text strings.Builder
	for _, file := range []string{"docs/docker.md", "docs/reference/config.md"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(content)
	}
	variable := regexp.MustCompile(`^"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+"$|^"(PUID|PGID)"$`)
	found := 0
	for _, s := range sources(t) {
		if s.path != "internal/config/settings.go" && s.path != "internal/config/dashboard.go" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || !variable.MatchString(lit.Value) {
				return true
			}
			found++
			if name := strings.Trim(lit.Value, `"`); !strings.Contains(text.String(), "`"+name+"`") {
				t.Errorf("%s: no page explains %s", s.at(lit), name)
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("found only %d variables: are they read elsewhere now?", found)
	}
}
