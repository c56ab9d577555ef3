package enginetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/keeper"
	"hermes/internal/testkit"
	"hermes/internal/wire"
)

// KeeperOptions say what keeper [StartKeeper] starts.
type KeeperOptions struct {
	PID1           bool   // as PID 1 of a pid namespace of its own
	Runtime        string // "" makes one
	EnginePath     string // "" is the test binary
	MainZeroOnStop bool
	TTY            *os.File      // its stdin and controlling terminal
	Unprivileged   bool          // as nobody, if the test is root
	RenewPath      string        // the binary SIGHUP makes it take up, "" for none
	DropKill       bool          // without CAP_KILL
	SharedTable    bool          // where no thread can have a descriptor table of its own
	UpWithin       time.Duration // [keeper.Options.UpWithin]
	Hold           string        // a successor makes this file with ".waits" after it, and waits until this is there
	GCTrace        bool          // its collections are in its output, see GODEBUG of package runtime
	Estate         *wire.Estate  // what it begins with; its descriptors, listener and lease are the caller\'s or -1
}

// Keeper is a real keeper in a process of its own. Its engine is a process
// that hands its connection to whoever calls [Keeper.Connect], so that a test
// is the engine while the process can be killed.
type Keeper struct {
	Runtime string
	PID     int // as seen from the test

	address string
	stderr  *output
	cmd     *exec.Cmd
	ended   chan struct{}
}

// Engine is the process of an engine whose connection the test has.
type Engine struct {
	FD  int // the connection to the keeper; the caller's
	PID int // in the keeper's pid namespace
	ctl *net.UnixConn
}

// StartKeeper starts a keeper and ends it with the test. The test's TestMain
// must call [Roles] first. A kernel that allows no namespaces skips the test.
func StartKeeper(t testing.TB, o KeeperOptions) *Keeper {
	t.Helper()
	if o.Runtime == "" {
		o.Runtime = shortDir(t)
	}
	k := &Keeper{
		Runtime: o.Runtime, address: filepath.Join(shortDir(t), "control"),
		stderr: new(output), ended: make(chan struct{}),
	}
	control, err := net.ListenUnix("unix", &net.UnixAddr{Name: k.address, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	control.SetUnlinkOnClose(false)
	listener, err := control.File()
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	lease, err := os.Create(filepath.Join(t.TempDir(), "lease"))
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	k.cmd = o.command(t)
	k.cmd.ExtraFiles = []*os.File{listener, lease}
	if o.Estate != nil {
		k.inherit(t, *o.Estate)
	}
	if o.TTY == nil {
		k.cmd.Stdout, k.cmd.Stderr = k.stderr, k.stderr
	}
	if err := k.cmd.Start(); err != nil {
		if o.PID1 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL)) {
			testkit.Unavailable(t, "this system allows no pid namespace: %v", err)
		}
		t.Fatal(err)
	}
	k.PID = k.cmd.Process.Pid
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	t.Cleanup(func() { k.cleanup(t) })
	return k
}

// inherit gives the keeper's process an estate and the descriptors it names.
func (k *Keeper) inherit(t testing.TB, left wire.Estate) {
	t.Helper()
	const first = 3 // of ExtraFiles in the child
	pass := func(fd int, name string) int {
		if fd < 0 {
			return -1
		}
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, first)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), name)
		t.Cleanup(func() { _ = f.Close() })
		k.cmd.ExtraFiles = append(k.cmd.ExtraFiles, f)
		return first + len(k.cmd.ExtraFiles) - 1
	}
	left.Version, left.Listener, left.Lease = wire.EstateVersion, first, first+1
	left.EngineArgv = [][]byte{[]byte("/proc/self/exe"), []byte("engine")}
	left.Runs = slices.Clone(left.Runs)
	for i := range left.Runs {
		r := &left.Runs[i]
		r.LogFD, r.NotifyFD, r.LockFD = pass(r.LogFD, "log"), pass(r.NotifyFD, "notify"), pass(r.LockFD, "lock")
	}
	b, err := json.Marshal(left)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "estate")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	k.cmd.Args = append(k.cmd.Args, "--estate", strconv.Itoa(pass(fd, "estate")))
}

// command is the keeper's process, without what it inherits.
func (o KeeperOptions) command(t testing.TB) *exec.Cmd {
	t.Helper()
	role, err := json.Marshal(keeperRole{
		Runtime: o.Runtime, EnginePath: o.EnginePath, MainZeroOnStop: o.MainZeroOnStop,
		PID1: o.PID1, Unprivileged: o.Unprivileged && os.Geteuid() == 0,
		RenewPath: o.RenewPath, DropKill: o.DropKill, SharedTable: o.SharedTable, UpWithin: o.UpWithin, Hold: o.Hold,
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable(t))
	cmd.Args[0] = "keeper"
	cmd.Env = append(os.Environ(), roleEnv+"=keeper", keeperEnv+"="+string(role),
		"GORACE=atexit_sleep_ms=0") // a race build would take a second to exit
	if o.GCTrace {
		cmd.Env = append(cmd.Env, "GODEBUG=gctrace=1")
	}
	// Whatever is left of the keeper's children may hold its stderr.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM}
	if o.TTY != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = o.TTY, o.TTY, o.TTY
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: unix.SIGTERM}
	}
	if o.PID1 {
		namespaces(cmd.SysProcAttr)
	}
	return cmd
}

// namespaces asks for a pid namespace, and as an ordinary user for the user
// namespace that allows it.
func namespaces(attr *syscall.SysProcAttr) {
	attr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS
	if os.Geteuid() == 0 {
		return
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// cleanup ends the keeper and what it runs.
func (k *Keeper) cleanup(t testing.TB) {
	for range 2 {
		_ = k.Signal(unix.SIGTERM) // the second one kills
	}
	select {
	case <-k.ended:
	case <-time.After(deadline):
		t.Errorf("the keeper did not end")
		_ = k.Signal(unix.SIGKILL)
		<-k.ended
	}
	if _, err := keeper.Sweep(k.Runtime); err != nil {
		t.Errorf("Sweep: %v", err)
	}
	if out := k.Output(); t.Failed() && out != "" {
		t.Logf("the keeper and its engines said:\n%s", out)
	}
}

// Signal signals the keeper.
func (k *Keeper) Signal(sig unix.Signal) error { return k.cmd.Process.Signal(sig) }

// Wait waits for the keeper's end and returns its exit code, -1 for a signal.
func (k *Keeper) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-k.ended:
	case <-time.After(deadline):
		t.Fatal("the keeper did not end")
	}
	return k.cmd.ProcessState.ExitCode()
}

// Ended reports whether the keeper has ended.
func (k *Keeper) Ended() bool {
	select {
	case <-k.ended:
		return true
	default:
		return false
	}
}

// Output is what the keeper and its engines wrote so far.
func (k *Keeper) Output() string { return k.stderr.String() }

// Connect waits for the present engine, or the next, and takes its connection.
func (k *Keeper) Connect(t testing.TB) *Engine {
	t.Helper()
	ctl, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: k.address, Net: "unix"})
	if err != nil {
		t.Fatalf("cannot reach the control socket: %v", err)
	}
	t.Cleanup(func() { _ = ctl.Close() })
	if err := ctl.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	buf, oob := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := ctl.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatalf("no engine answers: %v", err)
	}
	pid, err := strconv.Atoi(string(buf[:n]))
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("the engine sent no connection: %v", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		t.Fatal(err)
	}
	return &Engine{FD: fds[0], PID: pid, ctl: ctl}
}

// Leave makes the engine's process exit with code 0.
func (e *Engine) Leave(t testing.TB) {
	t.Helper()
	if _, err := e.ctl.Write([]byte("leave")); err != nil {
		t.Fatal(err)
	}
}

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Processes lists the children of pid with the state of each ("Z" is a
// zombie).
func Processes(t testing.TB, parent int) map[int]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]string)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, ppid int
		var state string
		after := b[bytes.LastIndexByte(b, ')')+1:]
		if _, err := fmt.Sscan(string(after), &state, &ppid); err != nil || ppid != parent {
			continue
		}
		if _, err := fmt.Sscan(string(b), &pid); err == nil {
			found[pid] = state
		}
	}
	return found
}

// Stop stops the engine's process as SIGSTOP does; the connection, which the
// test has, is silent if the test is.
func (e *Engine) Stop(t testing.TB) {
	t.Helper()
	if err := unix.Kill(e.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}
