package condition_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/condition"
)

var update = flag.Bool("update", false, "write docs/reference/conditions.md")

const allCaps = ^condition.Capabilities(0)

// fine is a root container with everything it needs, and gateways as 10000.
func fine() condition.Facts {
	return condition.Facts{
		Caps: allCaps, GatewayUID: 10000, GatewayGID: 10000,
		Home:    condition.Home{Path: "/opt/data", UID: 10000, GID: 10000, Free: 1 << 30, FreeKnown: true},
		Runtime: condition.Runtime{Dir: "/run/hermes/b7dd404e"},
		Limits:  condition.Limits{PIDs: 100, OpenFiles: 1024, Memory: 1 << 30, Processes: 100},
		Fleet:   condition.Fleet{Gateways: 3, BuiltIn: 1},
	}
}

type row struct {
	name string
	with func(f *condition.Facts)
	want []string // "code: message | hint"
}

func rows() []row { return append(append(capabilityRows(), limitRows()...), homeRows()...) }

func capabilityRows() []row {
	return []row{
		{"nothing is wrong", func(*condition.Facts) {}, nil},
		{"nothing is known", func(f *condition.Facts) { *f = condition.Facts{} }, nil},
		{"root without SETUID", func(f *condition.Facts) { f.Caps &^= condition.SetUID }, []string{
			"no_setuid: root without CAP_SETUID cannot run gateways as 10000:10000 | docker run … --cap-add SETUID, or --user 10000:10000 on a home of that uid",
		}},
		{"root without any, the home not to be read", func(f *condition.Facts) { f.Caps, f.Home.Denied = 0, true }, []string{
			"no_setuid: root without CAP_SETGID and CAP_SETUID cannot run gateways as 10000:10000 | " + all,
			"no_chown: root without CAP_CHOWN cannot give what it makes in the home to 10000:10000 | " + all,
			"home_closed: root without CAP_DAC_OVERRIDE cannot use /opt/data, which belongs to uid 10000 | " + all,
			"no_kill: root without CAP_KILL cannot signal gateways of uid 10000 directly: a helper of that uid does it | ",
		}},
		{"root without any, gateways as root", func(f *condition.Facts) { f.Caps, f.GatewayUID, f.GatewayGID = 0, 0, 0 }, nil},
		{"not root", func(f *condition.Facts) { f.UID, f.Caps = 10000, 0 }, nil},
		{"the home belongs to another uid than gateways run as", func(f *condition.Facts) { f.Caps &^= condition.SetGID; f.GatewayUID = 5 }, []string{
			"no_setuid: root without CAP_SETGID cannot run gateways as 5:10000 | docker run … --cap-add SETGID, or --user 10000:10000 on a home of that uid",
		}},
		{"gateways as root's uid in another group", func(f *condition.Facts) {
			f.Caps &^= condition.SetGID
			f.GatewayUID, f.Home.UID = 0, 0
		}, []string{"no_setuid: root without CAP_SETGID cannot run gateways as 0:10000 | docker run … --cap-add SETGID"}},
		{"root without KILL", func(f *condition.Facts) { f.Caps &^= condition.Kill }, []string{
			"no_kill: root without CAP_KILL cannot signal gateways of uid 10000 directly: a helper of that uid does it | ",
		}},
		{"a uid that cannot be given", func(f *condition.Facts) { f.IdentityWarning = "PUID=7 has no effect" }, []string{"gateway_uid: PUID=7 has no effect | "}},
	}
}

const all = "docker run … --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add KILL --cap-add SETGID --cap-add SETUID, or --user 10000:10000 on a home of that uid"

func limitRows() []row {
	return []row{
		{"no limits at all", func(f *condition.Facts) { f.Limits = condition.Limits{} }, nil},
		{"too few pids for hermes", func(f *condition.Facts) { f.Limits.PIDs = 57 }, []string{
			"pids_limit_too_small: the pids limit is 57 and hermes alone needs 58 processes and threads | docker run … --pids-limit 128",
		}},
		{"enough for hermes, not for the fleet", func(f *condition.Facts) { f.Limits.PIDs = 68 }, []string{
			"pids_limit_small: the pids limit is 68 and the 3 gateways that are wanted running need at least 69 processes and threads, with hermes's own: " +
				"starts and `docker exec` will fail with \"resource temporarily unavailable\" | docker run … --pids-limit 128",
		}},
		{"just enough", func(f *condition.Facts) { f.Limits.PIDs = 69 }, nil},
		{"few processes for a uid", func(f *condition.Facts) { f.UID, f.Limits.Processes = 10000, 60 }, []string{
			"processes_limit_small: uid 10000 may have 60 processes and threads and the 3 gateways that are wanted running need at least 69, with hermes's own | " +
				"docker run … --ulimit nproc=128, or ulimit -u 128",
		}},
		{"few processes, but root has none of them", func(f *condition.Facts) { f.Limits.Processes = 10 }, nil},
		{"few descriptors", func(f *condition.Facts) { f.Limits.OpenFiles, f.Fleet = 69, condition.Fleet{Gateways: 1} }, []string{
			"open_files_small: a process may have 69 files open and the gateway that is wanted running needs 70 | docker run … --ulimit nofile=128, or ulimit -n 128",
		}},
		{"little memory", func(f *condition.Facts) { f.Limits.Memory = 47 << 20 }, []string{
			"memory_limit_small: the memory limit is 47 MB and the 3 gateways that are wanted running need about 48 MB, with hermes's own | docker run … --memory 128m",
		}},
	}
}

func homeRows() []row {
	elsewhere := []condition.Refused{{Dir: "/run/hermes", Reason: "read-only file system"}}
	return []row{
		{"what the store found", func(f *condition.Facts) {
			f.Home.Trouble = &condition.Trouble{Message: "cannot write to /opt/data: it is a file", Hint: "name a directory"}
		}, []string{"home_unusable: cannot write to /opt/data: it is a file | name a directory"}},
		{"a socket elsewhere", func(f *condition.Facts) {
			f.Runtime = condition.Runtime{Dir: "/dev/shm/hermes-0/b7", Refused: elsewhere}
		}, []string{
			"runtime_elsewhere: the control socket is in /dev/shm/hermes-0/b7 (/run/hermes: read-only file system) | ",
		}},
		{"a socket nowhere", func(f *condition.Facts) { f.Runtime = condition.Runtime{Refused: elsewhere} }, []string{
			"runtime_unusable: there is no directory for the control socket: /run/hermes: read-only file system | " +
				"set HERMES_RUNTIME_DIR to a directory this user can write, on a local file system",
		}},
		{"a full disk", func(f *condition.Facts) { f.Home.Free = 12 << 10 }, []string{
			"home_full: 12 kB are free in /opt/data: intents cannot be written, and log lines will be lost | free some space: df -h /opt/data",
		}},
		{"a network file system", func(f *condition.Facts) { f.Home.Remote = true }, []string{
			"home_remote: /opt/data is on a network file system: a heartbeat takes the place of its lock, so after a crash another machine waits 3 min; " +
				"profiles made there by other machines are noticed within 30 s | ",
		}},
		{"files of others", func(f *condition.Facts) { f.Home.Misowned = []string{"a", "b", "c", "d", "e"} }, []string{
			"files_of_others: gateways run as 10000:10000 and a, b, c and 2 more belong to somebody else | as root: hermes doctor --fix",
		}},
		{"open secrets", func(f *condition.Facts) { f.Home.Exposed = []string{"/opt/data/.env"} }, []string{
			"secrets_readable: every user may read /opt/data/.env | hermes doctor --fix",
		}},
		{"scripts of another init", func(f *condition.Facts) { f.ForeignInit = []string{"10-x", "20-y"} }, []string{
			"foreign_init: scripts of another init in /etc/cont-init.d are not run: 10-x, 20-y | run them from the container's command, or in an init container",
		}},
		{"no inotify", func(f *condition.Facts) { f.NoInotify = "too many open files" }, []string{
			"no_inotify: there is no inotify (too many open files): a profile made by hand is noticed within 30 s, and at each command | ",
		}},
	}
}

func TestCheck(t *testing.T) {
	held := map[string]bool{}
	for _, tt := range rows() {
		t.Run(tt.name, func(t *testing.T) {
			f := fine()
			tt.with(&f)
			var got []string
			for _, c := range condition.Check(f) {
				got = append(got, c.Code+": "+c.Message+" | "+c.Hint)
				held[c.Code] = true
				if c.Level != condition.Note && c.Hint == "" && c.Code != "gateway_uid" {
					t.Errorf("%s needs attention and does not say what to do", c.Code)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, r := range condition.Rules() {
		if !held[r.Code] {
			t.Errorf("no row of this test has %s", r.Code)
		}
	}
}

// What is recommended suffices.
func TestNeeds(t *testing.T) {
	for gateways := range 300 {
		f := fine()
		f.Fleet = condition.Fleet{Gateways: gateways, BuiltIn: gateways / 2}
		f.Limits = condition.Limits{PIDs: f.Fleet.PIDs(), OpenFiles: f.Fleet.Files(), Memory: f.Fleet.Memory()}
		if got := condition.Check(f); len(got) > 0 || !f.Limits.Suffice(f.Fleet) {
			t.Errorf("%d gateways: %v", gateways, got)
		}
		for _, less := range []*uint64{&f.Limits.PIDs, &f.Limits.OpenFiles, &f.Limits.Memory} {
			*less--
			if f.Limits.Suffice(f.Fleet) {
				t.Errorf("%d gateways: %+v is enough", gateways, f.Limits)
			}
			*less++
		}
		f.Limits.PIDs = f.Fleet.PIDs() - 1
		var limit uint64
		for _, c := range condition.Check(f) {
			if _, err := fmt.Sscanf(c.Hint, "docker run … --pids-limit %d", &limit); err != nil {
				t.Error(err)
			}
		}
		if limit < f.Fleet.PIDs()+16 {
			t.Errorf("%d gateways: %d is recommended, %d are needed", gateways, limit, f.Fleet.PIDs())
		}
	}
}

// TestReferenceIsFresh: docs/reference/conditions.md is what the rules say.
func TestReferenceIsFresh(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Conditions\n\nGenerated from the rules by `make generate`.\n\n" +
		"What a machine, a container's settings or a home make impossible is told by name: once at boot, on stderr, and by `hermes doctor`.\n\n" +
		"* `fatal`: nothing can be supervised like this; `up` and `init` end with exit code 1 and these words\n" +
		"* `warning`: needs attention, `hermes doctor` exits 1\n" +
		"* `note`: done in another way, nothing is needed\n\n" +
		"`--fix` marks what `hermes doctor --fix` puts right. Beside these, doctor tells what the supervisor knows: its notices, and each gateway that is\n" +
		"meant to run and is not ready.\n\n" +
		"| code | level | when | what it costs |\n| --- | --- | --- | --- |\n")
	var codes []string
	for _, r := range condition.Rules() {
		fix := ""
		if r.Fixable {
			fix = ", `--fix`"
		}
		fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s |\n", r.Code, r.Level, fix, r.When, r.Lost)
		codes = append(codes, r.Code)
	}
	slices.Sort(codes)
	if unique := slices.Compact(slices.Clone(codes)); len(unique) != len(codes) {
		t.Errorf("a code has two rules: %v", codes)
	}
	page := filepath.Join("..", "..", "docs", "reference", "conditions.md")
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/reference/conditions.md is stale, run make generate:\n%s", diff)
	}
}
