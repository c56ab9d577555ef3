package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

// TestObstacles plants something where the log is to be: it is left alone, the
// loss is counted, and when it is gone the log goes on by itself.
func TestObstacles(t *testing.T) {
	for _, c := range []struct {
		name   string
		plant  func(home, dir, victim string) error // dir's parent exists
		remove func(dir string) error
		want   string
	}{
		{"link for current", func(_, dir, victim string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.Symlink(victim, filepath.Join(dir, current)))
		}, func(dir string) error { return os.Remove(filepath.Join(dir, current)) }, "symbolic link"},
		{"FIFO for current", func(_, dir, _ string) error {
			return errors.Join(os.Mkdir(dir, 0o755), unix.Mkfifo(filepath.Join(dir, current), 0o666))
		}, func(dir string) error { return os.Remove(filepath.Join(dir, current)) }, "not a regular file"},
		{"directory for current", func(_, dir, _ string) error {
			return os.MkdirAll(filepath.Join(dir, current), 0o755)
		}, func(dir string) error { return os.Remove(filepath.Join(dir, current)) }, "is a directory"},
		{"link for the directory", func(_, dir, victim string) error {
			return os.Symlink(filepath.Dir(victim), dir)
		}, os.Remove, "not a directory"},
		{"file for the directory", func(_, dir, _ string) error {
			return os.WriteFile(dir, nil, 0o644)
		}, os.Remove, "not a directory"},
		{"link on the way", func(home, dir, victim string) error {
			up := filepath.Dir(dir)
			return errors.Join(os.Remove(up), os.Symlink(filepath.Dir(victim), up))
		}, func(dir string) error { return os.Remove(filepath.Dir(dir)) }, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home, alien := t.TempDir(), t.TempDir()
			victim := filepath.Join(alien, "victim")
			dir := filepath.Join(home, "gateways", "coder")
			must(t, os.Mkdir(filepath.Dir(dir), 0o755))
			must(t, os.WriteFile(victim, []byte("secret"), 0o600))
			must(t, c.plant(home, dir, victim))
			clk := newClock()
			l := openLog(t, Options{Dir: dir, Home: home, Now: clk.now})
			write(t, l, "lost\n")
			if s := l.Stats(); s.Lost != 5 || s.Bytes != 0 || !strings.Contains(s.LastError, c.want) {
				t.Errorf("%+v", s)
			}
			if entries, err := os.ReadDir(alien); err != nil || len(entries) != 1 {
				t.Errorf("something was made elsewhere: %v %v", entries, err)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "secret" {
				t.Errorf("the victim has %q %v", b, err)
			}
			must(t, c.remove(dir))
			write(t, l, "too early\n")
			clk.advance(patience)
			write(t, l, "again\n")
			got := unstamped(t, content(t, dir))
			if !strings.HasPrefix(got, "hermes: 15 bytes of output lost here (2 lines, since 2026-05-28T12:42:13Z): cannot ") || !strings.HasSuffix(got, "\nagain\n") {
				t.Errorf("%q", got)
			}
			if s := l.Stats(); s.Lost != 15 || s.Bytes != 6 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinksAreFollowedUpToHome(t *testing.T) {
	target, link := t.TempDir(), filepath.Join(t.TempDir(), "home")
	must(t, os.Symlink(target, link))
	l := openLog(t, Options{Dir: filepath.Join(link, "logs"), Home: link})
	write(t, l, "a\n")
	if s := l.Stats(); s.Lost != 0 {
		t.Errorf("%+v", s)
	}
	if got := unstamped(t, content(t, filepath.Join(target, "logs"))); got != "a\n" {
		t.Errorf("%q", got)
	}
	l = openLog(t, Options{Dir: filepath.Join(link, "logs")})
	if s := l.Stats(); s.LastError == "" {
		t.Error("a link was followed without a home to trust")
	}
}

func TestSharedCurrentIsSetAside(t *testing.T) {
	dir := t.TempDir()
	alien := filepath.Join(t.TempDir(), "alien")
	must(t, os.WriteFile(alien, []byte("theirs\n"), 0o644))
	must(t, os.Link(alien, filepath.Join(dir, current)))
	l := openLog(t, Options{Dir: dir})
	write(t, l, "ours\n")
	if b, err := os.ReadFile(alien); err != nil || string(b) != "theirs\n" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, current)); err != nil || unstamped(t, string(b)) != "ours\n" {
		t.Errorf("%q %v", b, err)
	}
}

func TestRemovedFilesAreMadeAgain(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"current":   func(dir string) error { return os.Remove(filepath.Join(dir, current)) },
		"directory": os.RemoveAll,
		"renamed":   func(dir string) error { return os.Rename(filepath.Join(dir, current), filepath.Join(t.TempDir(), "x")) },
	} {
		clk := newClock()
		dir := filepath.Join(t.TempDir(), "coder")
		l := openLog(t, Options{Dir: dir, Now: clk.now})
		write(t, l, "a\n")
		must(t, remove(dir))
		clk.advance(patience)
		write(t, l, "b\n")
		if got := unstamped(t, content(t, dir)); got != "b\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestEmptiedFileIsGoneOnWith(t *testing.T) {
	clk := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: clk.now, MaxSize: minMaxSize})
	write(t, l, strings.Repeat("x\n", 60)+"cut")
	must(t, os.Truncate(filepath.Join(dir, current), 0))
	clk.advance(patience)
	write(t, l, "b\n")
	if got := content(t, dir); unstamped(t, got) != "b\n" {
		t.Errorf("%q", got)
	}
}

// fillUp writes numbered lines until some are lost, calls free, and then writes
// on until the log has recovered. It returns what is wrong.
func fillUp(dir string, free func() error) error {
	clk := newClock()
	l, err := Open(Options{Dir: dir, Now: clk.now})
	if err != nil {
		return err
	}
	defer l.Close()
	total := int64(0)
	line := func(i int) error {
		n, err := fmt.Fprintf(l, "%06d %s\n", i, strings.Repeat("x", 500))
		total += int64(n)
		return err
	}
	i := 0
	for ; l.Stats().Lost == 0 && i < 5000; i++ {
		if err := line(i); err != nil {
			return err
		}
	}
	for range 10 { // while it fails
		clk.advance(300 * time.Millisecond)
		if err := line(i); err != nil {
			return err
		}
		i++
	}
	s := l.Stats()
	if s.Lost < 10*500 || s.LostLines < 10 || !s.Failing || s.LastError == "" || s.Lost+s.Bytes != total {
		return fmt.Errorf("full: %+v of %d", s, total)
	}
	if err := free(); err != nil {
		return err
	}
	clk.advance(2 * patience)
	for range 10 {
		if err := line(i); err != nil {
			return err
		}
		i++
	}
	after := l.Stats()
	if after.Lost != s.Lost || after.Failing || after.Lost+after.Bytes != total {
		return fmt.Errorf("did not recover: %+v, then %+v of %d", s, after, total)
	}
	return checkFilled(dir, i, after)
}

// checkFilled reads the files fillUp left: whole lines in order, with one gap
// that says how large it is, and nothing missing after it.
func checkFilled(dir string, end int, s Stats) error {
	lines, err := Tail(dir, 1<<20)
	if err != nil {
		return err
	}
	want, gaps, stored := 0, 0, int64(0)
	for n, line := range lines {
		text := line[min(stampLen, len(line)):]
		if strings.HasPrefix(text, fmt.Sprintf("hermes: %d bytes of output lost here", s.Lost)) {
			gaps++
			want = end - (len(lines) - n - 1)
			continue
		}
		i, err := strconv.Atoi(text[:min(6, len(text))])
		torn := n+1 < len(lines) && strings.Contains(lines[n+1], "hermes: ")
		if (err != nil || i != want || len(text) != 507) && !torn {
			return fmt.Errorf("line %d is %q, want number %d", n, line, want)
		}
		want++
		if stored += int64(len(text)); !torn {
			stored++ // its newline is the writer's
		}
	}
	if stored != s.Bytes {
		return fmt.Errorf("%d bytes are there, want %d", stored, s.Bytes)
	}
	if want != end || gaps != 1 {
		return fmt.Errorf("the last line is %d, want %d; %d gaps", want-1, end-1, gaps)
	}
	return nil
}

// TestFileSizeLimit makes writes fail as a full disk does, half-way, without
// needing a privilege: by a limit of the writing process.
func TestFileSizeLimit(t *testing.T) {
	if out, err := actor(t, "limited", t.TempDir()).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func playLimited(dir string) error {
	signal.Ignore(unix.SIGXFSZ)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = 100_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		return err
	}
	return fillUp(dir, func() error { return unix.Setrlimit(unix.RLIMIT_FSIZE, &limit) })
}

// TestFullDisk fills a real, tiny file system.
func TestFullDisk(t *testing.T) {
	cmd := actor(t, "full", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if errors.Is(err, fs.ErrPermission) || strings.Contains(string(out), "cannot mount") {
		testkit.Unavailable(t, "no mount in a user namespace here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func playFull(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		fmt.Println("cannot mount:", err)
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 100_000), 0o600); err != nil {
		return err
	}
	return fillUp(filepath.Join(dir, "log"), func() error { return os.Remove(ballast) })
}

// TestKillDuringRotation kills a process that does nothing but rotate, again
// and again; the next one goes on with what it finds.
func TestKillDuringRotation(t *testing.T) {
	dir := t.TempDir()
	for round := range 12 {
		cmd := actor(t, "rotator", dir)
		must(t, cmd.Start())
		names := len(fileNamesAnyway(dir))
		eventually(t, "some rotations", func() bool { return len(fileNamesAnyway(dir)) > names+5+round })
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	last := int64(-1)
	for text := range strings.Lines(unstamped(t, content(t, dir))) {
		n, err := strconv.ParseInt(strings.TrimRight(text, ".\n"), 10, 64)
		switch {
		case err != nil || len(text) != 101:
			t.Fatalf("a torn line: %q", text)
		case n != last+1 && n != 0:
			t.Fatalf("%d after %d", n, last)
		}
		last = n
	}
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize})
	write(t, l, "alive\n")
	if got, err := Tail(dir, 1); err != nil || len(got) != 1 || unstamped(t, got[0]) != "alive" {
		t.Errorf("%q %v", got, err)
	}
}

// playRotator writes numbered lines of 100 bytes into small files for ever.
func playRotator(dir string) error {
	l, err := Open(Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 1000})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(l, "%s\n", fmt.Sprintf("%d%s", i, strings.Repeat(".", 100))[:100]); err != nil {
			return err
		}
	}
}

func fileNamesAnyway(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	return names
}
