package s6

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/stray"
	"hermes/internal/testkit"
)

// The test binary is the slots' programs as well, by the name it is run under,
// and this package's caller under another uid.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "run":
		os.Exit(run())
	case "finish":
		os.Exit(finish())
	}
	if len(os.Args) > 1 && os.Args[1] == stray.Command {
		os.Exit(stray.Main(os.Args[2:], os.Stdout, os.Stderr))
	}
	if do := os.Getenv("S6_TEST_DO"); do != "" {
		os.Exit(doAs(strings.Split(do, " ")))
	}
	os.Exit(m.Run())
}

// noPause has the race detector not wait a second at the end of a process.
const noPause = "GORACE=atexit_sleep_ms=0"

// patience bounds every wait of a test.
const patience = 30 * time.Second

// run is the program of a slot: data/do says what it does.
func run() int {
	if filepath.Base(os.Args[1]) == logDir {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	b, _ := os.ReadFile("data/do")
	do, arg, _ := strings.Cut(string(b), " ")
	n, _ := strconv.Atoi(arg)
	switch do {
	case "exit":
		return n
	case "kill":
		_ = unix.Kill(os.Getpid(), unix.Signal(n))
	case "stubborn":
		signal.Ignore(unix.SIGTERM) // sleep inherits it
	case "ready":
		_, _ = os.NewFile(3, "notify").WriteString("\n")
	}
	m := stray.Mark{Slot: os.Args[1], Generation: uint64(os.Getpid()), Lineage: "test"}
	err := syscall.Exec("/bin/sleep", []string{"sleep", "100000"}, []string{stray.Variable + "=" + m.String()})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// finish is the other program: 78 is for good. Of those it is told to it waits
// until it may end.
func finish() int {
	for os.Getenv("PATH") != "" { // always
		if _, err := os.Stat("data/hold"); err != nil {
			break
		}
		wait(time.Millisecond)
	}
	if os.Args[1] == "78" {
		return 125
	}
	return 0
}

// wait is between two looks.
func wait(d time.Duration) { <-time.NewTimer(d).C }

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); wait(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// self is the test binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}

// spec is a slot that does something, with a logger.
func spec(t *testing.T, slot, do string) Spec {
	return Spec{
		Slot: slot, Run: self(t), Finish: self(t), LogRun: self(t), Data: map[string]string{"do": do},
		TimeoutKill: patience, TimeoutFinish: patience,
	}
}

// needS6 finds s6 on this machine.
func needS6(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"s6-svscan", "s6-svc", "s6-svscanctl", "s6-svstat", "s6-svwait"} {
		if _, err := exec.LookPath(tool); err != nil {
			testkit.Unavailable(t, "%s is not installed", tool)
		}
	}
}

// others makes the way to a directory one that every uid may go.
func others(t *testing.T, dir string) {
	t.Helper()
	for _, p := range []string{filepath.Dir(dir), dir} {
		must(t, os.Chmod(p, 0o755))
	}
}

// directory is a scan directory that is prepared and has no s6-svscan yet.
func directory(t *testing.T, a Access) Scandir {
	t.Helper()
	needS6(t)
	dir := t.TempDir()
	others(t, dir)
	d := Scandir{Dir: filepath.Join(dir, "service")}
	must(t, d.Prepare(a))
	return d
}

// own is the access of a fleet of this process's uid.
func own() Access { return Access{Group: os.Getegid(), Owner: os.Geteuid()} }

// scan starts the real s6-svscan.
func scan(t *testing.T, d Scandir, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("s6-svscan", append(args, d.Dir)...)
	out := &limited{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), noPause) // for the slots' programs
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		kill(d)
		_ = cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-ended:
		case <-time.NewTimer(patience).C:
			_ = cmd.Process.Kill()
			t.Errorf("s6-svscan does not end: %s", out.text())
		}
		if t.Failed() {
			t.Logf("s6-svscan: %s", out.text())
		}
	})
	eventually(t, "s6-svscan is up", func() bool {
		pid, err := lockHolder(filepath.Join(d.Dir, svscanDir, lockFile))
		return err == nil && pid == cmd.Process.Pid && d.Tools.run(t.Context(), "s6-svscanctl", "-a", d.Dir) == nil
	})
	return cmd
}

// kill ends the runs that do not end by SIGTERM, and those nobody supervises.
func kill(d Scandir) {
	slots, _ := d.List()
	for _, slot := range slots {
		_ = os.Remove(filepath.Join(d.path(slot), "data", "hold"))
		if s, err := d.State(slot); err == nil && s.Supervised() && s.Up() {
			_ = unix.Kill(s.PID, unix.SIGKILL)
		}
	}
	stray.Find(stray.Request{Slots: slots, Lineage: "test"}, func(r stray.Report) {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", r.PID))
		if !r.Done && strings.HasPrefix(cwd, d.Dir) {
			_ = unix.Kill(r.PID, unix.SIGKILL)
		}
	})
}

// running is a real s6-svscan on a directory of its own.
func running(t *testing.T) Scandir {
	t.Helper()
	d := directory(t, own())
	scan(t, d)
	return d
}

// state is a slot's state.
func state(t *testing.T, d Scandir, slot string) State {
	t.Helper()
	s, err := d.State(slot)
	must(t, err)
	return s
}

// left lists what is in a scan directory beside slots and .s6-svscan.
func left(t *testing.T, d Scandir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.Dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Name() != svscanDir {
			names = append(names, e.Name())
		}
	}
	return names
}

// alive are the living processes with their working directory below dir: all
// that s6 and the slots run, and whatever they leak.
func alive(t *testing.T, dir string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	must(t, err)
	var all []string
	for _, link := range dirs {
		cwd, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(cwd, dir+"/") {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "comm"))
			all = append(all, filepath.Base(filepath.Dir(link))+" "+strings.TrimSpace(string(name)))
		}
	}
	return all
}

// doAs does one thing with a scan directory: "stop /dir gateway-coder". It
// writes the error's code and text to stdout.
func doAs(words []string) int {
	d, slot := Scandir{Dir: words[1]}, words[2]
	if words[0] == "copies" {
		return lookForCopies(words[1], slot)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	switch words[0] {
	case "state":
		_, err = d.State(slot)
	case "start":
		_, err = d.Start(ctx, slot)
	case "stop":
		_, err = d.Stop(ctx, slot)
	case "restart":
		_, err = d.Restart(ctx, slot)
	case "register":
		path, _ := os.Executable()
		err = d.Register(ctx, Spec{Slot: slot, Run: path, Finish: path, LogRun: path, TimeoutKill: patience})
	case "unregister":
		err = d.Unregister(ctx, slot)
	}
	if err == nil {
		fmt.Println("done")
		return 0
	}
	hint := ""
	if f, ok := errors.AsType[*fault.Error](err); ok {
		hint = f.Hint
	}
	fmt.Printf("%s: %v\nhint: %s\n", fault.CodeOf(err), err, hint)
	return 1
}

// as does the same in another uid, in whose group this test's slots are.
func as(t *testing.T, uid, gid int, do ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), noPause, "S6_TEST_DO="+strings.Join(do, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
