package testkit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hermes/internal/testkit"
)

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	ended, text string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestOfSomething" }
func (r *recorder) Fatalf(format string, args ...any) {
	r.end("failed", format)
}
func (r *recorder) Skip(args ...any) { r.end("skipped", args[0].(string)) }

func (r *recorder) end(how, text string) {
	r.ended, r.text = how, text
	panic(r) // as runtime.Goexit would, it does not return
}

func leaveOut(t *testing.T) (r *recorder) {
	t.Helper()
	r = &recorder{TB: t}
	defer func() { _ = recover() }()
	testkit.Unavailable(r, "no %s here", "docker")
	return r
}

func TestUnavailableOnADesk(t *testing.T) {
	list := filepath.Join(t.TempDir(), "left-out")
	t.Setenv("CI", "")
	t.Setenv("HERMES_LEFT_OUT", list)
	leaveOut(t)
	if r := leaveOut(t); r.ended != "skipped" || r.text != "no docker here" {
		t.Errorf("it %s: %s", r.ended, r.text)
	}
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("TestOfSomething: no docker here\n", 2); string(content) != want {
		t.Errorf("the list is %q, want %q", content, want)
	}
}

func TestUnavailableInCI(t *testing.T) {
	t.Setenv("CI", "true")
	if r := leaveOut(t); r.ended != "failed" || !strings.Contains(r.text, "CI must run this test") {
		t.Errorf("it %s: %s", r.ended, r.text)
	}
}
