package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fleet is a home, the supervisor that runs it, and its dashboard.
type fleet struct {
	t          testing.TB
	home       string
	env        []string
	supervisor *process
	dashboard  *process
	port       int // of the dashboard
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	base, err := os.MkdirTemp("", "hb") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	f := &fleet{t: t, home: filepath.Join(base, "home"), port: freePort(t)}
	f.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "HERMES_HOME=" + f.home, "HERMES_RUNTIME_DIR=" + filepath.Join(base, "run"),
		"HERMES_DASHBOARD_PORT=" + strconv.Itoa(f.port),
		// Profiles made in the page listen nowhere: other fleets on this machine
		// prefer the same ports.
		"HERMES_GATEWAY_COMMAND=" + shared.probe,
	}
	for _, dir := range []string{f.home, filepath.Join(base, "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// freePort is a port that nobody uses at the moment.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func (f *fleet) dir(profile string) string {
	if profile == "default" {
		return f.home
	}
	return filepath.Join(f.home, "profiles", profile)
}

// profile lays out a profile whose gateway is the command.
func (f *fleet) profile(name string, command ...string) {
	f.t.Helper()
	list, err := json.Marshal(command) // a list of JSON is one of YAML
	if err != nil {
		f.t.Fatal(err)
	}
	f.file(name, "SOUL.md", "You are "+name+".\n")
	f.file(name, "config.yaml", "gateway:\n  command: "+string(list)+"\n")
}

// file writes a file of a profile.
func (f *fleet) file(profile, name, content string) {
	f.t.Helper()
	if err := os.MkdirAll(f.dir(profile), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir(profile), name), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// up starts the supervisor with intent running for the profiles named, and the
// dashboard beside it; it returns once the fleet and the page answer.
func (f *fleet) up(profiles ...string) {
	f.t.Helper()
	f.supervise(profiles...)
	f.dashboard = f.start("dashboard")
	f.answers(f.base() + "/")
}

// base is the dashboard's address, without a path.
func (f *fleet) base() string { return "http://127.0.0.1:" + strconv.Itoa(f.port) }

func (f *fleet) supervise(profiles ...string) {
	f.t.Helper()
	f.supervisor = f.start(append([]string{"up"}, profiles...)...)
	f.until("the engine answers", func() bool {
		s, err := f.tryStatus()
		return err == nil && s.EnginePID > 0
	})
}

func (f *fleet) answers(url string) {
	f.t.Helper()
	client := http.Client{Timeout: time.Second}
	f.until(url+" answers", func() bool {
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// until polls cond, as long as what it waits for can still happen.
func (f *fleet) until(what string, cond func() bool) {
	f.t.Helper()
	for _, p := range []*process{f.supervisor, f.dashboard} {
		if p != nil && p.expected.Err() == nil {
			defer p.alive(f.t)
		}
	}
	until(f.t, what, cond)
}

// until polls cond.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// status is what the tests read of `hermes status --json`.
type status struct {
	EnginePID int `json:"engine_pid"`
	Gateways  []struct {
		Profile, Intent, State, Reason string
		PID, Restarts                  int
	} `json:"gateways"`
}

func (f *fleet) tryStatus() (status, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.hermes, "status", "--json")
	cmd.Env = f.env
	out, err := cmd.Output()
	if err != nil {
		return status{}, err
	}
	var s status
	return s, json.Unmarshal(out, &s)
}

// state is a gateway's state, and its pid.
func (f *fleet) state(profile string) (string, int) {
	f.t.Helper()
	s, err := f.tryStatus()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, g := range s.Gateways {
		if g.Profile == profile {
			return g.State, g.PID
		}
	}
	return "", 0
}

// running waits until the gateway runs and returns its pid.
func (f *fleet) running(profile string) (pid int) {
	f.t.Helper()
	f.until(profile+" runs", func() bool {
		var state string
		state, pid = f.state(profile)
		return state == "running"
	})
	return pid
}

// hermes runs a command, which has to succeed.
func (f *fleet) hermes(args ...string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.hermes, args...)
	cmd.Env = f.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("hermes %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// process is a long-running hermes.
type process struct {
	cmd      *exec.Cmd
	out      output
	ended    chan struct{} // closed after the process ended
	err      error         // of Wait, once ended
	expected context.Context
	expect   context.CancelFunc // the test ends it: no failure
}

// start starts a hermes that is ended with the test, and must not end before.
func (f *fleet) start(args ...string) *process {
	f.t.Helper()
	p := &process{cmd: exec.Command(shared.hermes, args...), ended: make(chan struct{})}
	p.expected, p.expect = context.WithCancel(context.Background())
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = f.env, &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	f.t.Cleanup(func() {
		p.end(f.t)
		if f.t.Failed() {
			f.t.Logf("hermes %s said:\n%s", strings.Join(args, " "), p.out.tail())
		}
	})
	return p
}

// end asks the process to end, and waits until it has.
func (p *process) end(t testing.TB) {
	t.Helper()
	p.alive(t)
	p.expect()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Errorf("%s did not end", p.cmd)
	}
}

// alive fails the test if the process ended and nobody asked it to.
func (p *process) alive(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
		if p.expected.Err() == nil {
			t.Errorf("%s ended: %v\n%s", p.cmd, p.err, p.out.tail())
		}
	default:
	}
}

// output collects what a process says while it runs.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// tail is the end of what was said.
func (o *output) tail() string {
	const most = 8 << 10
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b.Bytes()[max(0, o.b.Len()-most):])
}
