package s6init

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
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/lease"
	"hermes/internal/process"
	"hermes/internal/s6"
)

// The words by which this program stands by: it runs the container's main
// program, or keeps the lease of a home on a remote file system.
const (
	MainWord = "s6-main"
	BeatWord = "s6-lease"
)

// The names s6-svscan starts this program by, in .s6-svscan.
const (
	finishName = "finish"
	termName   = "SIGTERM"
	intName    = "SIGINT"
)

// Attendant is this program as one of those who stand by s6-svscan.
type Attendant struct {
	Args    []string
	Environ []string
	Stderr  io.Writer
}

// IsAttendant tells whether a command line is one of an attendant's.
func IsAttendant(args []string) bool {
	if len(args) > 1 && (args[1] == MainWord || args[1] == BeatWord) {
		return true
	}
	switch filepath.Base(args[0]) {
	case termName, intName:
		return true
	case finishName:
		return len(args) == 1 // a slot's is told how the run ended
	}
	return false
}

// Main does what the command line says and returns the exit code.
func (a Attendant) Main() int {
	switch filepath.Base(a.Args[0]) {
	case finishName:
		return a.finish()
	case termName, intName:
		stopMain()
		a.tearDown()
		return 0
	}
	if a.Args[1] == BeatWord {
		return a.keepLease()
	}
	code, err := a.main()
	if err != nil {
		fmt.Fprintf(a.Stderr, "✗ %v\n", err)
	}
	if err := keepCode(code); err != nil {
		fmt.Fprintf(a.Stderr, "✗ the container's exit code is lost: %v\n", err)
	}
	a.tearDown()
	return code
}

// keepCode keeps the container's exit code for finish.
func keepCode(code int) error {
	path := filepath.Join(stateDir, exitFile)
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(code)), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// The exit codes of a shell that cannot run its command.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// main runs the main program: s6-main ZERO-ON-STOP PATH ARGV…. It begins once
// s6-svscan has said on descriptor 3 that it is there.
func (a Attendant) main() (code int, err error) {
	if len(a.Args) < 5 {
		return 1, errors.New("hermes " + MainWord + " is started by hermes itself")
	}
	zeroOnStop, path, argv := a.Args[2] == "true", a.Args[3], a.Args[4:]
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	if n, err := unix.Read(3, make([]byte, 1)); n == 0 || err != nil {
		return 1, fmt.Errorf("s6-svscan has not come up: %w", err)
	}
	_ = unix.Close(3)
	attr := &os.ProcAttr{Env: a.Environ, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	// A session would lose it the terminal. Only the foreground group may give
	// the foreground away.
	if pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && pgrp == unix.Getpgrp() {
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	p, err := os.StartProcess(path, argv, attr)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound, err
	case err != nil:
		return exitNotExecutable, err
	}
	ended := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := p.Wait() // it is our child, and nobody else waits for it
		ended <- state
	}()
	select {
	case state := <-ended:
		return codeOf(state), nil
	case <-stop:
	}
	for _, sig := range stopSignals(attr.Sys.Foreground) {
		_ = unix.Kill(-p.Pid, sig)
	}
	late := time.NewTimer(grace())
	defer late.Stop()
	for {
		select {
		case state := <-ended:
			if zeroOnStop {
				return 0, nil
			}
			return codeOf(state), nil
		case <-late.C:
			_ = unix.Kill(-p.Pid, unix.SIGKILL)
		}
	}
}

// stopSignals ask the main program to stop: an interactive shell ignores
// SIGTERM, and one that is stopped has to hear the others.
func stopSignals(tty bool) []unix.Signal {
	if tty {
		return []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGCONT}
	}
	return []unix.Signal{unix.SIGTERM, unix.SIGCONT}
}

// codeOf is the exit code of a program as a shell has it.
func codeOf(state *os.ProcessState) int {
	if state == nil {
		return 1
	}
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return state.ExitCode()
}

// defaultGrace stands where nothing says the grace.
const defaultGrace = 8 * time.Second

// grace is what the main program is given between SIGTERM and SIGKILL.
func grace() time.Duration {
	n, err := read(graceFile)
	if err != nil {
		return defaultGrace
	}
	return time.Duration(n) * time.Millisecond
}

// runsMain is the process that runs the main program, and whether it lives: its
// number may be another's by now. 0 if there was none.
func runsMain() (pid int, lives bool) {
	b, err := os.ReadFile(filepath.Join(stateDir, mainFile))
	pid, birth, ok := parseProcess(b)
	if err != nil || !ok {
		return 0, false
	}
	now, err := process.StartTime(pid)
	return pid, err == nil && now == birth
}

// RunsMain tells whether a process is the one that runs the container's main
// program.
func RunsMain(pid int) bool {
	main, lives := runsMain()
	return lives && main == pid
}

// stopMain tells the process that runs the main program, if there was one.
func stopMain() (pid int) {
	pid, lives := runsMain()
	if lives {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
	return pid
}

const (
	look     = 20 * time.Millisecond
	slack    = 2 * time.Second        // beyond the longest grace
	logsLast = 500 * time.Millisecond // for logs, after the last gateway
)

// tearDown has s6-svscan end everything, and kills what still lives after the
// longest grace: s6-svscan would wait for it for ever.
func (a Attendant) tearDown() {
	dir := s6.Scandir{Dir: s6.ScanDir}
	ctx, cancel := context.WithTimeout(context.Background(), longest()+slack)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool("s6-svscanctl"), "-t", dir.Dir).CombinedOutput()
	if err != nil && scans() {
		fmt.Fprintf(a.Stderr, "✗ s6-svscan was not told to end: %v\n%s", err, out)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	var quiet time.Time
	for scans() {
		switch {
		case living(dir):
			quiet = time.Time{}
		case quiet.IsZero():
			quiet = time.Now()
		case time.Since(quiet) > logsLast:
			cancel() // something holds the end of a log
		}
		select {
		case <-ctx.Done():
			// Everything but process 1 and this one: nobody else's processes are in
			// this pid namespace.
			_ = unix.Kill(-1, unix.SIGKILL)
			return
		case <-tick.C:
		}
	}
}

// scans tells whether s6-svscan is process 1.
func scans() bool {
	comm, err := os.ReadFile("/proc/1/comm")
	return err == nil && strings.TrimSpace(string(comm)) == "s6-svscan"
}

// living tells whether an s6-supervise of a slot lives.
func living(dir s6.Scandir) bool {
	slots, err := dir.List()
	if err != nil {
		return false
	}
	for _, slot := range slots {
		if s, err := dir.State(slot); err == nil && s.Supervised() {
			return true
		}
	}
	return false
}

// longest is the longest grace of a slot, or the main program's.
func longest() time.Duration {
	most := grace()
	files, _ := filepath.Glob(filepath.Join(s6.ScanDir, "*", "timeout-kill"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if n, badly := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && badly == nil {
			most = max(most, time.Duration(n)*time.Millisecond)
		}
	}
	return most
}

// keepLease says every minute that the home has its supervisor: s6-lease HOME,
// with the lock as descriptor 3. It ends with the container.
func (a Attendant) keepLease() int {
	if len(a.Args) != 3 {
		fmt.Fprintln(a.Stderr, "✗ hermes "+BeatWord+" is started by hermes itself")
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	if err := beat(ctx, lease.Adopt(3, a.Args[2]), lease.BeatEvery, a.Stderr); err != nil {
		fmt.Fprintf(a.Stderr, "✗ the lease is not renewed any more: %v\n", err)
		return 1
	}
	return 0
}

// beat renews a lease until ctx ends or another supervisor has taken it.
func beat(ctx context.Context, l *lease.Lease, every time.Duration, stderr io.Writer) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			switch err := l.Beat(now); {
			case errors.Is(err, lease.ErrLost):
				return err
			case err != nil:
				fmt.Fprintf(stderr, "! the lease was not renewed: %v\n", err)
			}
		}
	}
}

// tool finds a tool of s6.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/command/" + name
}

// finish is process 1 after s6-svscan: it waits for the main program's end and
// exits with the container's code.
func (a Attendant) finish() int {
	pid := stopMain()
	if pid == 0 {
		return 0 // there was no main program
	}
	deadline := time.Now().Add(grace() + slack)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for time.Now().Before(deadline) && !gone(pid) {
		<-tick.C
	}
	code, err := read(exitFile)
	if err != nil {
		fmt.Fprintf(a.Stderr, "✗ nobody knows how the main program ended: %v\n", err)
		return 1
	}
	return code
}

// gone waits for children that have ended, and tells whether pid, which may be
// one of them, has.
func gone(pid int) bool {
	for {
		got, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case got == pid, errors.Is(err, unix.ECHILD):
			return true
		case got <= 0:
			return unix.Kill(pid, 0) != nil
		}
	}
}
