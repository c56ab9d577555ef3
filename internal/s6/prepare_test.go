package s6

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

// The fleet of these tests: nobody need have these numbers.
const (
	fleet  = 10000
	member = 10001 // a uid in the fleet's group
	nobody = 10002 // a uid in no group of the fleet's
)

// rooted is the scan directory of a root's s6-svscan that the fleet's uid and
// group may use.
func rooted(t *testing.T) Scandir {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root has an s6-svscan that others use")
	}
	d := directory(t, Access{Group: fleet, Owner: fleet})
	scan(t, d)
	return d
}

// mode is a file's type and mode, owner and group.
func mode(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
}

// TestModes is the table of docs/s6.md: who may what.
func TestModes(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root gives files away")
	}
	for name, c := range map[string]struct {
		access                  Access
		owner, private, control string
	}{
		"the group manages, the owner registers": {Access{Group: fleet, Owner: fleet}, "10000:10000", "0:10000", "10620"},
		"the group manages, root registers":      {Access{Group: fleet}, "0:10000", "0:10000", "10600"},
		"root alone":                             {Access{}, "0:0", "0:0", "10600"},
	} {
		d := directory(t, c.access)
		must(t, d.Prepare(c.access)) // once more, as after a restart of the container
		must(t, d.Lay(spec(t, "gateway-coder", "sleep")))
		for path, want := range map[string]string{
			"":                                    "40755 " + c.owner,
			".s6-svscan":                          "40710 " + c.private,
			".s6-svscan/control":                  c.control + " " + c.private,
			"gateway-coder":                       "40755 " + c.owner,
			"gateway-coder/data":                  "40755 " + c.owner,
			"gateway-coder/data/do":               "100644 " + c.owner,
			"gateway-coder/supervise":             "40710 " + c.owner,
			"gateway-coder/supervise/control":     "10620 " + c.owner,
			"gateway-coder/event":                 "43730 " + c.owner,
			"gateway-coder/log":                   "40755 " + c.owner,
			"gateway-coder/log/supervise":         "40710 " + c.owner,
			"gateway-coder/log/supervise/control": "10620 " + c.owner,
			"gateway-coder/log/event":             "43730 " + c.owner,
		} {
			if got := mode(t, d.path(path)); got != want {
				t.Errorf("%s: %s is %s, want %s", name, path, got, want)
			}
		}
	}
}

// TestModesStay: s6-supervise and s6-svscan take what they find as it is, also
// when they are started again.
func TestModesStay(t *testing.T) {
	d := rooted(t)
	const slot = "gateway-coder"
	must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
	paths := []string{svscanDir + "/control", slot + "/supervise", slot + "/supervise/control", slot + "/event", slot + "/log/supervise/control"}
	modes := func() (all []string) {
		for _, path := range paths {
			all = append(all, mode(t, d.path(path)))
		}
		return all
	}
	before := modes()
	if want := "10620 0:10000 40710 10000:10000 10620 10000:10000 43730 10000:10000 10620 10000:10000"; strings.Join(before, " ") != want {
		t.Errorf("%v, want %s", before, want)
	}
	killSupervisor(t, d, slot)
	eventually(t, "it is supervised again", func() bool { return state(t, d, slot).Supervised() })
	if after := modes(); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("%v, were %v", after, before)
	}
}

// TestOtherUsers: what each user may do with a root's s6, and what a refusal
// says.
func TestOtherUsers(t *testing.T) {
	d := rooted(t)
	const slot = "gateway-coder"
	must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
	const (
		done     = "done"
		refused  = "s6_command_failed: s6-svc %s on 'gateway-coder' failed (rc=111): "
		denied   = "supervisor_denied: cannot %s '%s': "
		notThere = "gateway_not_registered: no such gateway 'typo'"
	)
	for _, c := range []struct {
		uid, gid int
		do, slot string
		want     string
	}{
		{fleet, fleet, "state", slot, done},
		{fleet, fleet, "stop", slot, done},
		{fleet, fleet, "start", slot, done},
		{fleet, fleet, "restart", slot, done},
		{fleet, fleet, "register", "gateway-mine", done},
		{fleet, fleet, "stop", "gateway-mine", done},
		{fleet, fleet, "unregister", "gateway-mine", done},
		{member, fleet, "state", slot, done},
		{member, fleet, "restart", slot, done},
		{member, fleet, "register", "gateway-theirs", fmt.Sprintf(denied, "register", "gateway-theirs")},
		{member, fleet, "unregister", slot, fmt.Sprintf(denied, "unregister", slot)},
		{nobody, nobody, "state", slot, "supervisor_denied: cannot look at slot 'gateway-coder': "},
		{nobody, nobody, "stop", slot, fmt.Sprintf(refused, "stop")},
		{nobody, nobody, "state", "gateway-typo", notThere},
		{nobody, nobody, "unregister", slot, fmt.Sprintf(denied, "unregister", slot)},
		{fleet, fleet, "unregister", slot, done}, // root registered it
	} {
		got := as(t, c.uid, c.gid, c.do, d.Dir, c.slot)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("uid %d, group %d: %s %s: %s, want %s…", c.uid, c.gid, c.do, c.slot, got, c.want)
		}
		hint := fmt.Sprintf("this is uid %d", c.uid)
		if c.want != done && c.want != notThere && !strings.Contains(got, "hint: do it as uid 0") || c.want != done && c.want != notThere && !strings.Contains(got, hint) {
			t.Errorf("%s %s: no hint that fits: %s", c.do, c.slot, got)
		}
	}
	nothing(t, d)
}

// TestToolsOfOtherUsers: s6's own tools obey the same modes.
func TestToolsOfOtherUsers(t *testing.T) {
	d := rooted(t)
	const slot = "gateway-coder"
	must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
	dir := d.path(slot)
	for _, c := range []struct {
		uid, gid, rc int
		command      string
	}{
		{member, fleet, 0, "s6-svstat " + dir},
		{member, fleet, 0, "s6-svc -wD -T 10000 -d " + dir},
		{member, fleet, 0, "s6-svc -wu -T 10000 -u " + dir},
		{member, fleet, 0, "s6-svwait -t 10000 -u " + dir},
		{fleet, fleet, 0, "s6-svscanctl -a " + d.Dir},
		{nobody, nobody, 111, "s6-svstat " + dir},
		{nobody, nobody, 111, "s6-svc -d " + dir},
		{nobody, nobody, 111, "s6-svscanctl -a " + d.Dir},
	} {
		words := strings.Fields(c.command)
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)}}
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.rc {
			t.Errorf("uid %d, group %d: %s exits with %d, want %d: %s", c.uid, c.gid, c.command, got, c.rc, out)
		}
	}
}

// TestUnprivilegedS6: a container that runs as an ordinary user has an s6 of its
// own, and all of this works the same.
func TestUnprivilegedS6(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	d := running(t)
	const slot = "gateway-coder"
	must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
	if got, err := d.Stop(t.Context(), slot); err != nil || !got.Down() {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, d.Unregister(t.Context(), slot))
	nothing(t, d)
}

// TestPrepareRefuses what is not a scan directory's.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if err := (Scandir{Dir: filepath.Join(dir, "file")}).Prepare(own()); err == nil {
		t.Error("a file was prepared")
	}
	for name, make := range map[string]func(string) error{
		"a file in the place of .s6-svscan":         func(d string) error { return os.WriteFile(filepath.Join(d, svscanDir), nil, 0o600) },
		"a link in its place":                       func(d string) error { return os.Symlink(t.TempDir(), filepath.Join(d, svscanDir)) },
		"a file in the place of .s6-svscan/control": func(d string) error { return writeControl(d) },
	} {
		d := t.TempDir()
		must(t, make(d))
		if err := (Scandir{Dir: d}).Prepare(own()); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func writeControl(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, svscanDir), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, svscanDir, controlFile), nil, 0o600)
}
