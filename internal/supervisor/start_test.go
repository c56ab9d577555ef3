package supervisor_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// TestGateAdmitsSoManyAtATime: a start that is not ready keeps its token for
// two seconds and no longer.
func TestGateAdmitsSoManyAtATime(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StartParallel = 2
		var names []profile.Name
		for i := range 7 {
			name := fmt.Sprintf("slow-%d", i)
			r.profile(name, "ready: notify")
			names = append(names, profile.Name(name))
		}
		r.boot(names...)
		spawned := func() (n int) {
			for _, name := range names {
				n += r.fake.Spawned(name.Slot())
			}
			return n
		}
		for _, want := range []int{2, 4, 6, 7, 7} {
			if got := spawned(); got != want {
				t.Fatalf("%d were spawned, want %d", got, want)
			}
			r.pass(2 * time.Second)
		}
	})
}

// TestGateTokenIsFreed when a gateway is up and cannot say more, when it ends,
// and when its start is given up.
func TestGateTokenIsFreed(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StartParallel = 1
		for i := range 20 {
			r.profile(fmt.Sprintf("quick-%02d", i))
		}
		r.profile("slow", "ready: notify")
		r.boot()
		began := time.Now()
		for i := range 20 {
			r.must(startIt, fmt.Sprintf("quick-%02d", i))
		}
		r.ask(startIt, "slow")
		queued := r.ask(startIt, "quick-00")
		r.must(restartIt, "quick-01") // waits for slow's token
		if took := time.Since(began); took != 2*time.Second {
			t.Fatalf("it took %v, want what slow holds its token", took)
		}
		<-queued
		r.must(stopIt, "quick-00", "slow")

		r.ask(startIt, "slow")
		given := r.ask(startIt, "quick-00")
		r.is("quick-00", profile.StateStarting)
		r.must(stopIt, "quick-00") // while it is queued
		r.fails(<-given, "it was stopped meanwhile")
		if r.lives("quick-00") {
			t.Fatal("what was stopped in the queue was started")
		}
		waiting := r.ask(startIt, "quick-00")
		r.end("slow", 1)
		if open(waiting) {
			t.Fatal("the token of a run that ended was kept")
		}
		r.is("quick-00", profile.StateRunning)
	})
}

// TestGateTokenThatCameTooLate admits nobody: it was for a place that had been
// given up.
func TestGateTokenThatCameTooLate(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StartParallel = 1
		for _, name := range []string{"slow", "anna", "next"} {
			r.profile(name, "ready: notify")
		}
		r.boot()
		r.ask(startIt, "slow")
		r.ask(startIt, "anna")
		r.ask(startIt, "next")
		release := r.fleet.Hold("anna")
		defer release()
		r.ask(stopIt, "anna")
		r.ask(startIt, "anna")
		r.pass(2 * time.Second) // slow's token is anna's
		release()
		r.settle()
		r.spawned("next", 1)
		r.spawned("anna", 0)
		r.pass(2 * time.Second)
		r.spawned("anna", 1)
	})
}

func TestRefusedStarts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(r *rig)
		want  []string
		code  fault.Code
	}{
		{"bad config", func(r *rig) { r.configure("anna", "comand: [x]") }, []string{"config.yaml:3", "comand"}, fault.GatewayFailed},
		{"bad .env", func(r *rig) { r.write("anna", ".env", "A=1\nno assignment\n") }, []string{".env"}, fault.GatewayFailed},
		{"bad port in .env", func(r *rig) { r.write("anna", ".env", "API_SERVER_PORT=99999\n") }, []string{"API_SERVER_PORT"}, fault.GatewayFailed},
		{"no such program", func(r *rig) { r.write("anna", "config.yaml", "gateway: {command: [/no/such]}\n") }, []string{"/no/such"}, fault.GatewayFailed},
		{"config is a directory", func(r *rig) { spoil(r, "anna", "config.yaml") }, []string{"config.yaml", "directory"}, fault.GatewayFailed},
		{"no profile any more", func(r *rig) { os.Remove(r.path("anna", "SOUL.md")) }, []string{"anna"}, fault.GatewayNotRegistered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.profile("anna")
				r.boot()
				tt.spoil(r)
				err := r.do(startIt, "anna")
				if err == nil {
					t.Fatal("it started")
				}
				r.fails(err, tt.want...)
				f, _ := errors.AsType[*fault.Error](err)
				if strings.Count(err.Error(), slotOf("anna")) > 1 {
					t.Errorf("%q names the gateway twice", err)
				}
				r.settle()
				if tt.name == "no such program" {
					why, err := r.fleet.Why(t.Context(), "anna")
					if f.Hint == "hermes why anna" || f.Hint == "" || why.Hint != f.Hint || why.Gateway.Hint != f.Hint {
						t.Errorf("the start's hint is %q, that of why %q, the gateway's %q, %v", f.Hint, why.Hint, why.Gateway.Hint, err)
					}
				}
				if fault.CodeOf(err) == fault.GatewayFailed {
					r.is("anna", profile.StateParked)
					if got := r.observed("anna"); got.State != profile.StateParked {
						t.Errorf("on record at once: %+v", got)
					}
				}
				r.pass(time.Hour)
				r.comeBack()
				if fault.CodeOf(err) == fault.GatewayFailed && f.Hint != "hermes why anna" && r.gateway("anna").Hint != f.Hint {
					t.Errorf("the next supervisor's hint is %q, it was %q", r.gateway("anna").Hint, f.Hint)
				}
				r.spawned("anna", 0)
				os.RemoveAll(r.path("anna", "config.yaml"))
				os.Remove(r.path("anna", ".env"))
				r.profile("anna")
				r.must(startIt, "anna")
				r.is("anna", profile.StateRunning)
			})
		})
	}
}

// spoil puts a directory in the place of a file.
func spoil(r *rig, name, file string) {
	os.Remove(r.path(name, file))
	if err := os.MkdirAll(r.path(name, file, "x"), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func TestUnreadableForTheGatewaysUser(t *testing.T) {
	if os.Getuid() != 0 {
		unavailable(t, "only root starts gateways as somebody else")
	}
	in(t, func(t *testing.T, r *rig) {
		r.options.Credential = &engine.Credential{UID: 12345, GID: 12345}
		r.profile("anna")
		if err := os.Chmod(filepath.Dir(r.dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(r.path("anna"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		r.write("anna", ".env", "SECRET=1\n")
		if err := os.Chmod(r.path("anna", ".env"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.boot()
		r.fails(r.do(startIt, "anna"), "cannot read", ".env", "12345")
		r.is("anna", profile.StateParked)
		if err := os.Chown(r.path("anna", ".env"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		r.must(startIt, "anna")
		if spec, _ := r.fake.Spec(slotOf("anna")); spec.Credential == nil || spec.Credential.UID != 12345 {
			t.Errorf("started as %+v", spec.Credential)
		}
	})
}

// TestPortTaken names who has it, and is tried again.
func TestPortTaken(t *testing.T) {
	r := withPipes(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	r.profile("anna", "port: "+port, "host: 127.0.0.1")
	r.boot()
	r.fails(r.do(startIt, "anna"), "cannot start gateway-anna: port "+port+" is taken", fmt.Sprintf("pid %d (", os.Getpid()), "listens on it")
	r.is("anna", profile.StateBackoff)
	l.Close()
	r.untilState("anna", profile.StateRunning)

	r.profile("bert", "port: "+port)
	r.fails(r.do(startIt, "bert"), "profile 'anna' has it and is running")
	fleet, err := r.fleet.Fleet(t.Context())
	if err != nil || len(fleet.Notices) != 1 || fleet.Notices[0].Code != "ports_clash" {
		t.Errorf("notices %+v, %v", fleet.Notices, err)
	}
}

// TestPortsFollowTheFiles: what a person says of a port counts from the next
// start on, and no longer than it is said.
func TestPortsFollowTheFiles(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert", "port: 9999")
		r.boot("anna", "bert")
		own := r.gateway("anna").Port
		port := func(name string, want int) {
			t.Helper()
			r.must(restartIt, name)
			if got := r.gateway(name).Port; got != want {
				t.Errorf("%s has port %d, want %d", name, got, want)
			}
			r.pass(time.Second)
			if got := r.observed(name).Port; got != want {
				t.Errorf("%s has port %d on record, want %d", name, got, want)
			}
		}
		port("bert", 9999)
		r.configure("anna", "port: 7777")
		port("anna", 7777)
		r.configure("anna")
		port("anna", own)
		r.configure("bert")
		r.must(restartIt, "bert")
		if got := r.gateway("bert").Port; got == 9999 || got == own {
			t.Errorf("bert has port %d", got)
		}
		r.write("anna", ".env", "API_SERVER_PORT=9999\n")
		r.configure("bert", "port: 9999")
		port("anna", 9999)
		r.fails(r.do(restartIt, "bert"), "profile 'anna' has it and is running")
		r.noticed("ports_clash")
		r.configure("bert", "port: 9998")
		port("bert", 9998)
		if fleet, _ := r.fleet.Fleet(t.Context()); len(fleet.Notices) != 0 {
			t.Errorf("notices %+v", fleet.Notices)
		}
		if err := r.fleet.Delete(t.Context(), "anna", ""); err != nil {
			t.Fatal(err)
		}
		if p, err := r.fleet.Create(t.Context(), "anna", ""); err != nil || p.Port != own {
			t.Errorf("made anew it has port %d, %v, want %d", p.Port, err, own)
		}
	})
}

// TestWhatAGatewayIsStartedWith: ports, environment, stop plan.
func TestWhatAGatewayIsStartedWith(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Environ = append(r.options.Environ, "FROM=container", "API_SERVER_PORT=8700")
		r.options.Settings.APIServerPort = 8700
		r.options.UserName, r.options.UserHome = "hermes", "/opt/data"
		r.profile("anna", "env: {EXTRA: config}", "stop_timeout: 20s")
		r.write("anna", ".env", "FROM=dotenv\n")
		r.write("default", "config.yaml", "gateway: {command: [/bin/true]}\n")
		r.boot("anna", "default")
		spec, _ := r.fake.Spec(slotOf("anna"))
		env := strings.Join(spec.Env, "\n")
		for _, want := range []string{
			"FROM=dotenv", "EXTRA=config", "HERMES_HOME=" + r.path("anna"), "HERMES_PROFILE=anna", "HOME=/opt/data",
			fmt.Sprintf("PORT=%d", r.gateway("anna").Port), "NOTIFY_SOCKET=" + spec.Notify,
			fmt.Sprintf("HERMES_SLOT_ID=gateway-anna.%d", spec.Generation),
		} {
			if !strings.Contains(env, want) {
				t.Errorf("no %s in\n%s", want, env)
			}
		}
		if spec.Plan.Grace != 20*time.Second || spec.Dir != r.path("anna") || filepath.Base(spec.Lock) != "gateway-anna.lock" {
			t.Errorf("spec %+v", spec)
		}
		if len(spec.Notify) > 100 {
			t.Errorf("the socket's path has %d bytes", len(spec.Notify))
		}
		if a, d := r.gateway("anna").Port, r.gateway("default").Port; a == 8700 || a == 0 || d != 8700 {
			t.Errorf("ports %d and %d: the container's is for default alone", a, d)
		}
		if got := r.fleet.LongestGrace(); got != 20*time.Second {
			t.Errorf("the longest grace is %v", got)
		}
	})
}

// TestKeyForOtherMachines: a gateway that serves beyond loopback gets a key.
func TestKeyForOtherMachines(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.APIServerHost = "0.0.0.0"
		r.profile("anna")
		r.profile("bert")
		r.write("bert", ".env", "API_SERVER_KEY=mine\n")
		r.boot()
		key := func(name string) string {
			b, err := os.ReadFile(r.path(name, ".env"))
			if err != nil {
				t.Fatal(err)
			}
			env, err := config.ParseDotenv(".env", b)
			if err != nil {
				t.Fatal(err)
			}
			return env["API_SERVER_KEY"]
		}
		if len(key("anna")) < 32 || key("bert") != "mine" {
			t.Errorf("keys %q and %q", key("anna"), key("bert"))
		}
	})
}

// TestConcurrentStartsShareARun: however many ask, one run starts.
func TestConcurrentStartsShareARun(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.fake.Script(slotOf("anna"), enginetest.Program{})
		r.boot()
		var outcomes []<-chan error
		for range 20 {
			outcomes = append(outcomes, r.ask(startIt, "anna"))
		}
		for _, done := range outcomes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.spawned("anna", 1)
	})
}
