package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// refusal is a setting under which nothing is tried.
type refusal struct {
	name    string
	owner   int // of the home, which nobody else may enter
	options string
	want    string // what the container says
}

const (
	addAll = "docker run … --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add KILL --cap-add SETGID --cap-add SETUID, " +
		"or --user 10000:10000 on a home of that uid"
	noSetUID = "✗ root without CAP_SETGID and CAP_SETUID cannot run gateways as 10000:10000\n"
	noChown  = "root without CAP_CHOWN cannot give what it makes in the home to 10000:10000\n"
)

func refusals() []refusal {
	return []refusal{
		{
			"root without capabilities, a home of 10000", 10000, "--cap-drop ALL",
			noSetUID + "  " + noChown +
				"  root without CAP_DAC_OVERRIDE cannot use /opt/data, which belongs to uid 10000\nhint: " + addAll,
		},
		{
			"root without capabilities, a home of root", 0, "--cap-drop ALL",
			noSetUID + "  " + noChown + "hint: " + addAll,
		},
		{
			"root without CAP_CHOWN", 10000, "--cap-drop CHOWN",
			"✗ " + noChown +
				"hint: docker run … --cap-add CHOWN, or --user 10000:10000 on a home of that uid",
		},
		{
			"root without CAP_DAC_OVERRIDE", 1026, "--cap-drop DAC_OVERRIDE",
			"✗ root without CAP_DAC_OVERRIDE cannot use /opt/data, which belongs to uid 1026\n" +
				"hint: docker run … --cap-add DAC_OVERRIDE, or --user 1026:1026 on a home of that uid",
		},
		{
			"root without CAP_SETUID", 10000, "--cap-drop SETUID",
			"✗ root without CAP_SETUID cannot run gateways as 10000:10000\n" +
				"hint: docker run … --cap-add SETUID, or --user 10000:10000 on a home of that uid",
		},
		{
			"another user's home", 1026, "--user 1234:1234",
			"✗ cannot open /opt/data: permission denied (/opt/data belongs to 1026:1026, mode 0700, this is uid 1234)\n" +
				"hint: as root: chown 1234:1234 /opt/data",
		},
		{
			"--pids-limit 20", 0, "--pids-limit 20",
			"✗ the pids limit is 20 and hermes alone needs 58 processes and threads\nhint: docker run … --pids-limit 128",
		},
		{
			"nowhere for a socket", 0, "--read-only --ipc none",
			"✗ cannot supervise /opt/data: cannot find a directory for the control socket: /run/hermes: mkdir /run/hermes: read-only file system",
		},
	}
}

// TestRefusedSettings: what cannot work is not tried. The container ends at
// once, and what it says is what to change.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range refusals() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDocker(t)
			d.owner = tt.owner
			d.profile("anna")
			d.give(d.home)
			if err := os.Chmod(d.home, 0o700); err != nil {
				t.Fatal(err)
			}
			d.run(strings.Fields(tt.options))
			if code := d.exitCode(); code != "1" {
				t.Errorf("exit code %s", code)
			}
			logs := d.logs()
			if !strings.HasPrefix(logs, tt.want) || strings.Count(logs, "✗") != 1 {
				t.Errorf("it says\n%s\nwant\n%s", logs, tt.want)
			}
			tt.preflight(t, d)
		})
	}
}

// preflight: doctor says the same without booting anything.
func (r refusal) preflight(t *testing.T, d *docker) {
	args := append([]string{"run", "--rm", "--volume", d.home + ":/opt/data"}, strings.Fields(r.options)...)
	out, err := exec.Command("docker", append(args, d.image, "doctor")...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("doctor: %v", err)
	}
	lines := strings.Split(strings.TrimPrefix(r.want, "✗ "), "\n")
	if strings.HasPrefix(lines[0], "cannot supervise") {
		lines[0] = "there is no directory for the control socket: /run/hermes: read-only file system"
	}
	for _, line := range lines {
		if !strings.Contains(string(out), strings.TrimSpace(line)) {
			t.Errorf("doctor does not say %q:\n%s", line, out)
		}
	}
}

// TestReadOnlyVolume is a refusal, too.
func TestReadOnlyVolume(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	out, err := exec.Command("docker", "run", "--rm", "--volume", d.home+":/opt/data:ro", d.image).CombinedOutput()
	if want := "✗ cannot write to /opt/data: read-only file system\nhint: mount the volume of /opt/data writable\n"; err == nil || string(out) != want {
		t.Errorf("%v, it says %q", err, out)
	}
}

// wanted makes a profile whose gateway boot starts.
func (h *homeDir) wanted(name string) {
	h.write(name, "gateway_intent.json", `{"version":1,"intent":"running","generation":1,"changed_at":"2026-01-02T03:04:05Z","changed_by":"test"}`)
}

// TestPidsLimitIsReported: by name and with the number that would do, at boot
// and by doctor. What does start, works.
func TestPidsLimitIsReported(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	for _, name := range []string{"anna", "beth"} {
		d.profile(name)
		d.write(name, "config.yaml", "model: {provider: echo}\n")
		d.wanted(name)
	}
	d.run([]string{"--pids-limit", "75"})
	const report = "the pids limit is 75 and the 2 gateways that are wanted running need at least 76 processes and threads, with hermes's own: " +
		"starts and `docker exec` will fail with \"resource temporarily unavailable\" (pids_limit_small)\n"
	const hint = "hint: docker run … --pids-limit 128\n"
	d.eventually("both run", d.expect("anna running", "beth running"))
	if logs := d.logs(); strings.Count(logs, "warning: "+report+hint) != 1 {
		t.Errorf("boot does not say %q:\n%s", report+hint, logs)
	}
	stdout, stderr, code := d.hermes("doctor")
	if code != 1 || stdout != "! "+report+hint {
		t.Errorf("doctor: exit %d\n%s%s", code, stdout, stderr)
	}
	if out := d.docker("update", "--pids-limit", "128", d.name); out == "" {
		t.Error("nothing was updated")
	}
	if stdout, _, code := d.hermes("doctor"); code != 0 || stdout != "✓ nothing needs attention in /opt/data\n" {
		t.Errorf("doctor, with more: exit %d\n%s", code, stdout)
	}
}

// TestForkBomb: a gateway that takes every process there is to have costs the
// container nothing for good. PID 1 lives and other gateways do not notice. An
// engine that ends meanwhile comes back as soon as there is room, and then the
// bomb can be stopped.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	g := newStage(t, setting{name: "bomb", options: []string{"--pids-limit", "92"}, frugal: true})
	g.configure("carl", "-bomb")
	g.eventually("the supervisor answers", g.expect("anna stopped", "beth stopped", "carl stopped"))
	g.must("gateway", "start", "anna")
	_, _, _ = g.hermes("gateway", "start", "--no-wait", "carl")
	g.noted("spent")
	anna := g.gateway("anna")
	g.eventually("an engine cannot be started", func() error {
		if pid := g.engine(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one may be faster than the bomb
		}
		if logs := g.logs(); !strings.Contains(logs, "resource temporarily unavailable") {
			return errors.New("the keeper says nothing of it")
		}
		return nil
	})
	g.write("carl", "defused", "")
	g.noted("over")
	g.docker.docker("update", "--pids-limit", "152", g.name)
	g.eventually("the engine is back", g.expect("anna running", "beth stopped", "carl running"))
	if now := g.gateway("anna"); now != anna {
		t.Errorf("anna was process %d and is %d", anna, now)
	}
	g.must("gateway", "stop", "carl")
	g.eventually("all of the bomb is gone", func() error {
		if n := len(g.inside()); n > 5 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	g.noDoubles(map[string]int{"anna": 1, "carl": 1})
	g.end()
}

// noted waits for a note of carl's.
func (g *stage) noted(file string) {
	g.eventually("carl's note "+file, func() error {
		if len(g.lines("carl", file)) == 0 {
			return errors.New("it is not there")
		}
		return nil
	})
}

// TestFewThreads: a command gets through where a pids limit leaves room for a
// handful, and an engine needs no more on a machine with many processors.
func TestFewThreads(t *testing.T) {
	t.Parallel()
	g := newStage(t, setting{name: "threads", options: []string{"--env", "GOMAXPROCS=64", "--pids-limit", "200"}})
	g.eventually("the supervisor answers", g.expect("anna stopped", "beth stopped", "carl stopped"))
	g.must("gateway", "start", "anna")
	g.hermes("status")
	if got := g.threads(g.engine()); got > 14 {
		t.Errorf("the engine has %d threads; conditions count with 9", got)
	}
	_, _, _ = g.exec("--detach", g.name, "hermes", "gateway", "logs", "--follow", "anna")
	var pid int
	g.eventually("a command follows the log", func() error {
		if pid = g.find("cmdline", "--follow"); pid == 0 {
			return errors.New("it does not run")
		}
		return nil
	})
	g.must("gateway", "restart", "anna")
	if got := g.threads(pid); got > 5 {
		t.Errorf("the command has %d threads; conditions count with 8 for it and what starts it", got)
	}
}

// threads is how many a process has.
func (g *stage) threads(pid int) int {
	g.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		g.t.Fatal(err)
	}
	return len(all)
}

// TestDoctorRepairs: files that somebody made as root in a running container
// are given back, and secrets are hidden; as somebody who may not, it says so.
func TestDoctorRepairs(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	d.probe("anna")
	d.run(nil)
	d.eventually("the supervisor answers", d.expect("anna stopped"))
	if err := os.Remove(d.dir("anna") + "/.env"); err != nil {
		t.Fatal(err)
	}
	d.write("anna", ".env", "KEY=x\n") // anew, as root, readable by everybody
	if stdout, stderr, code := d.exec(d.name, "hermes", "doctor"); code != 1 || !strings.Contains(stdout, "/opt/data/profiles/anna/.env belongs to somebody else (files_of_others)") ||
		!strings.Contains(stdout, "every user may read /opt/data/profiles/anna/.env (secrets_readable)") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if _, _, code := d.exec("--user", "10000", d.name, "hermes", "doctor", "--fix"); code != 1 {
		t.Errorf("the files of root's were repaired as 10000: exit %d", code)
	}
	stdout, stderr, code := d.hermes("doctor", "--fix")
	if code != 0 || strings.Count(stdout, "✓ fixed: ") != 2 {
		t.Errorf("--fix: exit %d\n%s%s", code, stdout, stderr)
	}
	info, err := os.Stat(d.dir("anna") + "/.env")
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 10000 || info.Mode().Perm() != 0o640 {
		t.Errorf("it belongs to %d, mode %v", st.Uid, info.Mode())
	}
	if stdout, _, code := d.hermes("doctor"); code != 0 {
		t.Errorf("and then: exit %d\n%s", code, stdout)
	}
}
