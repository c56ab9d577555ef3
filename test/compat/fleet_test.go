package compat

import (
	"bytes"
	"context"
	"fmt"
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

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// patience bounds every wait for another process.
const patience = 30 * time.Second

// binary is the hermes under test: $HERMES_BIN, else one built from the
// sources beside this module.
var binary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("HERMES_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	dir, err := os.MkdirTemp("", "hermes-compat-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "hermes")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/hermes")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build hermes: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("HERMES_BIN") == "" {
		if bin, err := binary(); err == nil {
			_ = os.RemoveAll(filepath.Dir(bin))
		}
	}
	os.Exit(code)
}

// fleet is a home and the `hermes up` that runs it.
type fleet struct {
	t     *testing.T
	bin   string
	home  string
	env   []string
	ports map[string]int
	out   output
}

// output collects what a process says while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.MkdirTemp("", "hc") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	f := &fleet{t: t, bin: bin, home: filepath.Join(base, "home"), ports: map[string]int{}}
	f.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "HERMES_HOME=" + f.home, "HERMES_RUNTIME_DIR=" + filepath.Join(base, "run"),
	}
	for _, dir := range []string{f.home, filepath.Join(base, "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fleet) dir(profile string) string {
	if profile == "default" {
		return f.home
	}
	return filepath.Join(f.home, "profiles", profile)
}

// profile makes a profile on a free port.
func (f *fleet) profile(name, model, dotenv, soul string) {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	defer ln.Close()
	f.ports[name] = ln.Addr().(*net.TCPAddr).Port
	if err := os.MkdirAll(f.dir(name), 0o700); err != nil {
		f.t.Fatal(err)
	}
	for file, content := range map[string]string{
		"SOUL.md":     soul,
		"config.yaml": model + "\ngateway:\n  port: " + strconv.Itoa(f.ports[name]) + "\n",
		".env":        dotenv,
	} {
		if err := os.WriteFile(filepath.Join(f.dir(name), file), []byte(content), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

// up runs the fleet until the test ends; it returns once all gateways answer.
func (f *fleet) up() {
	f.t.Helper()
	args := []string{"up"}
	for name := range f.ports {
		args = append(args, name)
	}
	cmd := exec.Command(f.bin, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, &f.out, &f.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	f.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				f.t.Errorf("hermes up ended with %v", err)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			f.t.Error("hermes up did not end")
		}
		if f.t.Failed() {
			f.t.Logf("hermes up said:\n%s", f.out.String())
		}
	})
	for name := range f.ports {
		until(f.t, name+" answers", func() bool {
			resp, err := http.Get(f.url(name) + "/health")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
}

func (f *fleet) url(profile string) string {
	return "http://127.0.0.1:" + strconv.Itoa(f.ports[profile])
}

// client is OpenAI's own, for a profile.
func (f *fleet) client(profile, key string) openai.Client {
	return openai.NewClient(option.WithBaseURL(f.url(profile)+"/v1/"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

// hermes runs a command and returns what it says.
func (f *fleet) hermes(args ...string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.bin, args...)
	cmd.Env = f.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("hermes %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until polls cond.
func until(t *testing.T, what string, cond func() bool) {
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

// wait waits for a channel.
func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: not within %s", what, patience)
		panic("not reached")
	}
}
