package runtimedir

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

// base is a directory for one test with a path short enough for sockets.
func base(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCandidates(t *testing.T) {
	got := Candidates("/mine", "/run/user/7", 7)
	want := []string{"/mine", "/run/hermes", "/run/user/7/hermes", "/dev/shm/hermes-7", "/tmp/hermes-7"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got = Candidates("", "", 0); !slices.Equal(got, []string{"/run/hermes", "/dev/shm/hermes-0", "/tmp/hermes-0"}) {
		t.Errorf("got %v", got)
	}
}

// Probe finds what Choose would choose, and leaves no trace of having looked.
func TestProbe(t *testing.T) {
	b := base(t)
	none, some := filepath.Join(b, "none", "deep"), filepath.Join(b, "hermes")
	dir, refused := Probe("/opt/data", none, some)
	if filepath.Dir(dir) != some || len(refused) != 1 || refused[0].Dir != none {
		t.Errorf("found %s, refused %v", dir, refused)
	}
	if left, _ := os.ReadDir(b); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if _, _, err := Choose("/opt/data", some); err != nil {
		t.Fatal(err)
	}
	if again, _ := Probe("/opt/data", some); again != dir {
		t.Errorf("then found %s", again)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
	if dir, refused = Probe("/opt/data", none); dir != "" || len(refused) != 1 {
		t.Errorf("of none found %s, refused %v", dir, refused)
	}
}

func TestChoose(t *testing.T) {
	b := base(t)
	first, second := filepath.Join(b, "none", "deep"), filepath.Join(b, "hermes")
	umask := unix.Umask(0o077)
	dir, refused, err := Choose("/opt/data", first, second, filepath.Join(b, "third"))
	unix.Umask(umask)
	if err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || refused[0].Dir != first || !errors.Is(refused[0].Err, unix.ENOENT) {
		t.Errorf("refused %v", refused)
	}
	// The first 8 hex digits of sha256("/opt/data").
	if want := filepath.Join(second, "b7dd404e"); dir != want {
		t.Errorf("chose %s, want %s", dir, want)
	}
	want := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		want = 0o711
	}
	for _, d := range []string{second, dir} {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", d, st.Mode(), err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	// Chosen again, also by another spelling, after an older run with another mode.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if again, _, err := Choose("/opt//data/", second); err != nil || again != dir {
		t.Errorf("then %s, %v", again, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != want {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if other, _, err := Choose("/opt/other", second); err != nil || other == dir {
		t.Errorf("another home has %s, %v", other, err)
	}
}

// Every refusal, each in a place that would do otherwise.
func TestRefused(t *testing.T) {
	hash := "b7dd404e" // of /opt/data
	root := os.Geteuid() == 0
	tests := map[string]struct {
		make func(t *testing.T, dir string)
		want string
		root bool // needs root to set up
	}{
		"base is a symlink": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+".real", 0o755), os.Symlink(dir+".real", dir))
		}, "symbolic link", false},
		"base is a file": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(dir, nil, 0o644))
		}, "not a directory", false},
		"directory is a symlink": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o755), os.Mkdir(dir+".real", 0o755), os.Symlink(dir+".real", filepath.Join(dir, hash)))
		}, "symbolic link", false},
		"directory is a file": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, hash), nil, 0o644))
		}, "not a directory", false},
		"base squatted": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o777), os.Chown(dir, 12345, 12345))
		}, "owned by uid 12345", true},
		"directory squatted in a sticky base": {func(t *testing.T, dir string) {
			d := filepath.Join(dir, hash)
			must(t, os.Mkdir(dir, 0o777), unix.Chmod(dir, 0o1777), os.Mkdir(d, 0o777), os.Chown(d, 12345, 12345))
		}, "owned by uid 12345", true},
		"no sockets": {func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, hash, ".probe"), 0o755))
		}, "is a directory", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.root && !root {
				testkit.Unavailable(t, "needs root")
			}
			dir := filepath.Join(base(t), "b")
			tt.make(t, dir)
			got, _, err := Choose("/opt/data", dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("chose %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// The rules on the base, with the caller's uid as a value: root passes for
// nobody else's victim, so the cases are told apart here.
func TestCheckBase(t *testing.T) {
	us := os.Geteuid()
	tests := []struct {
		mode uint32
		uid  int // of the caller
		want string
	}{
		{0o755, us, ""},
		{0o777, us, ""}, // ours: who let others in did so on purpose
		{0o1777, us, ""},
		{0o755, us + 1, "owned by"},
		{0o1777, us + 1, "owned by"},
	}
	if us == 0 { // root's directories, seen by somebody else
		tests[3].want, tests[4].want = "", ""
		tests = append(tests, []struct {
			mode uint32
			uid  int
			want string
		}{{0o777, 1, "writable by others"}, {0o775, 1, "writable by others"}}...)
	}
	for _, tt := range tests {
		dir := base(t)
		must(t, unix.Chmod(dir, tt.mode))
		err := checkBase(dir, tt.uid)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("mode %o, uid %d: %v, want %q", tt.mode, tt.uid, err, tt.want)
		}
	}
}

func TestEveryCandidateIsNamed(t *testing.T) {
	b := base(t)
	long := filepath.Join(b, strings.Repeat("x", 100))
	gone := filepath.Join(b, "none", "deep")
	_, _, err := Choose("/opt/data", "run", long, gone)
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Attempts) != 3 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"run: it is not an absolute path", long + ": the path of a socket in it has", gone + ": mkdir " + gone + ": no such file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("attempt %d: %v, want %q", i, err, want)
		}
	}
	if !errors.Is(err, unix.ENOENT) {
		t.Error("the causes cannot be matched")
	}
	if _, err := os.Stat(long); err == nil {
		t.Error("a candidate that cannot do was made")
	}
	if _, _, err := Choose("/opt/data"); err == nil {
		t.Error("chose from nothing")
	}
}

func TestListen(t *testing.T) {
	dir, _, err := Choose("/opt/data", filepath.Join(base(t), "b"))
	must(t, err)
	// What an earlier supervisor left: a socket nobody serves.
	stale, _, err := Listen(dir)
	must(t, err)
	must(t, unix.Close(stale))

	fd, path, err := Listen(dir)
	must(t, err)
	if path != filepath.Join(dir, Socket) {
		t.Errorf("bound %s", path)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %d, %v", flags, err)
	}
	if flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("status flags %d, %v", flags, err)
	}
	// Clients get through while nobody accepts, more than any restart brings.
	const clients = 300
	for range clients {
		c, err := net.Dial("unix", path)
		must(t, err)
		defer c.Close()
	}
	f := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(f)
	must(t, err, f.Close())
	defer l.Close()
	for range clients {
		c, err := l.Accept()
		must(t, err)
		c.Close()
	}
}

func TestListenRefused(t *testing.T) {
	dir := base(t)
	if _, _, err := Listen(filepath.Join(dir, "none")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
	if _, _, err := Listen(filepath.Join(dir, strings.Repeat("x", 100))); err == nil || !strings.Contains(err.Error(), "the limit is 107") {
		t.Errorf("got %v", err)
	}
	must(t, os.Mkdir(filepath.Join(dir, Socket), 0o755))
	if _, _, err := Listen(dir); err == nil {
		t.Error("a directory was replaced")
	}
}
