package logfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

func showLines(t *testing.T, dir string, n int) ([]string, error) {
	t.Helper()
	var lines []string
	err := Show(t.Context(), Reading{Dir: dir, Slot: "gateway-coder", Lines: n}, func(line string) error {
		lines = append(lines, line)
		return nil
	})
	return lines, err
}

// It shows what Tail tells, made fit for a terminal.
func TestShow(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 200)
	l := openLog(t, Options{Dir: dir})
	for _, end := range []string{"", "\x1b[31mred\n", "unfinished"} {
		write(t, l, end)
		for _, n := range []int{-1, 0, 1, 2, 63, 100, 1000} {
			want, err := Tail(dir, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] = Printable(want[i])
			}
			if got, err := showLines(t, dir, n); err != nil || !slices.Equal(got, want) {
				t.Errorf("after %q, %d: %d lines, %v; want %d", end, n, len(got), err, len(want))
			}
		}
	}
	if got, err := showLines(t, dir, 2); err != nil || !strings.HasSuffix(got[0], `\x1b[31mred`) {
		t.Errorf("%q %v", got, err)
	}
}

func TestShowFollows(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 5)
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := Show(ctx, Reading{Dir: dir, Lines: 2, Follow: true}, func(line string) error {
		got = append(got, line)
		if len(got) == 2 {
			l := openLog(t, Options{Dir: dir})
			write(t, l, "more\n")
			_ = l.Close()
		}
		if len(got) == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(bodies(got), []string{"3", "4", "more"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestShowErrors(t *testing.T) {
	if _, err := showLines(t, filepath.Join(t.TempDir(), "none"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	_, err := showLines(t, link, 5)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Unreadable || f.Hint != "rm "+link || !strings.Contains(f.Msg, "gateway-coder") {
		t.Errorf("a link: %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, current), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = showLines(t, dir, 5); err == nil {
		t.Error("a pipe is no log")
	}
	numbers := t.TempDir()
	numbered(t, numbers, 0, 5)
	broken := errors.New("broken")
	for _, n := range []int{1, 5} {
		err := Show(t.Context(), Reading{Dir: numbers, Lines: n}, func(string) error { return fmt.Errorf("emit: %w", broken) })
		if !errors.Is(err, broken) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
