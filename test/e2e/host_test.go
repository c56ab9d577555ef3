package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hermes/api"
)

// unprivileged is who the fleet runs as where the test is root.
const unprivileged = 12345

// host is a home on this machine and the supervisor that runs it.
type host struct {
	homeDir
	runtime string
	up      *exec.Cmd
	binary  string
	output  record
	out     *os.File // stdout and stderr instead of output, unless nil
	ended   chan error
	env     []string
	wrap    []string // a command that execs hermes up, with what follows as its arguments
}

// record is a file that collects output while it is being written, by whoever
// takes the place of who began.
type record struct{ *os.File }

func (r record) String() string {
	b, err := os.ReadFile(r.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func newHost(t *testing.T, env ...string) *host {
	t.Helper()
	base, err := os.MkdirTemp("", "hermes-host-")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{homeDir: homeDir{t, filepath.Join(base, "home"), unprivileged}, runtime: filepath.Join(base, "run"), binary: binaries().hermes}
	h.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "HERMES_HOME=" + h.home, "HERMES_RUNTIME_DIR=" + h.runtime,
	}, env...)
	for _, dir := range []string{base, h.home, h.runtime, filepath.Join(h.home, "profiles")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		h.give(dir)
	}
	t.Cleanup(func() {
		h.endAll()
		if t.Failed() && h.output.File != nil {
			t.Logf("supervisor's output:\n%s", h.output)
		}
		os.RemoveAll(base)
	})
	return h
}

func (h *host) attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		a.Credential = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	}
	return a
}

// probe makes a profile whose gateway is the probe with these flags.
func (h *host) probe(name string, flags ...string) {
	h.t.Helper()
	h.profile(name)
	h.configure(name, flags...)
}

// configure sets the probe's flags.
func (h *host) configure(name string, flags ...string) {
	h.t.Helper()
	ready := "exec"
	if slices.Contains(flags, "-notify") {
		ready = "notify"
	}
	h.write(name, "config.yaml", probeConfig(h.t, binaries().probe, flags)+"  ready: "+ready+"\n")
}

// start runs `hermes up` and waits until it answers.
func (h *host) start(args ...string) {
	h.t.Helper()
	h.spawn(args...)
	h.eventually("the supervisor answers", func() error {
		if _, stderr, code := h.run("health", "--live"); code != 0 {
			return errors.New(stderr)
		}
		return nil
	})
}

func (h *host) spawn(args ...string) {
	h.t.Helper()
	argv := append(slices.Clone(h.wrap), h.binary, "up")
	h.spawnProgram(argv[0], append(argv[1:], args...)...)
}

// spawnProgram runs a program as this host's supervisor.
func (h *host) spawnProgram(name string, args ...string) {
	h.t.Helper()
	h.up = exec.Command(name, args...)
	out, err := os.CreateTemp(filepath.Dir(h.runtime), "output")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = out.Close() })
	h.output = record{out}
	h.up.Env, h.up.Dir, h.up.SysProcAttr = h.env, h.home, h.attr()
	h.up.Stdout, h.up.Stderr = out, out
	if h.out != nil {
		h.up.Stdout, h.up.Stderr = h.out, h.out
	}
	h.up.WaitDelay = time.Second
	if err := h.up.Start(); err != nil {
		h.up = nil
		h.t.Fatal(err)
	}
	h.ended = make(chan error, 1)
	go func(up *exec.Cmd, ended chan error) { ended <- up.Wait() }(h.up, h.ended)
}

// stop ends the supervisor as Ctrl-C or a service manager would.
func (h *host) stop() {
	h.t.Helper()
	if err := h.up.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	select {
	case err := <-h.ended:
		if err != nil {
			h.t.Errorf("hermes up ended with %v\n%s", err, h.output)
		}
		h.up = nil
	case <-time.After(patience):
		h.t.Fatalf("hermes up did not end in %v\n%s", patience, h.output)
	}
}

// powerCut kills the keeper and the engine at once; gateways stay behind.
func (h *host) powerCut() {
	h.t.Helper()
	f := h.fleet()
	_ = syscall.Kill(f.KeeperPID, syscall.SIGSTOP) // neither sees the other die
	_ = syscall.Kill(f.EnginePID, syscall.SIGKILL)
	_ = syscall.Kill(f.KeeperPID, syscall.SIGKILL)
	<-h.ended
	h.up = nil
}

// endAll leaves nothing of this host running, by the marks of its processes.
func (h *host) endAll() {
	if h.up != nil {
		_ = h.up.Process.Signal(syscall.SIGTERM)
		select {
		case <-h.ended:
		case <-time.After(15 * time.Second):
			_ = h.up.Process.Kill()
			<-h.ended
		}
		h.up = nil
	}
	for _, pid := range h.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// processes are the living ones with this home in their environment.
func (h *host) processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(env, []byte(h.home)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// run is one hermes command.
func (h *host) run(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	var out, errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.SysProcAttr = h.env, h.home, h.attr()
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		h.t.Fatalf("hermes %v: %v", args, err)
	} else if ok {
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// must is a command that has to succeed.
func (h *host) must(args ...string) string {
	h.t.Helper()
	stdout, stderr, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("hermes %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func (h *host) fleet() api.Fleet {
	h.t.Helper()
	var f api.Fleet
	if err := json.Unmarshal([]byte(h.must("status", "--json")), &f); err != nil {
		h.t.Fatal(err)
	}
	return f
}

func (h *host) gateway(name string) api.Gateway {
	h.t.Helper()
	for _, g := range h.fleet().Gateways {
		if g.Profile == name {
			return g
		}
	}
	h.t.Fatalf("no gateway %s", name)
	return api.Gateway{}
}

// zombies are the defunct children of a process.
func zombies(parent int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, ok := bytes.Cut(stat, []byte(") "))
		fields := bytes.Fields(rest)
		if ok && len(fields) > 1 && string(fields[0]) == "Z" && string(fields[1]) == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(e.Name())
			found = append(found, pid)
		}
	}
	return found
}
