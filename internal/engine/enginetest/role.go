package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/keeper"
	"hermes/internal/wire"
)

const (
	roleEnv   = "ENGINETEST_ROLE"
	keeperEnv = "ENGINETEST_KEEPER"
)

// keeperRole is what a keeper's process is told.
type keeperRole struct {
	Runtime, EnginePath  string
	MainZeroOnStop, PID1 bool
	Unprivileged         bool
	RenewPath            string
	DropKill             bool
	SharedTable          bool
	UpWithin             time.Duration
	Hold                 string
}

// Roles is the first thing in the TestMain of a package that uses
// [StartKeeper]: in a process that was started as a keeper or an engine it is
// that, and does not return.
func Roles() {
	if a := os.Args; len(a) == 8 && a[2] == "--signal" { // a helper has no environment
		os.Exit(runSignal([]string{a[3], a[5], a[7]}))
	}
	switch os.Getenv(roleEnv) {
	case "keeper":
		os.Exit(runKeeper())
	case "engine":
		os.Exit(runEngine())
	case "limit":
		os.Exit(runLimit())
	}
}

func runKeeper() int {
	var role keeperRole
	if err := json.Unmarshal([]byte(os.Getenv(keeperEnv)), &role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(os.Args) > 1 && os.Args[1] == "--check" {
		return 0
	}
	if role.DropKill {
		if code, done := withoutKill(); done {
			return code
		}
	}
	if role.SharedTable {
		if err := forbidTables(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot forbid calls:", err)
			return 1
		}
	}
	if role.PID1 && len(os.Args) == 1 {
		if err := ownProc(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot mount /proc:", err)
			return 1
		}
	}
	if role.Unprivileged {
		if err := dropPrivileges(role.Runtime); err != nil {
			fmt.Fprintln(os.Stderr, "cannot become nobody:", err)
			return 1
		}
	}
	path := role.EnginePath
	if path == "" {
		path = "/proc/self/exe"
	}
	o := keeper.Options{
		Runtime: role.Runtime, EngineArgv: []string{path, "engine"}, EngineEnv: engineEnv(),
		Listener: 3, Lease: 4, MainZeroOnStop: role.MainZeroOnStop, Stderr: os.Stderr, UpWithin: role.UpWithin,
	}
	if role.RenewPath != "" {
		o.Renew = []string{role.RenewPath}
	}
	if len(os.Args) > 2 && os.Args[1] == "--estate" {
		fd, err := strconv.Atoi(os.Args[2])
		if err == nil {
			o.Estate, err = wire.ReceiveEstate(fd)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		o.Listener, o.Lease = o.Estate.Listener, o.Estate.Lease
		ctx, release := signal.NotifyContext(context.Background(), unix.SIGTERM) // as in package cli
		defer release()
		role.hold()
		o.Stop = ctx.Done()
	}
	return keeper.Run(o)
}

// hold makes a successor wait, if its test wants to know what it misses.
func (r keeperRole) hold() {
	if r.Hold == "" {
		return
	}
	if err := os.WriteFile(r.Hold+".waits", nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); time.Now().Before(end); <-tick.C {
		if _, err := os.Stat(r.Hold); err == nil {
			return
		}
	}
}

// withoutKill runs this process anew without CAP_KILL, which root has else.
func withoutKill() (code int, done bool) {
	const kill = unix.CAP_KILL
	if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, kill, 0, 0, 0); err != nil || has == 0 {
		return 0, false
	}
	runtime.LockOSThread() // the bounding set is a thread's
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, kill, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	fmt.Fprintln(os.Stderr, syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	return 1, true
}

// runSignal is a keeper's helper.
func runSignal(args []string) int {
	var sig, to int
	var birth uint64
	if _, err := fmt.Sscan(strings.Join(args, " "), &sig, &to, &birth); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := keeper.SignalAs(unix.Signal(sig), to, birth); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ownProc mounts a /proc that shows this process's pid namespace.
func ownProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// nobody is the uid and gid of nobody.
const nobody = 65534

// dropPrivileges makes this process nobody, and dir nobody's.
func dropPrivileges(dir string) error {
	return errors.Join(
		os.Chown(dir, nobody, nobody),
		syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody),
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0), // or its /proc would be root's
	)
}

func engineEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, roleEnv+"=") {
			env = append(env, kv)
		}
	}
	return append(env, roleEnv+"=engine")
}

// runEngine hands the connection to whoever asks at the control socket, and
// stays until told to leave.
func runEngine() int {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return 1
	}
	for {
		ctl, _, err := unix.Accept4(keeper.FDListener, unix.SOCK_CLOEXEC)
		if err != nil {
			continue // whoever asked has left
		}
		pid := []byte(strconv.Itoa(os.Getpid()))
		err = unix.Sendmsg(ctl, pid, unix.UnixRights(keeper.FDConn), nil, unix.MSG_NOSIGNAL)
		if err != nil {
			_ = unix.Close(ctl)
			continue
		}
		_ = unix.Close(keeper.FDConn) // its end is the end of the other's copy
		for {
			n, err := unix.Read(ctl, make([]byte, 16))
			if n > 0 {
				return 0
			}
			if err == nil {
				_ = unix.Pause() // until the keeper notices, or the test kills
			}
		}
	}
}

// Limit is a run that takes from its parent, the keeper, the right to another
// process or thread, says so on its output, and gives it back on SIGTERM.
func Limit(slot string) engine.Spec {
	return engine.Spec{
		Slot: slot, Path: "/proc/self/exe", Argv: []string{"limit"}, Env: []string{roleEnv + "=limit"},
		Plan: engine.Plan{Signal: unix.SIGTERM, Grace: time.Second},
	}
}

func runLimit() int {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	var before unix.Rlimit
	if err := unix.Prlimit(os.Getppid(), unix.RLIMIT_NPROC, nil, &before); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := unix.Prlimit(os.Getppid(), unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: before.Max}, nil); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("limited")
	<-asked
	if err := unix.Prlimit(os.Getppid(), unix.RLIMIT_NPROC, &before, nil); err != nil {
		return 1
	}
	return 0
}
