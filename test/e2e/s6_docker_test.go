package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
)

const slots = "/run/service/gateway-"

// tool runs one of Debian's s6 tools in the container.
func (d *docker) tool(args ...string) (stdout string, code int) {
	d.t.Helper()
	stdout, stderr, code := d.exec(append([]string{"--user", "hermes", d.name}, args...)...)
	if stderr != "" {
		d.t.Logf("%v: %s", args, stderr)
	}
	return strings.TrimSpace(stdout), code
}

// gateway is one row of the fleet.
func (d *docker) gateway(name string) (api.Gateway, error) {
	f, err := d.fleet()
	for _, g := range f.Gateways {
		if g.Profile == name {
			return g, nil
		}
	}
	return api.Gateway{}, errors.Join(err, fmt.Errorf("no gateway %s", name))
}

// TestToolsOfS6Agree: Debian's s6-svstat, s6-svc and s6-svwait, used by hand and
// without privilege, and `hermes gateway status` see and do the same.
func TestToolsOfS6Agree(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.probe("anna")
	d.probe("bert", "-exit", "78")
	d.run(nil)
	d.eventually("the supervisor answers", d.expect("anna stopped", "bert stopped"))
	d.agree("anna", "stopped", 3)
	d.must("gateway", "start", "anna")
	d.agree("anna", "running", 0)
	if _, code := d.tool("s6-svwait", "-u", "-t", "5000", slots+"anna"); code != 0 {
		t.Errorf("s6-svwait -u: exit %d", code)
	}
	if _, code := d.tool("s6-svwait", "-U", "-t", "5000", slots+"anna"); code != 0 {
		t.Errorf("s6-svwait -U: exit %d", code)
	}
	if _, code := d.tool("/command/s6-svc", "-wD", "-T", "5000", "-d", slots+"anna"); code != 0 {
		t.Errorf("s6-svc -d: exit %d", code)
	}
	d.agree("anna", "stopped", 3)
	if g, err := d.gateway("anna"); err != nil || g.Intent != "running" {
		t.Errorf("s6-svc -d is no wish of an operator's, the intent is %s, %v", g.Intent, err)
	}
	if _, code := d.tool("s6-svc", "-wU", "-T", "5000", "-u", slots+"anna"); code != 0 {
		t.Errorf("s6-svc -u: exit %d", code)
	}
	d.agree("anna", "running", 0)
	d.must("gateway", "stop", "anna")
	if _, code := d.tool("s6-svwait", "-D", "-t", "5000", slots+"anna"); code != 0 {
		t.Errorf("s6-svwait -D: exit %d", code)
	}
	d.agree("anna", "stopped", 3)
	d.hermes("gateway", "start", "bert")
	d.agree("bert", "parked", 3)
	if out, _ := d.tool("s6-svstat", "-o", "wantedup", slots+"bert"); out != "false" {
		t.Errorf("s6 wants the parked one up: %s", out)
	}
	if _, code := d.tool("s6-svok", slots+"nobody"); code == 0 {
		t.Error("s6-svok finds a slot that is none")
	}
}

// agree waits until `gateway status`, with that exit code, and s6-svstat say
// that a gateway is in the state.
func (d *docker) agree(name, state string, code int) {
	d.t.Helper()
	d.eventually("both say that "+name+" is "+state, func() error {
		stdout, stderr, rc := d.hermes("-p", name, "gateway", "status", "--json")
		out, svstat := d.tool("s6-svstat", "-o", "up,pid", slots+name)
		up, pid, _ := strings.Cut(out, " ")
		g, err := d.gateway(name)
		running := state == "running"
		if err != nil || g.State != state || rc != code || svstat != 0 || up != strconv.FormatBool(running) || running && strconv.Itoa(g.PID) != pid {
			err = errors.Join(err, fmt.Errorf("exit %d, %s%s s6-svstat: exit %d, up %s, pid %s", rc, stdout, stderr, svstat, up, pid))
		}
		return err
	})
}

// TestSuperviseKilled: s6 starts a second copy of a gateway whose s6-supervise
// was killed. The status says so, with the command that ends the first, and
// that command does.
func TestSuperviseKilled(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.probe("anna")
	d.run(nil)
	d.eventually("the supervisor answers", d.expect("anna stopped"))
	d.must("gateway", "start", "anna")
	before, err := d.gateway("anna")
	if err != nil {
		t.Fatal(err)
	}
	d.superviseOf("anna", func(pid string) { d.inside("kill", "-9", pid) })
	var end []string
	d.eventually("the stray is named with what ends it", func() error {
		stdout, stderr, _ := d.hermes("status")
		m := regexp.MustCompile("kill -- -([0-9]+)").FindStringSubmatch(stdout + stderr)
		if m == nil || m[1] != strconv.Itoa(before.PID) {
			return fmt.Errorf("%s%s", stdout, stderr)
		}
		end = strings.Fields(m[0])
		return nil
	})
	d.inside(end...)
	d.eventually("one copy runs", func() error {
		g, err := d.gateway("anna")
		if err == nil && (g.State != "running" || g.PID == before.PID || strings.Contains(g.Reason, "kill")) {
			err = fmt.Errorf("%+v", g)
		}
		return err
	})
	if n := matching(d.processes(), "^/bin/probe"); n != 1 {
		t.Errorf("%d copies in %q", n, d.processes())
	}
}

// superviseOf finds the s6-supervise of a slot.
func (d *docker) superviseOf(name string, found func(pid string)) {
	d.t.Helper()
	out, _, _ := d.exec(d.name, "sh", "-c", `for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' < $p/cmdline)" = "s6-supervise gateway-`+name+` " ] && echo "${p#/proc/}"; done`)
	pid := strings.TrimSpace(out)
	if pid == "" {
		d.t.Fatalf("no s6-supervise of %s in %q", name, d.processes())
	}
	found(pid)
}

// inside is a command in the container that has to succeed.
func (d *docker) inside(args ...string) {
	d.t.Helper()
	if stdout, stderr, code := d.exec(append([]string{d.name, "busybox"}, args...)...); code != 0 {
		d.t.Fatalf("%q: exit %d\n%s%s", args, code, stdout, stderr)
	}
}

// TestNobodyIsRootUnderS6: who may add a slot decides what is executed, so no
// process below s6-svscan has more than a gateway has.
func TestNobodyIsRootUnderS6(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.probe("anna")
	d.run(nil, "sleep", "infinity")
	d.eventually("the supervisor answers", d.expect("anna stopped"))
	d.must("gateway", "start", "anna")
	top := strings.Split(d.docker("top", d.name, "-eo", "pid,uid,args"), "\n")[1:]
	for _, line := range top {
		if strings.Fields(line)[1] != "10000" {
			t.Errorf("not the gateways': %s", line)
		}
	}
	if len(top) < 7 {
		t.Errorf("only %q", top)
	}
}

// TestStopUnderS6IsBounded: neither a deaf gateway nor what it left behind with
// the end of its log in its hands holds `docker stop` up.
func TestStopUnderS6IsBounded(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.profile("anna")
	d.write("anna", "config.yaml", `gateway: {command: [sh, -c, "trap '' TERM; setsid sleep 1000 & echo $$ > starts; while :; do sleep 1; done"]}`)
	d.run([]string{"--env", "HERMES_STOP_TIMEOUT=1"}, "gateway", "run")
	d.eventually("the supervisor answers", func() error { _, err := d.gateway("anna"); return err })
	d.must("gateway", "start", "anna")
	d.started("anna", 1)
	began := time.Now()
	d.docker("stop", d.name)
	if took, code := time.Since(began), d.exitCode(); took > 8*time.Second || code != "0" {
		t.Errorf("stopped in %v, exit code %s", took, code)
	}
}

// TestS6Refused: where s6 cannot be, one line says why and what to type.
func TestS6Refused(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	for _, tt := range []struct {
		name    string
		options []string
		code    int
		says    string
		hint    string
	}{
		{"not process 1", []string{"--init"}, 2, "s6-svscan has to be process 1", "hint: leave out --init"},
		{"no s6", []string{"--env", "PATH=/usr/local/bin", "--mount", "type=tmpfs,destination=/command", "--mount", "type=tmpfs,destination=/usr/bin"}, 2, "there is no s6-svscan", "apt-get install s6"},
		{"a /run that cannot be written", []string{"--read-only"}, 1, "cannot make the directories of s6", "--tmpfs /run"},
	} {
		args := append([]string{"run", "--rm", "--volume", d.home + ":/opt/data"}, tt.options...)
		out, err := exec.Command("docker", append(args, d.image)...).CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != tt.code || !strings.Contains(string(out), tt.says) || !strings.Contains(string(out), tt.hint) {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
	}
}

// TestReadOnlyUnderS6: links work where scripts do not, on a /run without exec.
func TestReadOnlyUnderS6(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.probe("anna")
	d.run([]string{"--read-only", "--tmpfs", "/run"})
	d.eventually("the supervisor answers", d.expect("anna stopped"))
	d.must("gateway", "start", "anna")
	d.started("anna", 1)
}

// TestMainProgramHasItsOwnStreams: s6-log makes its output non-blocking; what
// the main program reads from and writes to stays as it was.
func TestMainProgramHasItsOwnStreams(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	const flags = `until [ -e /opt/data/logs/gateways/default/current ]; do sleep 0.05; done
for n in 1 2 3 4 5; do sleep 0.1; for fd in 0 1 2; do sed -n 's/^flags:/flags/p' /proc/$$/fdinfo/$fd; done; done`
	for _, options := range [][]string{nil, {"--tty"}, {"--interactive"}} {
		args := append([]string{"run", "--rm", "--volume", d.home + ":/opt/data"}, options...)
		out, err := exec.Command("docker", append(args, d.image, "bash", "-c", flags)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		looks := regexp.MustCompile(`flags\s+(0\d+)`).FindAllStringSubmatch(string(out), -1)
		for _, l := range looks {
			if n, err := strconv.ParseUint(l[1], 8, 32); err != nil || n&unix.O_NONBLOCK != 0 {
				t.Errorf("with %q: O_NONBLOCK is set: %q, %v", options, l[0], err)
			}
		}
		if len(looks) != 15 {
			t.Errorf("with %q: looked %d times:\n%s", options, len(looks), out)
		}
	}
}

// TestLogsUnderS6: a gateway's lines are in its log and, with its name in front,
// in the container's.
func TestLogsUnderS6(t *testing.T) {
	t.Parallel()
	d := newDockerS6(t)
	d.probe("anna")
	d.run(nil)
	d.eventually("the supervisor answers", d.expect("anna stopped"))
	d.must("gateway", "start", "anna")
	d.eventually("the line is in the container's log", func() error {
		if logs := d.logs(); !strings.Contains(logs, "\n[anna] probe up, pid ") {
			return errors.New(logs)
		}
		return nil
	})
	if out := d.must("gateway", "logs", "anna"); !regexp.MustCompile(`(?m)^2\d{3}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+Z? +probe up, pid \d+$`).MatchString(out) {
		t.Errorf("hermes gateway logs: %q", out)
	}
}
