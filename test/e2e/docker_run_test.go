package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// exitCode waits for the container's end.
func (d *docker) exitCode() string {
	d.t.Helper()
	return d.docker("wait", d.name)
}

func (d *docker) logs() string {
	d.t.Helper()
	out, err := exec.Command("docker", "logs", d.name).CombinedOutput()
	if err != nil {
		d.t.Fatal(err)
	}
	return string(out)
}

// processes are the command lines in the container, without the exec that asks.
func (d *docker) processes() []string {
	d.t.Helper()
	var all []string
	for _, line := range strings.Split(d.docker("top", d.name, "-eo", "pid,ppid,args"), "\n")[1:] {
		all = append(all, strings.Join(strings.Fields(line)[2:], " "))
	}
	return all
}

func matching(lines []string, pattern string) (n int) {
	re := regexp.MustCompile(pattern)
	for _, l := range lines {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

// published is the address of the container's port 8642 on this host.
func (d *docker) published() string {
	d.t.Helper()
	return "http://" + strings.Split(d.docker("port", d.name, "8642/tcp"), "\n")[0]
}

// apiKey is what boot wrote into the default profile's .env.
func (d *docker) apiKey() string {
	d.t.Helper()
	env, err := os.ReadFile(filepath.Join(d.home, ".env"))
	if err != nil {
		d.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^API_SERVER_KEY=(\S+)$`).FindStringSubmatch(string(env))
	if m == nil {
		d.t.Fatalf("no API_SERVER_KEY in .env")
	}
	return m[1]
}

func get(url, key string) (int, string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// TestGatewayRunIsRedirected is `docker run IMAGE gateway run`, in the image
// from nothing, where the wait is in-process, and in one that has a sleep.
func TestGatewayRunIsRedirected(t *testing.T) {
	for _, tt := range []struct {
		name      string
		container func(*testing.T) *docker
		heartbeat string
	}{
		{"from nothing", newDockerBare, `^hermes gateway run$`},
		{"with a sleep", newDocker, `^sleep infinity$`},
		{"s6", newDockerS6, `^sleep infinity$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := tt.container(t)
			d.run([]string{"--publish", "127.0.0.1::8642"}, "gateway", "run")
			d.eventually("it answers from outside", func() error {
				code, body, err := get(d.published()+"/health", "")
				if err == nil && code != http.StatusOK {
					err = fmt.Errorf("%d %s", code, body)
				}
				return err
			})
			if code, _, err := get(d.published()+"/v1/models", ""); err != nil || code != http.StatusUnauthorized {
				t.Errorf("without a key: %d, %v", code, err)
			}
			if code, body, err := get(d.published()+"/v1/models", d.apiKey()); err != nil || code != http.StatusOK {
				t.Errorf("with the key boot wrote: %d %s, %v", code, body, err)
			}
			d.breadcrumb() // by then it has wanted what it wants
			f, err := d.fleet()
			if err != nil {
				t.Fatal(err)
			}
			if g := f.Gateways[0]; g.Profile != "default" || g.State != "running" || g.Intent != "running" || g.IntentBy != "container command" {
				t.Errorf("default: %+v", g)
			}
			processes := d.processes()
			if n := matching(processes, `gateway run --replace`); n != 1 {
				t.Errorf("%d supervised gateways in %q", n, processes)
			}
			if n := matching(processes, tt.heartbeat); n != 1 {
				t.Errorf("%d heartbeats in %q", n, processes)
			}
			_, stderr, _ := d.hermes("gateway", "stop")
			if !strings.Contains(stderr, "next boot") {
				t.Errorf("stop does not say that the container's command starts it again: %q", stderr)
			}
			began := time.Now()
			d.docker("stop", d.name)
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("docker stop took %v", took)
			}
			if code := d.exitCode(); code != "0" {
				t.Errorf("exit code %s\n%s", code, d.logs())
			}
		})
	}
}

// TestContainerOutlivesItsGateway: redirected, the command waits for the
// supervisor, not for the gateway: that may crash and be parked, and is mended
// in the container that runs.
func TestContainerOutlivesItsGateway(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.configure("default", "-exit", "1")
		d.run(nil, "gateway", "run")
		is := func(want string) func() error {
			return func() error {
				if up := d.docker("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", d.name); up != "true 0" {
					return fmt.Errorf("the container: running, restarts: %s", up)
				}
				g, err := d.of("default")
				if err == nil && g.State != want {
					err = fmt.Errorf("it is %s", g.State)
				}
				return err
			}
		}
		d.eventually("it has crashed more than once", func() error {
			if n := len(d.lines("default", "starts")); n < 2 {
				return fmt.Errorf("%d starts", n)
			}
			return is("backoff")()
		})
		d.configure("default", "-exit", "78")
		d.hermes("gateway", "restart")
		d.eventually("it is parked", is("parked"))
		d.configure("default")
		d.must("gateway", "start")
		d.eventually("it is mended", is("running"))
		d.docker("stop", d.name)
		if code := d.exitCode(); code != "0" {
			t.Errorf("exit code %s\n%s", code, d.logs())
		}
	})
}

// breadcrumb checks that the command says what it did, and how to opt out.
func (d *docker) breadcrumb() {
	d.t.Helper()
	logs := d.logs()
	for _, want := range []string{"supervised", "--no-supervise", "HERMES_GATEWAY_NO_SUPERVISE"} {
		if !strings.Contains(logs, want) {
			d.t.Errorf("the breadcrumb does not say %q:\n%s", want, logs)
		}
	}
}

// TestNoSupervise: by the flag and by the variable, the gateway is the main
// program, its exit code the container's, and its slot stays down.
func TestNoSupervise(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []string
		command []string
	}{
		{"flag", nil, []string{"gateway", "run", "--no-supervise"}},
		{"variable", []string{"--env", "HERMES_GATEWAY_NO_SUPERVISE=Yes"}, []string{"gateway", "run"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBothImages(t, func(t *testing.T, d *docker) {
				d.run(append(tt.options, "--env", "HERMES_GATEWAY_COMMAND=/bin/probe -exit 42 -after 2s"), tt.command...)
				d.eventually("the slot is down", func() error {
					f, err := d.fleet()
					if err == nil && f.Gateways[0].State != "stopped" {
						err = fmt.Errorf("it is %s", f.Gateways[0].State)
					}
					return err
				})
				if code := d.exitCode(); code != "42" {
					t.Errorf("exit code %s\n%s", code, d.logs())
				}
				if n := len(d.lines("default", "starts")); n != 1 {
					t.Errorf("%d starts", n)
				}
				logs := d.logs()
				if strings.Contains(logs, "is now supervised") {
					t.Error("the breadcrumb was printed")
				}
				if strings.Contains(logs, "hermes gateway start default") {
					t.Errorf("it says to start what it runs itself:\n%s", logs)
				}
			})
		})
	}
}

// TestFalsyVariableDoesNotOptOut: =0 is a typo, not a wish.
func TestFalsyVariableDoesNotOptOut(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.run([]string{"--env", "HERMES_GATEWAY_NO_SUPERVISE=0", "--env", "HERMES_GATEWAY_COMMAND=/bin/probe"}, "gateway", "run")
		d.eventually("it is supervised", func() error {
			f, err := d.fleet()
			if err == nil && f.Gateways[0].State != "running" {
				err = fmt.Errorf("it is %s", f.Gateways[0].State)
			}
			return err
		})
	})
}

// TestOneShotCommandsBootNothing: a plain hermes command in a fresh container.
func TestOneShotCommandsBootNothing(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.probe("anna")
		for _, command := range [][]string{{"profile", "list"}, {"version"}, {"hermes", "profile", "list"}, {"--help"}, {"status"}} {
			out := d.docker(append([]string{"run", "--rm", "--volume", d.home + ":/opt/data", d.image}, command...)...)
			if strings.Contains(out, "gateways run as uid") {
				t.Errorf("%q booted:\n%s", command, out)
			}
		}
		for _, file := range []string{".hermes.lock", "logs/container-boot.log", "profiles/anna/gateway_intent.json"} {
			if _, err := os.Stat(filepath.Join(d.home, file)); !os.IsNotExist(err) {
				t.Errorf("%s was made", file)
			}
		}
	})
}

// TestOneShotCommandIsStopped: a command that waits is PID 1, and ends when the
// container is to.
func TestOneShotCommandIsStopped(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.probe("anna")
		log := filepath.Join(d.home, "logs", "gateways", "anna")
		if err := os.MkdirAll(log, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(log, "current"), []byte("2026-01-02T03:04:05.000000Z hello\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		d.run(nil, "gateway", "logs", "--follow", "anna")
		d.eventually("it follows the log", func() error {
			if logs := d.logs(); !strings.Contains(logs, "hello") {
				return errors.New(logs)
			}
			return nil
		})
		began := time.Now()
		d.docker("stop", d.name)
		if took, code := time.Since(began), d.exitCode(); took > 9*time.Second || code != "0" {
			t.Errorf("stopped in %v, exit code %s", took, code)
		}
	})
}

// TestProgramsAsCommand: their exit code is the container's.
func TestProgramsAsCommand(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		for _, tt := range []struct {
			code    int
			command []string
		}{
			{42, []string{"sh", "-c", "exit 42"}},
			{0, []string{"busybox", "true"}},
			{127, []string{"no-such-program"}},
			{143, []string{"sh", "-c", "kill -TERM $$; sleep 5"}},
			{2, []string{"gateway", "start", "--no-such-flag"}},
		} {
			out, err := exec.Command("docker", append([]string{"run", "--rm", "--volume", d.home + ":/opt/data", d.image}, tt.command...)...).CombinedOutput()
			code := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("%q: exit %d, want %d\n%s", tt.command, code, tt.code, out)
			}
		}
	})
}

// TestExecAsRootAndAsHermes: both manage the fleet, and neither leaves a file
// that a gateway cannot read.
func TestExecAsRootAndAsHermes(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.probe("anna")
		d.run(nil, "sleep", "infinity")
		d.eventually("the supervisor answers", d.expect("anna stopped"))
		for _, user := range []string{"0", "10000", "hermes"} {
			name := "by-" + user
			for _, args := range [][]string{
				{"profile", "create", name},
				{"gateway", "start", "anna"},
				{"gateway", "restart", "anna"},
				{"status"},
				{"gateway", "stop", "anna"},
				{"why", "anna"},
				{"gateway", "logs", "anna"},
				{"profile", "rename", name, name + "-2"},
			} {
				if stdout, stderr, code := d.exec(append([]string{"--user", user, d.name, "hermes"}, args...)...); code != 0 {
					t.Errorf("as %s: hermes %q: exit %d\n%s%s", user, args, code, stdout, stderr)
				}
			}
		}
		if _, stderr, code := d.exec("--user", "4711", d.name, "hermes", "gateway", "start", "anna"); code != 1 || !strings.Contains(stderr, "uid 4711") {
			t.Errorf("a stranger: exit %d\n%s", code, stderr)
		}
		err := filepath.Walk(d.home, func(path string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			owner := info.Sys().(*syscall.Stat_t)
			if owner.Uid != 10000 && filepath.Base(path) != ".hermes.lock" {
				t.Errorf("%s belongs to uid %d, mode %v", path, owner.Uid, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestUids: who gateways run as, by variable, by --user and by the home's owner.
func TestUids(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []string
		owner   int // of the home
		want    string
	}{
		{"a home of root's", nil, 0, "10000"},
		{"the home's owner", nil, 1026, "1026"},
		{"PUID", []string{"--env", "PUID=1027", "--env", "PGID=100"}, 0, "1027"},
		{"HERMES_UID over PUID", []string{"--env", "PUID=1027", "--env", "HERMES_UID=1028"}, 0, "1028"},
		{"--user", []string{"--user", "1234:1234"}, 1234, "1234"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBothImages(t, func(t *testing.T, d *docker) {
				d.probe("anna")
				for _, path := range []string{d.home, filepath.Join(d.home, "profiles"), filepath.Join(d.home, "profiles/anna")} {
					if err := os.Chown(path, tt.owner, tt.owner); err != nil {
						t.Fatal(err)
					}
				}
				d.run(tt.options)
				d.eventually("the supervisor answers", d.expect("anna stopped"))
				d.must("gateway", "start", "anna")
				f, err := d.fleet()
				if err != nil {
					t.Fatal(err)
				}
				stdout, stderr, _ := d.exec(d.name, "busybox", "stat", "-c", "%u", fmt.Sprintf("/proc/%d", f.Gateways[1].PID))
				if strings.TrimSpace(stdout) != tt.want {
					t.Errorf("anna runs as uid %s, want %s %s", strings.TrimSpace(stdout), tt.want, stderr)
				}
			})
		})
	}
}

// TestHealthcheck: Docker itself finds the container healthy.
func TestHealthcheck(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.run([]string{"--health-interval", "1s"})
		d.eventually("Docker says healthy", func() error {
			if s := d.docker("inspect", "--format", "{{.State.Health.Status}}", d.name); s != "healthy" {
				return errors.New(s)
			}
			return nil
		})
	})
}

// TestOrphansAreReaped: a grandchild that is orphaned leaves no zombie.
func TestOrphansAreReaped(t *testing.T) {
	inBothImages(t, func(t *testing.T, d *docker) {
		d.run(nil)
		d.eventually("the supervisor answers", d.expect())
		for range 20 {
			d.exec("--detach", d.name, "sh", "-c", "(sleep 0.1 &) ; exit 0")
		}
		d.eventually("no zombies", func() error {
			out := d.docker("top", d.name, "-eo", "pid,stat,args")
			if strings.Contains(out, "Z") && strings.Contains(out, "<defunct>") {
				return errors.New(out)
			}
			return nil
		})
	})
}
