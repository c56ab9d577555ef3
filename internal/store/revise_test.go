package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hermes/internal/fault"
	"hermes/internal/store"
)

// revisable is a profile with a config.yaml and a .env.
func revisable(t *testing.T) (p *store.Profile, dir string) {
	t.Helper()
	home, err := store.Create(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = home.Close() })
	if dir, err = home.CreateProfile("coder"); err != nil {
		t.Fatal(err)
	}
	if p, err = home.Profile("coder"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	put(t, filepath.Join(dir, "config.yaml"), "old: 1\n", 0o640)
	put(t, filepath.Join(dir, ".env"), "OLD=1\n", 0o644)
	return p, dir
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != text {
		t.Errorf("%s holds %q, want %q (%v)", path, data, text, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
		t.Errorf("%s: %v, want mode %v (%v)", path, info.Mode(), mode, err)
	}
}

// nothingElse: no temporary file was left.
func nothingElse(t *testing.T, dir string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		if strings.Contains(entry.Name(), ".tmp-") {
			t.Errorf("%s was left", entry.Name())
		}
	}
}

func TestRevise(t *testing.T) {
	p, dir := revisable(t)
	err := p.Revise(func(config, dotenv []byte) (store.Revision, error) {
		return store.Revision{Config: append(config, "new: 2\n"...), Dotenv: append(dotenv, "NEW=2\n"...)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dir, "config.yaml"), "old: 1\nnew: 2\n", 0o640)
	holds(t, filepath.Join(dir, ".env"), "OLD=1\nNEW=2\n", 0o600)
	nothingElse(t, dir)
}

func TestReviseMakesWhatIsMissingAndLeavesWhatIsNotSaid(t *testing.T) {
	p, dir := revisable(t)
	if err := os.Remove(filepath.Join(dir, ".env")); err != nil {
		t.Fatal(err)
	}
	err := p.Revise(func(_, dotenv []byte) (store.Revision, error) {
		if dotenv != nil {
			t.Errorf("there is no .env, and it holds %q", dotenv)
		}
		return store.Revision{Dotenv: []byte("NEW=2\n")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, filepath.Join(dir, "config.yaml"), "old: 1\n", 0o640)
	holds(t, filepath.Join(dir, ".env"), "NEW=2\n", 0o600)
}

// An error, wherever, leaves both files as they were.
func TestReviseFails(t *testing.T) {
	refused := errors.New("not like this")
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		revise  error
		code    fault.Code
	}{
		{"the caller says so", func(*testing.T, string) {}, refused, fault.Internal},
		{"config.yaml is a link", func(t *testing.T, dir string) { link(t, dir, "config.yaml") }, nil, fault.Unreadable},
		{".env is a link", func(t *testing.T, dir string) { link(t, dir, ".env") }, nil, fault.Unreadable},
		{".env is a directory", func(t *testing.T, dir string) {
			if err := errors.Join(os.Rename(filepath.Join(dir, ".env"), filepath.Join(dir, "kept")), os.Mkdir(filepath.Join(dir, ".env"), 0o700)); err != nil {
				t.Fatal(err)
			}
		}, nil, fault.Unreadable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, dir := revisable(t)
			tt.prepare(t, dir)
			err := p.Revise(func(_, _ []byte) (store.Revision, error) {
				return store.Revision{Config: []byte("new: 2\n"), Dotenv: []byte("NEW=2\n")}, tt.revise
			})
			if fault.CodeOf(err) != tt.code || tt.revise != nil && !errors.Is(err, tt.revise) {
				t.Fatalf("%v, want %s", err, tt.code)
			}
			if tt.revise == nil {
				if early := p.CheckRevisable(); fault.CodeOf(early) != tt.code || early.Error() != err.Error() {
					t.Errorf("before: %v, then: %v", early, err)
				}
			}
			for name, text := range map[string]string{"config.yaml": "old: 1\n", ".env": "OLD=1\n"} {
				if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil && string(data) != text {
					t.Errorf("%s holds %q", name, data)
				}
			}
			nothingElse(t, dir)
		})
	}
}

// link moves a file beside the profile, and puts a link to it in its place.
func link(t *testing.T, dir, name string) {
	t.Helper()
	kept := filepath.Join(filepath.Dir(dir), ".kept-"+name)
	if err := errors.Join(os.Rename(filepath.Join(dir, name), kept), os.Symlink(kept, filepath.Join(dir, name))); err != nil {
		t.Fatal(err)
	}
}

// What somebody else writes meanwhile is not lost.
func TestReviseSeesWhatChangesMeanwhile(t *testing.T) {
	p, dir := revisable(t)
	calls := 0
	err := p.Revise(func(_, dotenv []byte) (store.Revision, error) {
		if calls++; calls == 1 {
			put(t, filepath.Join(dir, ".env"), "OLD=1\nOTHER=3\n", 0o600)
		}
		return store.Revision{Dotenv: append(dotenv, "NEW=2\n"...)}, nil
	})
	if err != nil || calls != 2 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	holds(t, filepath.Join(dir, ".env"), "OLD=1\nOTHER=3\nNEW=2\n", 0o600)
	nothingElse(t, dir)
	if err := p.Revise(func(_, dotenv []byte) (store.Revision, error) {
		put(t, filepath.Join(dir, ".env"), string(dotenv)+"#\n", 0o600)
		return store.Revision{Dotenv: []byte("NEW=2\n")}, nil
	}); fault.CodeOf(err) != fault.HomeUnusable {
		t.Errorf("a file that changes all the time: %v", err)
	}
	nothingElse(t, dir)
}
