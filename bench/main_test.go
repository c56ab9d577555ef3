package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

func TestParseSizes(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int
		bad  bool
	}{
		{"", nil, false},
		{"100,10,100", []int{10, 100}, false},
		{"0", nil, true},
		{"10,", nil, true},
		{"1e3", nil, true},
		{"20001", nil, true},
	} {
		if got, err := parseSizes(c.text); !slices.Equal(got, c.want) || (err != nil) != c.bad {
			t.Errorf("%q: %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-n", "x"}, "a size is a number"},
		{[]string{"-who", "hermes,systemd"}, `no side is called "systemd"`},
		{[]string{"-n", "", "-ours", ""}, "names a size"},
		{[]string{"-k", "0"}, "at least 1"},
		{[]string{"now"}, `unexpected argument "now"`},
		{[]string{"-who", "hermes", "-hermes", "/nonexistent/hermes"}, "run make build"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), c.args, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%v: status %d, %q, want %q", c.args, status, stderr.String(), c.want)
		}
	}
}

// TestMain: the bench is the parent of what its fleets leave behind, and ends
// it; a process of its own keeps that from other tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == askWord {
		main()
	}
	// The race detector has every program wait a second at its end, and the
	// bench runs itself dozens of times.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		os.Args = os.Args[1:]
		main()
	}
	os.Exit(m.Run())
}

// TestBench runs the whole bench with a few services and no patience, against
// every peer that is here, and looks at what must hold whatever the machine.
func TestBench(t *testing.T) {
	who := sides(t)
	dir := t.TempDir()
	hermes, numbers, state := filepath.Join(dir, "hermes"), filepath.Join(dir, "numbers.json"), filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", hermes, "hermes/cmd/hermes")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build hermes: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "-n", "3", "-ours", "", "-who", strings.Join(who, ","), "-k", "1", "-boots", "1",
		"-settle", "200ms", "-idle", "300ms", "-lines", "20000", "-hermes", hermes, "-dir", state, "-json", numbers)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{"### 3 services", "### What a gateway costs hermes", "### Logs"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, stdout.String())
		}
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	text, err := os.ReadFile(numbers)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	checkReport(t, r, who)
}

// sides are those that can be measured here.
func sides(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		testkit.Unavailable(t, "no gcc here: apt-get install gcc libc6-dev")
	}
	return slices.DeleteFunc(sideNames(), func(who string) bool {
		err := missing(who)
		if err != nil && os.Getenv("CI") == "true" {
			testkit.Unavailable(t, "%v", err)
		}
		return err != nil
	})
}

// checkReport: every side has every figure that it can have.
func checkReport(t *testing.T, r report, who []string) {
	t.Helper()
	most := []figure{figBoot, figHelpers, figPSS, figCrash, figEnd, figWakeUps, figFirstFDs, figOtherFDs}
	commands := []figure{figAdd, figStop, figStart, figStatus}
	seen := map[string]bool{}
	for _, f := range r.Fleets {
		want := most
		if f.Who != bareLoop {
			want = slices.Concat(most, commands)
		}
		if f.Who == ours {
			want = append(want, figBareStop, figBareStart, figBareStatus)
		}
		for _, name := range want {
			if f.Figures[name].Count == 0 {
				t.Errorf("%s, n=%d has no %s", f.Who, f.N, name)
			}
		}
		if f.Figures[figBoot].Min <= 0 || f.Figures[figEnd].Min <= 0 || f.Figures[figCrash].Min <= 0 {
			t.Errorf("%s, n=%d took no time: %v", f.Who, f.N, f.Figures)
		}
		seen[f.Who] = true
		// What is counted needs no clock: the processes of each side are known.
		processes := map[string]float64{bareLoop: 1, s6Bare: 1 + 3, s6Logged: 1 + 3*3, runit: 1 + 3*2, ours: 2}
		if f.Figures[figHelpers].Median != processes[f.Who] {
			t.Errorf("%s has %v helper processes, want %v", f.Who, f.Figures[figHelpers].Median, processes[f.Who])
		}
	}
	if len(seen) != len(who) {
		t.Errorf("measured %v, want %v", seen, who)
	}
	for _, l := range r.Logs {
		if l.Figures[figLogBulk].Min <= 0 || l.Figures[figLogLines].Min <= 0 {
			t.Errorf("%s logged nothing: %v", l.Who, l.Figures)
		}
	}
}

// TestInterrupted: Ctrl-C ends the fleet, removes its directory and is no
// reason to print half a report.
func TestInterrupted(t *testing.T) {
	sides(t)
	state := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "-n", "5", "-ours", "", "-who", bareLoop, "-settle", "1h", "-lines", "1", "-hermes", "/bin/true", "-dir", state)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var services []int
	err := poll(t.Context(), 5*time.Millisecond, time.Minute, func() (bool, error) {
		all, err := tree(cmd.Process.Pid)
		services = all[1:]
		return len(services) == 1+5, err
	})
	if err != nil {
		t.Errorf("its fleet of five did not come up: %v", err)
	}
	fds, err := pidfds(services)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, fd := range fds {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it should have ended
		}
		closeAll(fds)
	}()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := awaitEnd(fds, 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "interrupted") || stdout.Len() > 0 {
		t.Errorf("%v, stderr %q, stdout %q", err, stderr.String(), stdout.String())
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}
