package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// numbered writes lines with numbers into small files.
func numbered(t testing.TB, dir string, from, to int) {
	t.Helper()
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 100})
	for i := from; i < to; i++ {
		write(t, l, fmt.Sprintf("%d\n", i))
	}
	_ = l.Close()
}

// bodies is lines without their stamps.
func bodies(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = line[min(stampLen, len(line)):]
	}
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 500)
	if n := len(fileNames(t, dir)); n < 5 {
		t.Fatalf("%d files", n)
	}
	for _, n := range []int{-1, 0, 1, 2, 63, 64, 65, 66, 100, 250, 499, 500, 501, 1 << 30} {
		got, err := Tail(dir, n)
		want := numbers(500-min(max(n, 0), 500), 500)
		if err != nil || !slices.Equal(bodies(got), want) {
			t.Errorf("%d: %d lines, %v", n, len(got), err)
		}
	}
	l := openLog(t, Options{Dir: dir})
	write(t, l, "unfinished")
	for _, c := range []struct {
		n    int
		want []string
	}{{0, nil}, {1, []string{"unfinished"}}, {2, []string{"499", "unfinished"}}} {
		got, err := Tail(dir, c.n)
		if err != nil || !slices.Equal(bodies(got), c.want) {
			t.Errorf("%d: %q %v", c.n, got, err)
		}
	}
}

func TestTailOfLongLines(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, MaxSize: 50_000})
	long := strings.Repeat("y", 200_000)
	write(t, l, "a\n"+long+"\nb\n")
	got, err := Tail(dir, 2)
	if err != nil || len(got) != 2 || bodies(got)[1] != "b" || len(got[0]) > maxLine {
		t.Errorf("%d lines, %v", len(got), err)
	}
	got, err = Tail(dir, 100)
	if err != nil || strings.Join(got, "")[stampLen+1:][stampLen:][:len(long)] != long {
		t.Errorf("%d lines, %v", len(got), err)
	}
}

func TestTailLooksAtABoundedPart(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, current))
	must(t, err)
	must(t, f.Truncate(1<<40)) // a hole
	_, err = f.WriteAt([]byte("\nend\n"), 1<<40)
	must(t, err)
	must(t, f.Close())
	got, err := Tail(dir, 5)
	if err != nil || len(got) == 0 || len(got) > 5 || got[len(got)-1] != "end" {
		t.Errorf("%d lines, %v", len(got), err)
	}
}

func TestTailOfNothing(t *testing.T) {
	dir := t.TempDir()
	if got, err := Tail(dir, 5); err != nil || len(got) != 0 {
		t.Errorf("%q %v", got, err)
	}
	if _, err := Tail(filepath.Join(dir, "missing"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTailOfHostileDirectory(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("secret\n"), 0o600))
	for name, plant := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"hard link": func(path string) error { return os.Link(secret, path) },
		"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		must(t, plant(filepath.Join(dir, current)))
		if got, err := Tail(dir, 5); err == nil || len(got) > 0 {
			t.Errorf("%s as current: %q %v", name, got, err)
		}
		dir = t.TempDir()
		numbered(t, dir, 0, 3)
		must(t, plant(filepath.Join(dir, archiveName(label{tai, 0}, safe))))
		if got, err := Tail(dir, 5); err != nil || !slices.Equal(bodies(got), numbers(0, 3)) {
			t.Errorf("%s as archive: %q %v", name, got, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	dir := t.TempDir()
	numbered(t, dir, 0, 3)
	must(t, os.Symlink(dir, link))
	if got, err := Tail(link, 5); err == nil {
		t.Errorf("link to a directory: %q", got)
	}
}

// FuzzTail: the lines of any log, cut at any sizes, read from any place.
func FuzzTail(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), uint8(2), uint8(1))
	f.Add([]byte("\n\n\n"), uint8(0), uint8(2))
	f.Add([]byte(strings.Repeat("0123456789\n", 50)), uint8(100), uint8(13))
	f.Fuzz(func(t *testing.T, text []byte, cut, n uint8) {
		dir := t.TempDir()
		rest := text
		for i := uint64(0); len(rest) > int(cut) && i < 50; i++ {
			piece := rest[:int(cut)+1]
			rest = rest[len(piece):]
			must(t, os.WriteFile(filepath.Join(dir, archiveName(label{tai + i, 0}, safe)), piece, 0o600))
		}
		must(t, os.WriteFile(filepath.Join(dir, current), rest, 0o600))
		want := strings.Split(string(text), "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		want = want[max(0, len(want)-int(n)):]
		got, err := Tail(dir, int(n))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	})
}
