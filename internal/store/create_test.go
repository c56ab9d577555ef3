package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// TestCreateHome: what hermes makes above a home can be passed through by
// whoever gateways run as; the home itself is private.
func TestCreateHome(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "opt", "data")
	for range 2 { // the second finds it there
		h, err := store.Create(path)
		must(t, err)
		must(t, h.Close())
	}
	for dir, mode := range map[string]os.FileMode{filepath.Dir(path): 0o755, path: 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}

func TestCreateProfile(t *testing.T) {
	h := newHome(t)
	path, err := h.CreateProfile("coder")
	must(t, err)
	if path != h.Path()+"/profiles/coder" {
		t.Errorf("path %s", path)
	}
	if diff := cmp.Diff([]string{"", "/coder", "/coder/.env", "/coder/SOUL.md", "/coder/config.yaml"}, tree(t, h.Path()+"/profiles")); diff != "" {
		t.Error(diff)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "/.env": 0o600, "/SOUL.md": 0o600, "/config.yaml": 0o600} {
		if info, err := os.Stat(path + name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	write(t, path+"/SOUL.md", "mine")
	_, err = h.CreateProfile("coder")
	wantFault(t, err, fault.ProfileExists, "'coder'", "hermes -p coder gateway start")
	if data, _ := os.ReadFile(path + "/SOUL.md"); string(data) != "mine" {
		t.Error("an existing profile was changed")
	}
	for _, n := range []profile.Name{"default", "tmp", "", "A", "../x", ".x", profile.Name(strings.Repeat("x", 65))} {
		_, err := h.CreateProfile(n)
		wantFault(t, err, fault.InvalidName)
	}
}

// A directory without SOUL.md is what "no such gateway" advises to create.
func TestCreateProfileCompletesADirectory(t *testing.T) {
	h := newHome(t)
	write(t, h.Path()+"/profiles/coder/config.yaml", "gateway: {port: 5}")
	_, err := h.CreateProfile("coder")
	must(t, err)
	file, err := open(t, h, "coder").Config()
	if err != nil || file.Gateway.Port != 5 {
		t.Errorf("%+v, %v", file, err)
	}
	write(t, h.Path()+"/profiles/file", "x")
	_, err = h.CreateProfile("file")
	wantFault(t, err, fault.HomeUnusable, "profiles/file")
}

func TestEnsureDefault(t *testing.T) {
	h, err := store.Create(t.TempDir())
	must(t, err)
	defer h.Close()
	write(t, h.Path()+"/.env", "A=1\n")
	must(t, os.Symlink("nothing", h.Path()+"/config.yaml"))
	if created, err := h.EnsureDefault(); !created || err != nil {
		t.Fatalf("created %v, %v", created, err)
	}
	if data, _ := os.ReadFile(h.Path() + "/.env"); string(data) != "A=1\n" {
		t.Errorf(".env is %q", data)
	}
	if _, err := os.Lstat(h.Path() + "/nothing"); err == nil {
		t.Error("written through a link")
	}
	if data, _ := os.ReadFile(h.Path() + "/SOUL.md"); !strings.Contains(string(data), "You are Hermes") {
		t.Errorf("SOUL.md is %q", data)
	}
	if created, err := h.EnsureDefault(); created || err != nil {
		t.Errorf("again: %v, %v", created, err)
	}
	if marked, err := open(t, h, profile.Default).Marked(); !marked || err != nil {
		t.Errorf("marked %v, %v", marked, err)
	}
}

func TestDeleteProfile(t *testing.T) {
	h := newHome(t, "coder", "writer")
	outside := t.TempDir()
	write(t, outside+"/precious", "x")
	path := h.ProfilePath("coder")
	write(t, path+"/sessions/deep/file", "x")
	must(t, os.Symlink(outside, path+"/out"))
	must(t, os.Symlink("../writer", path+"/sessions/other"))
	p := open(t, h, "coder")
	must(t, h.DeleteProfile("coder"))
	if diff := cmp.Diff([]string{"", "/writer", "/writer/.env", "/writer/SOUL.md", "/writer/config.yaml"}, tree(t, h.Path()+"/profiles")); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(outside + "/precious"); err != nil {
		t.Error("a link was followed")
	}
	if err := p.WriteIntent(intent(profile.Running, 1)); err == nil {
		t.Error("an intent was written for a deleted profile")
	}
	wantFault(t, h.DeleteProfile("coder"), fault.GatewayNotRegistered, "'coder'")
	wantFault(t, h.DeleteProfile("default"), fault.InvalidName, "home")
	must(t, os.Symlink(outside, h.ProfilePath("link")))
	wantFault(t, h.DeleteProfile("link"), fault.GatewayNotRegistered, "it is a link")
}

func TestRenameProfile(t *testing.T) {
	h := newHome(t, "coder", "writer")
	p := open(t, h, "coder")
	must(t, p.WriteIntent(intent(profile.Running, 5)))
	must(t, p.WriteSupervision(supervision()))
	wantFault(t, h.RenameProfile("coder", "writer"), fault.ProfileExists, "'writer'")
	wantFault(t, h.RenameProfile("coder", "tmp"), fault.InvalidName)
	wantFault(t, h.RenameProfile("default", "x"), fault.InvalidName)
	wantFault(t, h.RenameProfile("typo", "x"), fault.GatewayNotRegistered)
	must(t, h.RenameProfile("coder", "critic"))
	_, err := h.Profile("coder")
	wantFault(t, err, fault.GatewayNotRegistered)
	renamed := open(t, h, "critic")
	if renamed.ID() != p.ID() {
		t.Error("the directory is another one")
	}
	r, _, _ := renamed.Intent()
	s, _, _ := renamed.Supervision()
	if r.Generation != 5 || s.Port != 9201 {
		t.Errorf("%+v, %+v", r, s)
	}
}

func TestRemoveLeftovers(t *testing.T) {
	h := newHome(t, "coder")
	base := h.Path() + "/profiles/"
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{".deleted-x-1", ".y.staging-1", ".deleted-young-1", ".mine"} {
		write(t, base+name+"/file", "x")
		if !strings.Contains(name, "young") {
			must(t, os.Chtimes(base+name, old, old))
		}
	}
	must(t, h.RemoveLeftovers())
	entries, err := os.ReadDir(base)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{".deleted-young-1", ".mine", "coder"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureAPIKey(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	write(t, p.Path()+"/.env", "A=1\n# end") // no new line at the end, mode 0644
	added, err := p.EnsureAPIKey()
	if !added || err != nil {
		t.Fatalf("added %v, %v", added, err)
	}
	data, err := os.ReadFile(p.Path() + "/.env")
	must(t, err)
	if !regexp.MustCompile(`^A=1\n# end\nAPI_SERVER_KEY=[0-9a-f]{64}\n$`).Match(data) {
		t.Errorf(".env is %q", data)
	}
	if info, _ := os.Stat(p.Path() + "/.env"); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if added, err := p.EnsureAPIKey(); added || err != nil {
		t.Errorf("again: %v, %v", added, err)
	}
	if again, _ := os.ReadFile(p.Path() + "/.env"); string(again) != string(data) {
		t.Error("the key was changed")
	}
	must(t, os.Remove(p.Path()+"/.env"))
	if added, err := p.EnsureAPIKey(); !added || err != nil {
		t.Errorf("without .env: %v, %v", added, err)
	}
	write(t, p.Path()+"/.env", "A='open\n")
	_, err = p.EnsureAPIKey()
	wantFault(t, err, fault.InvalidConfig, ".env:1")
	if data, _ := os.ReadFile(p.Path() + "/.env"); string(data) != "A='open\n" {
		t.Errorf("a wrong .env became %q", data)
	}
}

func TestBootLog(t *testing.T) {
	h := newHome(t)
	path := h.Path() + "/logs/container-boot.log"
	lines := []store.BootLine{
		{At: moment, Profile: "default", PriorState: "", Action: store.BootRegistered},
		{At: moment, Profile: "coder", PriorState: "running", Action: store.BootStarted, PriorExit: store.ExitClean},
		{At: moment, Profile: "writer", PriorState: "x y=\n\x1b", Action: store.BootSkipped, PriorExit: "y"},
	}
	must(t, h.AppendBootLog(lines[:1]))
	must(t, h.AppendBootLog(lines[1:]))
	data, err := os.ReadFile(path)
	must(t, err)
	want := `2026-11-23T04:05:06Z profile=default prior_state=none action=registered prior_exit=unknown
2026-11-23T04:05:06Z profile=coder prior_state=running action=started prior_exit=clean
2026-11-23T04:05:06Z profile=writer prior_state=unknown action=skipped prior_exit=unknown
`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}

	write(t, path, strings.Repeat("x", 256<<10-10))
	must(t, h.AppendBootLog(lines[:1]))
	if old, err := os.Stat(path + ".1"); err != nil || old.Size() != 256<<10-10 {
		t.Errorf("not rotated: %v, %v", old, err)
	}
	if data, _ := os.ReadFile(path); string(data) != lines[0].String()+"\n" {
		t.Errorf("after the rotation %q", data)
	}
}

// In the place of the boot log there is something that leads elsewhere.
func TestHostileBootLog(t *testing.T) {
	lines := []store.BootLine{{At: moment, Profile: "default", Action: store.BootStarted}}
	outside := filepath.Join(t.TempDir(), "outside")
	for name, place := range map[string]func(h *store.Home) error{
		"link":        func(h *store.Home) error { return os.Symlink(outside, h.Path()+"/logs/container-boot.log") },
		"link inside": func(h *store.Home) error { return os.Symlink("../SOUL.md", h.Path()+"/logs/container-boot.log") },
		"second name": func(h *store.Home) error { return os.Link(h.Path()+"/SOUL.md", h.Path()+"/logs/container-boot.log") },
		"directory":   func(h *store.Home) error { return os.Mkdir(h.Path()+"/logs/container-boot.log", 0o755) },
		"socket":      func(h *store.Home) error { return mksocket(h.Path() + "/logs/container-boot.log") },
	} {
		t.Run(name, func(t *testing.T) {
			write(t, outside, "mine")
			h := newHome(t)
			must(t, os.Mkdir(h.Path()+"/logs", 0o755))
			soul, err := os.ReadFile(h.Path() + "/SOUL.md")
			must(t, err)
			must(t, place(h))
			must(t, h.AppendBootLog(lines))
			if data, _ := os.ReadFile(outside); string(data) != "mine" {
				t.Errorf("written outside of the home: %q", data)
			}
			if data, _ := os.ReadFile(h.Path() + "/SOUL.md"); string(data) != string(soul) {
				t.Errorf("written through another name: %q", data)
			}
			if info, err := os.Lstat(h.Path() + "/logs/container-boot.log"); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the log is %v, %v", info, err)
			}
		})
	}
}

func TestLogsThatAreALink(t *testing.T) {
	h := newHome(t)
	outside := t.TempDir()
	must(t, os.Symlink(outside, h.Path()+"/logs"))
	err := h.AppendBootLog([]store.BootLine{{At: moment, Profile: "default", Action: store.BootStarted}})
	wantFault(t, err, fault.HomeUnusable, h.Path()+"/logs", "it is a link")
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("written outside of the home: %v", entries)
	}
}
