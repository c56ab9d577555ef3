package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// newHome is an open home with a default profile and the profiles named.
func newHome(t *testing.T, names ...profile.Name) *store.Home {
	t.Helper()
	h, err := store.Create(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	if _, err := h.EnsureDefault(); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if _, err := h.CreateProfile(n); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func open(t *testing.T, h *store.Home, n profile.Name) *store.Profile {
	t.Helper()
	p, err := h.Profile(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantFault checks an error's code and that its message and hint contain the
// words, each at least once.
func wantFault(t *testing.T, err error, code fault.Code, words ...string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
	text := err.Error()
	if e, ok := err.(*fault.Error); ok {
		text += "\n" + e.Hint
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in %q", w, text)
		}
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

func TestOpenAndCreate(t *testing.T) {
	base := t.TempDir()
	_, err := store.Open(filepath.Join(base, "a b"))
	wantFault(t, err, fault.HomeUnusable, "cannot open home "+base+"/a b: no such file", "mkdir -p '"+base+"/a b'")
	_, err = store.Open("")
	wantFault(t, err, fault.HomeUnusable, "HERMES_HOME")
	_, err = store.Create("")
	wantFault(t, err, fault.HomeUnusable, "HERMES_HOME")
	write(t, base+"/file", "x")
	for _, make := range []func(string) (*store.Home, error){store.Open, store.Create} {
		_, err = make(base + "/file")
		wantFault(t, err, fault.HomeUnusable, base+"/file", "not a directory")
	}

	h, err := store.Create(base + "/x/y")
	must(t, err)
	defer h.Close()
	info, err := os.Stat(base + "/x/y")
	must(t, err)
	if info.Mode().Perm() != 0o700 || h.Path() != base+"/x/y" {
		t.Errorf("%s has mode %v", h.Path(), info.Mode())
	}
	must(t, os.Symlink(base+"/x/y", base+"/link"))
	linked, err := store.Open(base + "/link")
	must(t, err)
	defer linked.Close()
	if linked.ID() != h.ID() {
		t.Error("a home reached by a link is another one")
	}
	if uid, gid, err := h.Owner(); err != nil || int(uid) != os.Geteuid() || int(gid) != os.Getegid() {
		t.Errorf("owner %d:%d, %v", uid, gid, err)
	}
}

func TestUnwritableHome(t *testing.T) {
	if isRoot() {
		return // root writes everywhere; TestAsAnotherUser covers this
	}
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	must(t, p.WriteIntent(intent(profile.Running, 1)))
	must(t, h.CheckWritable())
	must(t, os.Chmod(p.Path(), 0o500))
	must(t, os.Chmod(h.Path(), 0o500))
	t.Cleanup(func() { _ = os.Chmod(p.Path(), 0o700); _ = os.Chmod(h.Path(), 0o700) })

	wantFault(t, h.CheckWritable(), fault.HomeUnusable, h.Path(), "permission denied", "belongs to", "as root: chown")
	err := p.WriteIntent(intent(profile.Stopped, 2))
	wantFault(t, err, fault.HomeUnusable, "gateway_intent.json", "permission denied", "this is uid", "chown")
	if r, state, err := p.Intent(); state != store.Valid || err != nil || r.Generation != 1 {
		t.Errorf("a failed write left %v, %v, %v", r, state, err)
	}
}

func TestScan(t *testing.T) {
	h := newHome(t, "writer", "coder")
	base := filepath.Join(h.Path(), "profiles")
	out := t.TempDir()
	write(t, out+"/SOUL.md", "x")
	must(t, os.Symlink(out, base+"/out"))
	must(t, os.Symlink("coder", base+"/in"))
	write(t, base+"/default/SOUL.md", "x")
	write(t, base+"/.hidden/SOUL.md", "x")
	write(t, base+"/.deleted-x-1/SOUL.md", "x")
	write(t, base+"/.y.staging-1/SOUL.md", "x")
	write(t, base+"/Bad Name/SOUL.md", "x")
	write(t, base+"/tmp/SOUL.md", "x")
	write(t, base+"/empty/notes", "x")
	write(t, base+"/README", "x")
	must(t, os.MkdirAll(base+"/mountedwrong/SOUL.md", 0o755)) // docker -v of a missing file

	scan, err := h.Scan()
	must(t, err)
	var names []string
	for _, e := range scan.Entries {
		if e.Path != h.ProfilePath(e.Name) || e.ID == (store.ID{}) || !e.Marked {
			t.Errorf("entry %+v", e)
		}
		names = append(names, string(e.Name))
	}
	if diff := cmp.Diff([]string{"default", "coder", "mountedwrong", "writer"}, names); diff != "" {
		t.Error(diff)
	}
	reasons := map[string]string{}
	for _, s := range scan.Skipped {
		reasons[s.Name] = s.Reason
	}
	want := map[string]string{
		"out": "link", "in": "link", "default": "the home itself", ".hidden": "dot", "Bad Name": "only a-z", "tmp": "reserved", "empty": store.Unmarked,
	}
	for name, reason := range want {
		if !strings.Contains(reasons[name], reason) {
			t.Errorf("%s is skipped because %q, want %q", name, reasons[name], reason)
		}
	}
	if len(reasons) != len(want) || !scan.HasProfiles || scan.Profiles == (store.ID{}) {
		t.Errorf("scan %+v", scan)
	}
}

func TestScanOfAnEmptyHome(t *testing.T) {
	h, err := store.Create(t.TempDir())
	must(t, err)
	defer h.Close()
	scan, err := h.Scan()
	must(t, err)
	want := store.Scan{Entries: []store.Entry{{Name: profile.Default, Path: h.Path(), ID: h.ID()}}}
	if diff := cmp.Diff(want, scan); diff != "" {
		t.Error(diff)
	}
	must(t, os.Symlink("/", h.Path()+"/profiles"))
	scan, err = h.Scan()
	if err != nil || scan.HasProfiles || len(scan.Skipped) != 1 || scan.Skipped[0].Name != "profiles" {
		t.Errorf("profiles/ that is a link: %+v, %v", scan, err)
	}
	_, err = h.CreateProfile("coder")
	wantFault(t, err, fault.HomeUnusable, h.Path()+"/profiles", "it is a link")
	if _, err := os.Lstat("/coder"); err == nil {
		t.Error("a profile was made outside of the home")
	}
}

func TestProfile(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	d := open(t, h, profile.Default)
	if d.Path() != h.Path() || d.ID() != h.ID() || p.Path() != h.Path()+"/profiles/coder" || p.Name() != "coder" {
		t.Errorf("paths %s, %s", d.Path(), p.Path())
	}
	for _, n := range []profile.Name{"typo", "../..", "", "..", "a/b", "default/"} {
		_, err := h.Profile(n)
		wantFault(t, err, fault.GatewayNotRegistered)
	}
	_, err := h.Profile("typo")
	wantFault(t, err, fault.GatewayNotRegistered, "no such gateway 'typo'", "hermes profile create typo")
	must(t, os.Mkdir(h.Path()+"/profiles/unmarked", 0o755))
	_, err = h.Profile("unmarked")
	wantFault(t, err, fault.GatewayNotRegistered)
	must(t, os.Symlink("coder", h.Path()+"/profiles/alias"))
	_, err = h.Profile("alias")
	wantFault(t, err, fault.GatewayNotRegistered, "it is a link")

	// An open profile is its directory, whatever that is called now.
	must(t, h.RenameProfile("coder", "writer"))
	must(t, p.WriteIntent(intent(profile.Running, 7)))
	if r, _, _ := open(t, h, "writer").Intent(); r.Generation != 7 {
		t.Errorf("after the rename generation %d", r.Generation)
	}
}

func TestHumanFiles(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	file, err := p.Config()
	must(t, err)
	if file.Gateway.Command != nil || len(file.Warnings) != 0 {
		t.Errorf("the seeded config says %+v", file)
	}
	env, err := p.Dotenv()
	if err != nil || len(env) != 0 {
		t.Errorf("the seeded .env says %v, %v", env, err)
	}
	soul, err := p.Soul()
	if err != nil || !strings.Contains(string(soul), "You are coder") {
		t.Errorf("the seeded SOUL.md says %q, %v", soul, err)
	}
	write(t, p.Path()+"/config.yaml", "gateway:\n  prot: 1\n")
	_, err = p.Config()
	wantFault(t, err, fault.InvalidConfig, p.Path()+"/config.yaml:2: gateway.prot")
	write(t, p.Path()+"/.env", "A-B=1")
	_, err = p.Dotenv()
	wantFault(t, err, fault.InvalidConfig, p.Path()+"/.env:1")

	must(t, os.Remove(p.Path()+"/config.yaml"))
	must(t, os.Remove(p.Path()+"/.env"))
	if file, err = p.Config(); err != nil || file.Gateway.StartTimeout != 90*time.Second {
		t.Errorf("without config.yaml: %+v, %v", file, err)
	}
	if env, err = p.Dotenv(); err != nil || len(env) != 0 {
		t.Errorf("without .env: %v, %v", env, err)
	}
}

// The commented example of the seeded config.yaml is one.
func TestSeededExampleIsValid(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	data, err := os.ReadFile(p.Path() + "/config.yaml")
	must(t, err)
	_, example, _ := strings.Cut(string(data), "\n#\n")
	write(t, p.Path()+"/config.yaml", strings.ReplaceAll(strings.ReplaceAll(example, "\n# ", "\n"), "# model", "model"))
	file, err := p.Config()
	must(t, err)
	if file.Model.Name == "" && len(file.Gateway.Command) != 2 {
		t.Errorf("the example says %+v", file)
	}
}

// Something hostile in the place of each file a person writes is an error that
// names it, and hangs nothing.
func TestHostileHumanFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, "A=1")
	kinds := map[string]struct {
		make func(path string) error
		want string
	}{
		"fifo":          {func(p string) error { return unix.Mkfifo(p, 0o644) }, "a FIFO"},
		"directory":     {func(p string) error { return os.Mkdir(p, 0o755) }, "a directory"},
		"socket":        {mksocket, "a socket"},
		"absolute link": {func(p string) error { return os.Symlink(outside, p) }, "leads to no file inside of"},
		"escaping link": {func(p string) error { return os.Symlink("../../SOUL.md", p) }, "leads to no file inside of"},
		"dangling link": {func(p string) error { return os.Symlink("nothing", p) }, "leads to no file inside of"},
		"loop":          {func(p string) error { return os.Symlink(filepath.Base(p), p) }, "leads to no file inside of"},
		"link to FIFO": {func(p string) error {
			_ = unix.Mkfifo(filepath.Dir(p)+"/pipe", 0o644)
			return os.Symlink("pipe", p)
		}, "a FIFO"},
		"huge": {func(p string) error { return os.WriteFile(p, make([]byte, 2<<20), 0o644) }, "larger than"},
	}
	for kind, k := range kinds {
		t.Run(kind, func(t *testing.T) {
			h := newHome(t, "coder")
			p := open(t, h, "coder")
			read := map[string]func() error{
				"config.yaml": func() error { _, err := p.Config(); return err },
				".env":        func() error { _, err := p.Dotenv(); return err },
				"SOUL.md":     func() error { _, err := p.Soul(); return err },
			}
			for name, f := range read {
				path := p.Path() + "/" + name
				must(t, os.RemoveAll(path))
				must(t, k.make(path))
				wantFault(t, f(), fault.Unreadable, path, k.want)
			}
			_, err := p.EnsureAPIKey()
			wantFault(t, err, fault.Unreadable, ".env")
		})
	}
}

func mksocket(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dir, err := os.Open(filepath.Dir(path)) // sun_path is short
	if err != nil {
		return err
	}
	defer dir.Close()
	raw, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	var bindErr error
	err = raw.Control(func(d uintptr) {
		bindErr = unix.Bind(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(d)) + "/" + filepath.Base(path)})
	})
	if err != nil {
		return err
	}
	return bindErr
}

// The shape of a mounted ConfigMap: links inside of the directory.
func TestConfigMap(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	write(t, p.Path()+"/..2026_01/SOUL.md", "mounted")
	write(t, p.Path()+"/..2026_01/.env", "A=mounted")
	must(t, os.Symlink("..2026_01", p.Path()+"/..data"))
	for _, name := range []string{"SOUL.md", ".env"} {
		must(t, os.Remove(p.Path()+"/"+name))
		must(t, os.Symlink("..data/"+name, p.Path()+"/"+name))
	}
	soul, err := open(t, h, "coder").Soul()
	if err != nil || string(soul) != "mounted" {
		t.Errorf("SOUL.md: %q, %v", soul, err)
	}
	env, err := p.Dotenv()
	if err != nil || env["A"] != "mounted" {
		t.Errorf(".env: %v, %v", env, err)
	}
	_, err = p.EnsureAPIKey()
	wantFault(t, err, fault.Unreadable, ".env", "it is a link", "API_SERVER_KEY")
	if data, _ := os.ReadFile(p.Path() + "/..2026_01/.env"); string(data) != "A=mounted" {
		t.Errorf("written through a link: %q", data)
	}
}

func TestReadOnlyHome(t *testing.T) {
	h := newHome(t, "coder")
	write(t, h.ProfilePath("coder")+"/gateway_intent.json", "torn{")
	before := tree(t, h.Path())
	r, err := store.OpenReadOnly(h.Path())
	must(t, err)
	defer r.Close()
	p := open(t, r, "coder")
	if _, state, err := p.Intent(); state != store.Corrupt || err == nil || strings.Contains(err.Error(), "read-only") {
		t.Errorf("a torn file is %v, %v", state, err)
	}
	_, createErr := r.CreateProfile("x")
	_, seedErr := r.EnsureDefault()
	_, chownErr := r.ChownFixed(1, 1)
	_, keyErr := p.EnsureAPIKey()
	_, staleErr := p.RemoveStale()
	for i, err := range []error{
		createErr, seedErr, chownErr, keyErr, staleErr, r.DeleteProfile("coder"), r.RenameProfile("coder", "x"), r.RemoveLeftovers(),
		r.AppendBootLog([]store.BootLine{{}}), p.WriteIntent(intent(profile.Running, 1)), p.WriteSupervision(supervision()),
	} {
		if err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, h.Path())); diff != "" {
		t.Error(diff)
	}
}

// tree lists everything below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	}))
	slices.Sort(names)
	return names
}

func ownerOf(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	var st syscall.Stat_t
	must(t, syscall.Lstat(path, &st))
	return int(st.Uid), int(st.Gid)
}
