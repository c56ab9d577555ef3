package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A link is followed in the directory that was opened, whatever its name is now
// and whatever has its old name.
func TestLinksAreFollowedInARenamedDirectory(t *testing.T) {
	parent := t.TempDir()
	old := filepath.Join(parent, "old")
	lay := func(text string) {
		t.Helper()
		err := errors.Join(os.Mkdir(old, 0o700), os.WriteFile(filepath.Join(old, "data"), []byte(text), 0o600), os.Symlink("data", filepath.Join(old, ".env")))
		if err != nil {
			t.Fatal(err)
		}
	}
	lay("ours")
	r, err := openRoot(old)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Rename(old, filepath.Join(parent, "new")); err != nil {
		t.Fatal(err)
	}
	lay("somebody else's")
	if got, err := (dir{root: r, path: old}).read(".env", 100); err != nil || string(got) != "ours" {
		t.Errorf("%q, %v", got, err)
	}
}

// Whoever works with a directory has its descriptor until he has finished.
func TestRootIsClosedAfterItsLastUse(t *testing.T) {
	r, err := openRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	err = r.with("use", "", func(int) error {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
		_, err := r.Stat() // by the same descriptor, which is open
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := r.Stat(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("used after it was closed: %v", err)
	}
}

func TestReadAllStopsBeyondItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		said, limit int64 // said: the size it had when it was looked at
		want        string
	}{{10, 100, "0123456789"}, {3, 100, "0123456789"}, {20, 100, "0123456789"}, {10, 10, "0123456789"}, {0, 100, "0123456789"}, {10, 4, "01234"}} {
		r, err := openRoot(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		fd, err := r.openAt("f", os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), path)
		if got, err := readAll(fd, c.said, c.limit); err != nil || string(got) != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
		_ = f.Close()
		_ = r.Close()
	}
}
