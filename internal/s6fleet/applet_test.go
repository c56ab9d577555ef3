package s6fleet

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/restart"
	"hermes/internal/store"
)

func TestParseEnd(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want ended
		bad  bool
	}{
		{args: []string{"finish", "0", "0", "gateway-coder"}, want: ended{}},
		{args: []string{"./finish", "78", "1", "gateway-coder", "4711"}, want: ended{code: 78, group: 4711}}, // the signal means nothing
		{args: []string{"finish", "256", "15", "gateway-coder", "4711"}, want: ended{code: -1, signal: unix.SIGTERM, group: 4711}},
		{args: []string{"finish", "256", "9", "gateway-coder", "1"}, want: ended{code: -1, signal: unix.SIGKILL}},
		{args: []string{"finish", "0", "", "gateway-coder", "x"}, want: ended{}},
		{args: []string{"finish", "256", "0", "gateway-coder"}, bad: true},
		{args: []string{"finish", "256", "", "gateway-coder"}, bad: true},
		{args: []string{"finish", "257", "0", "gateway-coder"}, bad: true},
		{args: []string{"finish", "-1", "0", "gateway-coder"}, bad: true},
		{args: []string{"finish", "0", "0"}, bad: true},
		{args: []string{"finish"}, bad: true},
	} {
		got, err := parseEnd(tt.args)
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.args, got, err)
		}
	}
}

func FuzzParseEnd(f *testing.F) {
	f.Add("256", "15", "4711")
	f.Add("78", "", "")
	f.Fuzz(func(t *testing.T, exit, signal, group string) {
		e, err := parseEnd([]string{"finish", exit, signal, "gateway-coder", group})
		if err != nil {
			return
		}
		if e.code > 255 || e.code < -1 || (e.code == -1) != (e.signal != 0) || e.group < 0 || e.group == 1 {
			t.Errorf("%q %q %q: %+v", exit, signal, group, e)
		}
	})
}

// bench is a slot on disk, and the profile it is for.
type bench struct {
	t    *testing.T
	home string
	dir  string // of the slot
	now  time.Time
	said bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, home: t.TempDir(), now: time.Date(2026, 5, 28, 12, 0, 0, 0, time.UTC)}
	b.dir = filepath.Join(t.TempDir(), "gateway-coder")
	b.write(filepath.Join(b.home, "profiles", "coder", "SOUL.md"), "I am coder.\n")
	b.configure("gateway:\n  command: [/bin/true]\n")
	b.write(filepath.Join(b.dir, dataDir, homeFile), b.home+"\n")
	b.write(filepath.Join(b.dir, dataDir, profileFile), "coder\n")
	b.wantUp(true)
	return b
}

func (b *bench) write(path, content string) {
	b.t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) configure(text string) {
	b.t.Helper()
	b.write(filepath.Join(b.home, "profiles", "coder", "config.yaml"), text)
}

// wantUp writes the status of a slot whose run has ended, as s6-supervise does.
func (b *bench) wantUp(up bool) {
	b.t.Helper()
	status := make([]byte, 35)
	status[0], status[12] = 0x40, 0x40
	if status[34] = 2; up { // finishing
		status[34] |= 4
	}
	b.write(filepath.Join(b.dir, "supervise", "status"), string(status))
}

func (b *bench) applet(args ...string) Applet {
	settings, err := config.FromEnviron(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return Applet{
		Dir: b.dir, Args: args, Settings: settings, Self: "/init", Stderr: &b.said,
		Environ: []string{"PATH=/bin"}, Now: func() time.Time { return b.now },
	}
}

// observe changes what is on record.
func (b *bench) observe(change func(*profile.Supervision)) profile.Supervision {
	b.t.Helper()
	home, err := store.Open(b.home)
	if err != nil {
		b.t.Fatal(err)
	}
	defer home.Close()
	p, err := home.Profile("coder")
	if err != nil {
		b.t.Fatal(err)
	}
	defer p.Close()
	s, _, err := p.Supervision()
	if err == nil && change != nil {
		s.Version = profile.SupervisionVersion
		change(&s)
		err = p.WriteSupervision(s)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// began puts a run on record that began so long ago.
func (b *bench) began(ago time.Duration) {
	b.observe(func(s *profile.Supervision) { s.Run = uint64(b.now.Add(-ago).UnixNano()) })
}

// TestFinish: what the end of a run leads to, and what is on record of it.
func TestFinish(t *testing.T) {
	for _, tt := range []struct {
		name     string
		config   string
		ran      time.Duration
		down     bool // told to be down
		restarts bool // by a command
		args     []string
		code     int
		state    profile.State
		reason   string
		exit     profile.Exit // Code, Signal, Asked and Healthy
		failures int
	}{
		{name: "crash", args: []string{"finish", "1", "0", "x"}, ran: time.Second, state: profile.StateBackoff, reason: "exit 1: last words", exit: profile.Exit{Code: 1}, failures: 1},
		{name: "killed", args: []string{"finish", "256", "9", "x"}, ran: time.Second, state: profile.StateBackoff, reason: "SIGKILL: last words", exit: profile.Exit{Code: -1, Signal: "SIGKILL"}, failures: 1},
		{name: "after a healthy run", args: []string{"finish", "1", "0", "x"}, ran: restart.HealthyAfter, state: profile.StateStarting, exit: profile.Exit{Code: 1, Healthy: true}},
		{name: "wrong configuration", args: []string{"finish", "78", "0", "x"}, ran: time.Second, code: exitDown, state: profile.StateParked, reason: "exit 78 (configuration): last words", exit: profile.Exit{Code: 78}},
		{name: "stopped", args: []string{"finish", "256", "15", "x"}, down: true, ran: time.Second, state: profile.StateStopped, exit: profile.Exit{Code: -1, Signal: "SIGTERM", Asked: true}},
		{name: "stopped, with 78", args: []string{"finish", "78", "0", "x"}, down: true, ran: time.Second, state: profile.StateStopped, exit: profile.Exit{Code: 78, Asked: true}},
		{name: "restarted", args: []string{"finish", "0", "0", "x"}, restarts: true, config: "gateway:\n  restart: never\n", ran: time.Second, state: profile.StateStopped, exit: profile.Exit{Asked: true}},
		{name: "never again", args: []string{"finish", "1", "0", "x"}, config: "gateway:\n  restart: never\n", ran: time.Second, code: exitDown, state: profile.StateStopped, reason: "ended by itself (exit 1)", exit: profile.Exit{Code: 1}},
		{name: "done", args: []string{"finish", "0", "0", "x"}, config: "gateway:\n  restart: on-failure\n", ran: time.Second, code: exitDown, state: profile.StateStopped, reason: "ended by itself (exit 0)", exit: profile.Exit{}},
		{name: "failed", args: []string{"finish", "3", "0", "x"}, config: "gateway:\n  restart: on-failure\n", ran: time.Second, state: profile.StateBackoff, reason: "exit 3: last words", exit: profile.Exit{Code: 3}, failures: 1},
		{name: "asks for a restart", args: []string{"finish", "75", "0", "x"}, ran: time.Second, state: profile.StateStarting, exit: profile.Exit{Code: 75}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			if tt.config != "" {
				b.configure(tt.config)
			}
			b.began(tt.ran)
			b.wantUp(!tt.down)
			if tt.restarts {
				b.write(filepath.Join(b.dir, dataDir, restartingFile), "")
			}
			b.write(filepath.Join(b.home, "logs", "gateways", "coder", "current"), "2026-05-28 11:00:00.000000000  of another run\n2026-05-28 12:00:00.000000000  last words\n")
			code, err := b.applet(tt.args...).finish()
			if err != nil || code != tt.code {
				t.Fatalf("exit %d, %v, want %d", code, err, tt.code)
			}
			s := b.observe(nil)
			if s.State != tt.state || s.Reason != tt.reason || s.Failures != tt.failures || len(s.Exits) != 1 {
				t.Fatalf("on record: %+v", s)
			}
			e := s.Exits[0]
			if got := (profile.Exit{Code: e.Code, Signal: e.Signal, Asked: e.Asked, Healthy: e.Healthy}); !equalExit(got, tt.exit) {
				t.Errorf("exit on record: %+v, want %+v", got, tt.exit)
			}
			if e.Run != s.Run || !e.At.Equal(b.now) || e.At.Sub(e.Started) != tt.ran {
				t.Errorf("exit on record: %+v", e)
			}
		})
	}
}

func equalExit(a, b profile.Exit) bool {
	return a.Code == b.Code && a.Signal == b.Signal && a.Asked == b.Asked && a.Healthy == b.Healthy
}

// TestFinishWithoutHome: a code that must not be tried again is passed on
// although nothing can be put on record.
func TestFinishWithoutHome(t *testing.T) {
	b := newBench(t)
	b.write(filepath.Join(b.dir, dataDir, homeFile), "/no/such/home\n")
	for args, want := range map[string]int{"78": exitDown, "1": 0} {
		if code, err := b.applet("finish", args, "0", "x").finish(); code != want || err == nil {
			t.Errorf("exit %s: %d, %v", args, code, err)
		}
	}
}

// TestRunRefused: a start that cannot be is on record with its reason, and
// finish neither forgets it nor counts it twice.
func TestRunRefused(t *testing.T) {
	if os.Getenv("HERMES_TEST_RUN") != "" {
		b := &bench{t: t, dir: os.Getenv("HERMES_TEST_RUN"), now: time.Now()}
		os.Exit(b.applet("run", "gateway-coder").Main())
	}
	for _, tt := range []struct {
		config, reason string
		code, finish   int
		state          profile.State
	}{
		{"gateway:\n  command: [/no/such/program]\n", `there is no file "/no/such/program"`, 78, exitDown, profile.StateParked},
		{"gateway:\n  nonsense: 1\n", "nonsense", 78, exitDown, profile.StateParked},
	} {
		b := newBench(t)
		b.configure(tt.config)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestRunRefused$")
		cmd.Env = append(os.Environ(), "HERMES_TEST_RUN="+b.dir)
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != tt.code {
			t.Errorf("%v\n%s", err, out)
		}
		s := b.observe(nil)
		if s.State != tt.state || !strings.Contains(s.Reason, tt.reason) || len(s.Exits) != 1 || s.Exits[0].Code != -1 {
			t.Errorf("on record: %+v\n%s", s, out)
		}
		if code, err := b.applet("finish", "78", "0", "x").finish(); code != tt.finish || err != nil {
			t.Errorf("finish: %d, %v", code, err)
		}
		if again := b.observe(nil); len(again.Exits) != 1 || again.Reason != s.Reason {
			t.Errorf("after finish: %+v", again)
		}
	}
}

// TestReadSlot: only what was laid is a slot.
func TestReadSlot(t *testing.T) {
	b := newBench(t)
	if d, err := readSlot(b.dir); err != nil || d.home != b.home || d.profile != "coder" || d.label() != "coder" {
		t.Errorf("%+v, %v", d, err)
	}
	dashboard := filepath.Join(filepath.Dir(b.dir), profile.DashboardSlot)
	b.write(filepath.Join(dashboard, dataDir, homeFile), b.home)
	if d, err := readSlot(dashboard); err != nil || d.profile != "" || d.label() != profile.DashboardSlot || !strings.HasSuffix(d.logDir(), "/logs/dashboard") {
		t.Errorf("the dashboard's: %+v, %v", d, err)
	}
	for file, content := range map[string]string{profileFile: "../x\n", homeFile: "relative\n"} {
		b := newBench(t)
		b.write(filepath.Join(b.dir, dataDir, file), content)
		if _, err := readSlot(b.dir); err == nil {
			t.Errorf("%s %q is taken", file, content)
		}
		if err := os.Remove(filepath.Join(b.dir, dataDir, file)); err != nil {
			t.Fatal(err)
		}
		if _, err := readSlot(b.dir); err == nil {
			t.Errorf("without %s it is a slot", file)
		}
	}
}
