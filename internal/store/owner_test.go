package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// fleet is the uid and gid of gateways in these tests; nobody need have it.
const fleet = 12345

func needRoot(t *testing.T) {
	t.Helper()
	if !isRoot() {
		testkit.Unavailable(t, "only root gives files away")
	}
}

// The tests of what an ordinary user may not do, for those who test as root.
func TestAsAnotherUser(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^(TestUnwritableHome|TestUnreadableStateFiles|TestCheckReadableOfOneself)$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+openTempDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: fleet, Gid: fleet}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "SKIP") || strings.Count(string(out), "--- PASS") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}

// openTempDir is a directory every user can make files in.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o777|os.ModeSticky))
	return dir
}

// TestEnsureLogs: the directories are the fleet's from the start; one that is
// there stays whose it is.
func TestEnsureLogs(t *testing.T) {
	needRoot(t)
	h := newHome(t)
	h.SetOwner(fleet, fleet)
	must(t, os.Mkdir(h.Path()+"/logs", 0o700))
	for range 2 {
		must(t, h.EnsureLogs())
	}
	for name, want := range map[string]int{"/logs": 0, "/logs/gateways": fleet} {
		if uid, _ := ownerOf(t, h.Path()+name); uid != want {
			t.Errorf("%s belongs to %d, want %d", name, uid, want)
		}
	}
}

func TestWrittenFilesBelongToTheOwner(t *testing.T) {
	needRoot(t)
	for name, set := range map[string]func(h *store.Home) *store.Home{
		"said": func(h *store.Home) *store.Home { h.SetOwner(fleet, fleet+1); return h },
		"the home's": func(h *store.Home) *store.Home {
			must(t, os.Chown(h.Path(), fleet, fleet+1))
			again, err := store.Open(h.Path())
			must(t, err)
			t.Cleanup(func() { _ = again.Close() })
			return again
		},
	} {
		t.Run(name, func(t *testing.T) {
			plain, err := store.Create(t.TempDir())
			must(t, err)
			defer plain.Close()
			h := set(plain)
			_, err = h.EnsureDefault()
			must(t, err)
			_, err = h.CreateProfile("coder")
			must(t, err)
			p := open(t, h, "coder")
			must(t, p.WriteIntent(intent(profile.Running, 1)))
			must(t, p.WriteSupervision(supervision()))
			_, err = p.EnsureAPIKey()
			must(t, err)
			must(t, h.AppendBootLog([]store.BootLine{{At: moment, Profile: "coder", Action: store.BootStarted}}))
			for _, name := range tree(t, h.Path())[1:] {
				if uid, gid := ownerOf(t, h.Path()+name); uid != fleet || gid != fleet+1 {
					t.Errorf("%s belongs to %d:%d", name, uid, gid)
				}
			}
		})
	}
}

func TestChownFixed(t *testing.T) {
	needRoot(t)
	h := newHome(t, "coder")
	base, coder := h.Path(), h.ProfilePath("coder")
	secret := filepath.Join(t.TempDir(), "shadow")
	write(t, secret, "root's")
	write(t, base+"/logs/gateways/coder/current", "x")
	write(t, base+"/logs/gateways/Bad Name/current", "x")
	write(t, coder+"/sessions/1", "x")
	write(t, coder+"/auth.json", "x")
	must(t, os.Symlink(secret, coder+"/gateway.pid"))
	must(t, os.Link(secret, coder+"/state.db"))
	must(t, unix.Mkfifo(coder+"/processes.json", 0o600))
	must(t, os.Symlink(filepath.Dir(secret), base+"/profiles/out"))
	must(t, os.Symlink("coder", base+"/profiles/in"))

	refused, err := h.ChownFixed(fleet, fleet)
	must(t, err)
	reasons := map[string]string{}
	for _, r := range refused {
		reasons[strings.TrimPrefix(r.Path, base)] = r.Reason
	}
	want := map[string]string{
		"/profiles/coder/gateway.pid":    "it is a link",
		"/profiles/coder/state.db":       "it is another name of a file of uid 0",
		"/profiles/coder/processes.json": "it is neither a file nor a directory",
		"/profiles/out":                  "it is a link",
		"/profiles/in":                   "it is a link",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
	owned := []string{
		"", "/SOUL.md", "/.env", "/config.yaml", "/logs", "/logs/gateways", "/logs/gateways/coder", "/profiles",
		"/profiles/coder", "/profiles/coder/SOUL.md", "/profiles/coder/auth.json", "/profiles/coder/.env",
	}
	for _, name := range tree(t, base) {
		wantUID := 0
		for _, o := range owned {
			if o == name || name == "/profiles/coder/config.yaml" {
				wantUID = fleet
			}
		}
		if uid, _ := ownerOf(t, base+name); uid != wantUID {
			t.Errorf("%q belongs to %d, want %d", name, uid, wantUID)
		}
	}
	if uid, _ := ownerOf(t, secret); uid != 0 {
		t.Error("a file outside of the home was given away")
	}
}

// TestMisowned: it names what ChownFixed then gives away, and changes nothing.
func TestMisowned(t *testing.T) {
	needRoot(t)
	h := newHome(t, "coder")
	write(t, h.ProfilePath("coder")+"/sessions/1", "x")
	must(t, os.Symlink("/etc/shadow", h.ProfilePath("coder")+"/gateway.pid"))
	others := h.Misowned(fleet, fleet)
	for _, path := range []string{h.Path(), h.Path() + "/profiles", h.ProfilePath("coder"), h.ProfilePath("coder") + "/SOUL.md"} {
		if !slices.Contains(others, path) {
			t.Errorf("%s was not reported", path)
		}
	}
	for _, path := range others {
		if uid, _ := ownerOf(t, path); uid != 0 {
			t.Errorf("looking gave %s away", path)
		}
	}
	_, err := h.ChownFixed(fleet, fleet)
	must(t, err)
	for _, path := range others {
		if uid, _ := ownerOf(t, path); uid != fleet {
			t.Errorf("%s was reported and belongs to %d", path, uid)
		}
	}
	if left := h.Misowned(fleet, fleet); len(left) > 0 {
		t.Errorf("still misowned: %v", left)
	}
}

// What root could read and the fleet could not is not read for the fleet.
func TestSecondNames(t *testing.T) {
	needRoot(t)
	h := newHome(t, "coder")
	h.SetOwner(fleet, fleet)
	p := open(t, h, "coder")
	secret := filepath.Join(filepath.Dir(h.Path()), "secret")
	write(t, secret, "A=1")
	must(t, os.Remove(p.Path()+"/.env"))
	must(t, os.Link(secret, p.Path()+"/.env"))
	must(t, os.Chmod(secret, 0o600))
	_, err := p.Dotenv()
	wantFault(t, err, fault.Unreadable, ".env", "another name of a file of uid 0")
	for name, change := range map[string]func() error{
		"readable by all": func() error { return os.Chmod(secret, 0o644) },
		"the fleet's own": func() error { return os.Chown(secret, fleet, fleet) },
	} {
		must(t, os.Chmod(secret, 0o600))
		must(t, os.Chown(secret, 0, 0))
		must(t, change())
		if env, err := p.Dotenv(); err != nil || env["A"] != "1" {
			t.Errorf("%s: %v, %v", name, env, err)
		}
	}
}

func TestCheckReadable(t *testing.T) {
	needRoot(t)
	base := openTempDir(t)
	h, err := store.Create(base + "/home")
	must(t, err)
	defer h.Close()
	_, err = h.CreateProfile("coder")
	must(t, err)
	p := open(t, h, "coder")
	path := p.Path()

	wantFault(t, p.CheckReadable(fleet, fleet), fault.Unreadable,
		"gateway-coder cannot use "+path, h.Path()+" belongs to 0:0, mode 0700", "runs as 12345:12345", "as root: chmod o+x "+h.Path())
	must(t, os.Chmod(h.Path(), 0o755))
	must(t, os.Chmod(h.Path()+"/profiles", 0o755))
	wantFault(t, p.CheckReadable(fleet, fleet), fault.Unreadable, "gateway-coder cannot use "+path, "as root: chown 12345:12345 "+path)
	must(t, os.Chown(path, fleet, fleet))
	for _, name := range []string{"SOUL.md", "config.yaml", ".env"} {
		file := path + "/" + name
		wantFault(t, p.CheckReadable(fleet, fleet), fault.Unreadable,
			"gateway-coder cannot read "+file, file+" belongs to 0:0, mode 0600", "as root: chown 12345:12345 "+file)
		if name == ".env" {
			must(t, os.Chmod(file, 0o640)) // readable by the group alone
			must(t, os.Chown(file, 0, fleet))
			must(t, p.CheckReadable(fleet, fleet))
		}
		must(t, os.Chown(file, fleet, fleet))
	}
	must(t, p.CheckReadable(fleet, fleet))
	must(t, os.Remove(path+"/config.yaml"))
	must(t, p.CheckReadable(fleet, fleet))
	must(t, p.CheckReadable(0, 0))

	// Nothing of the other identity is left anywhere. (Forking a child of
	// another uid, as tests before this one do, makes a process undumpable.)
	must(t, unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	must(t, p.CheckReadable(fleet, fleet))
	ids := regexp.MustCompile(`(?m)^(Uid|Gid|Groups):.*\b12345\b`) // and not a pid, or a count
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	must(t, err)
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && ids.Match(status) {
			t.Errorf("%s: %s", task, status)
		}
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); dumpable != 1 || err != nil {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
}

func TestCheckReadableOfOneself(t *testing.T) {
	if isRoot() {
		return // root reads everything; TestAsAnotherUser covers this
	}
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	must(t, p.CheckReadable(uid, gid))
	must(t, p.CheckReadable(uid+1, gid)) // cannot be asked
	must(t, os.Chmod(p.Path()+"/.env", 0))
	wantFault(t, p.CheckReadable(uid, gid), fault.Unreadable, "gateway-coder cannot read "+p.Path()+"/.env", "mode 0000")
}
