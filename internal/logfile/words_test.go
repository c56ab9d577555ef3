package logfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCutStamp(t *testing.T) {
	for _, line := range []string{
		"2026-05-28T12:42:13.123456Z a  line",
		"2026-05-28 12:42:13.123456000  a  line", // s6-log's
	} {
		at, text, ok := CutStamp(line)
		if want := time.Date(2026, 5, 28, 12, 42, 13, 123456000, time.UTC); !ok || text != "a  line" || !at.Equal(want) {
			t.Errorf("%q: %v %q %v", line, at, text, ok)
		}
	}
	for _, line := range []string{
		"", "nothing", "no stamp", "2026-05-28 12:42 a line", "2026-05-28 12:42:13.123456000 one blank", "2026-13-28 12:42:13.123456000  no such month",
		"2026-05-28 12:42:13.123456000",
	} {
		if _, _, ok := CutStamp(line); ok {
			t.Errorf("%q has a stamp", line)
		}
	}
}

func FuzzCutStamp(f *testing.F) {
	f.Add("2026-05-28T12:42:13.123456Z a line")
	f.Add("2026-05-28 12:42:13.123456000  a line")
	f.Add("2026-05-28 ")
	f.Fuzz(func(t *testing.T, line string) {
		if _, text, ok := CutStamp(line); ok && len(text) >= len(line) {
			t.Errorf("%q says %q", line, text)
		}
	})
}

func TestLastWords(t *testing.T) {
	dir := t.TempDir()
	log := "2026-05-28 12:42:13.000000000  before\n2026-05-28 12:42:15.000000000  it \x1b[31mbroke\n2026-05-28 12:42:16.000000000  badly\n"
	if err := os.WriteFile(filepath.Join(dir, "current"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 5, 28, 12, 42, 14, 0, time.UTC)
	if got := LastWords(dir, since); got != "it [31mbroke | badly" {
		t.Errorf("%q", got)
	}
	if got := LastWords(dir, since.Add(time.Hour)); got != "" {
		t.Errorf("of an earlier run: %q", got)
	}
	if got := LastWords(filepath.Join(dir, "none"), since); got != "" {
		t.Errorf("without a log: %q", got)
	}
}
