package s6init

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/s6"
	"hermes/internal/s6fleet"
	"hermes/internal/store"
)

// Manager is what the fleet's manager is called.
const Manager = "s6 (container supervisor)"

// stateDir is where those who stand by s6-svscan tell each other what they have
// to know. It is made anew at every boot.
const stateDir = "/run/s6/hermes"

// Files of stateDir.
const (
	mainFile  = "main"  // the process that runs the main program: its pid and start time
	exitFile  = "exit"  // the container's exit code
	graceFile = "grace" // what the main program is given between SIGTERM and SIGKILL
)

// Options is what process 1 is to become.
type Options struct {
	Home     string
	Settings config.Settings
	Environ  []string
	Self     string // the absolute path of this program
	// Identity is who gateways run as, and everything else.
	Identity config.Identity
	// Wanted, Create, By and Commands are as in [s6fleet.Boot] and
	// [census.Preparation].
	Wanted   []profile.Name
	Create   bool
	By       string
	Commands []reconcile.Command
	// Main is the container's main program at MainPath, nil for none.
	Main     []string
	MainPath string
	// OwnDashboard: the main program is the dashboard, and no second one runs.
	OwnDashboard bool
	// ZeroOnStop: being told to stop is no failure of the main program.
	ZeroOnStop bool
	// Lease is the home's lock: s6-svscan holds it from then on.
	Lease  *lease.Lease
	Stderr io.Writer
	// Stopped is closed when this process is told to stop before it is
	// s6-svscan.
	Stopped <-chan struct{}
}

// Check tells whether this process can become s6-svscan.
func Check() error {
	if os.Getpid() != 1 {
		return fault.New(fault.Usage, "cannot supervise with HERMES_ENGINE=s6: s6-svscan has to be process 1, and this is process %d", os.Getpid()).
			WithHint("leave out --init of docker run, or unset HERMES_ENGINE")
	}
	if _, err := svscan(); err != nil {
		return fault.New(fault.Usage, "cannot supervise with HERMES_ENGINE=s6: there is no s6-svscan on PATH").
			WithHint("install s6 in the image (apt-get install s6), or unset HERMES_ENGINE")
	}
	return nil
}

// Become makes this process s6-svscan. It returns only if it cannot, or if it
// was told to stop meanwhile.
func Become(o Options) error {
	log := slog.New(slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{ReplaceAttr: dropTime}))
	home, err := store.Open(o.Home)
	if err != nil {
		return err
	}
	defer home.Close()
	uid, gid := int(o.Identity.UID), int(o.Identity.GID)
	if os.Getuid() == 0 {
		home.SetOwner(uid, gid)
	}
	err = census.Prepare(home, census.Preparation{Wanted: o.Wanted, Create: o.Create, Owner: o.Identity, Container: true, Log: log})
	if err != nil {
		return err
	}
	dir := s6.Scandir{Dir: s6.ScanDir}
	if err := makeDirs(uid, gid); err != nil {
		return err
	}
	output, err := ownOutput()
	if err != nil {
		return err
	}
	if err := become(uid, gid); err != nil {
		return err
	}
	if err := errors.Join(dir.Prepare(s6.Access{Group: gid, Owner: uid}), attend(o)); err != nil {
		return unusable(err)
	}
	boot := s6fleet.Boot{
		Home: home, Scandir: dir, Settings: o.Settings, Self: o.Self, Wanted: o.Wanted, By: o.By, Commands: o.Commands,
		Dashboard: o.Settings.Dashboard && !o.OwnDashboard, Log: log,
	}
	up, err := boot.Run()
	if err != nil {
		return err
	}
	if up == 0 && len(o.Commands) == 0 { // the container's own command may be one, in the foreground
		fmt.Fprint(o.Stderr, "no gateway is wanted up\nhint: hermes gateway start default\n")
	}
	select {
	case <-o.Stopped:
		return nil
	default:
		return o.exec(output)
	}
}

// ownOutput opens standard output and error once more, for s6-svscan and what
// it starts: s6-log makes its output non-blocking, and the main program, which
// has the other descriptions, may have them as its input, too. What cannot be
// opened is used as it is.
func ownOutput() (fds [2]int, err error) {
	for i, std := range []int{1, 2} {
		var st unix.Stat_t
		if err := unix.Fstat(std, &st); err != nil {
			return fds, fault.Wrap(fault.Internal, err, "cannot use descriptor %d", std)
		}
		fds[i] = -1
		if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFIFO || kind == unix.S_IFCHR {
			fds[i], err = unix.Open("/proc/self/fd/"+strconv.Itoa(std), unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		}
		if fds[i] < 0 || err != nil {
			fds[i], err = unix.FcntlInt(uintptr(std), unix.F_DUPFD_CLOEXEC, 3)
		}
		if err != nil {
			return fds, fault.Wrap(fault.Internal, err, "cannot use descriptor %d", std)
		}
	}
	return fds, nil
}

// makeDirs makes the directories of s6 anew, for who is to be s6-svscan: plain
// Docker keeps /run over a restart, and what was in there may be anybody's.
func makeDirs(uid, gid int) error {
	run, err := os.OpenRoot(filepath.Dir(s6.ScanDir))
	if err != nil {
		return unusable(err)
	}
	defer run.Close()
	scan, base := filepath.Base(s6.ScanDir), filepath.Base(filepath.Dir(s6.BaseDir))
	for _, name := range []string{scan, base} {
		if err := run.RemoveAll(name); err != nil {
			return unusable(err)
		}
	}
	for _, name := range []string{scan, base, base + "/" + filepath.Base(s6.BaseDir), base + "/" + filepath.Base(stateDir)} {
		if err := run.Mkdir(name, 0o755); err != nil {
			return unusable(err)
		}
		if os.Getuid() != 0 {
			continue
		}
		if err := run.Lchown(name, uid, gid); err != nil {
			return unusable(err)
		}
	}
	return nil
}

// unusable is the error about a /run that s6 cannot live in.
func unusable(err error) error {
	return fault.Wrap(fault.RuntimeUnusable, err, "cannot make the directories of s6").
		WithHint("give the container a /run that uid %d can write (docker run --tmpfs /run), or unset HERMES_ENGINE", os.Getuid())
}

// become gives up root for good; it changes every thread of the process.
func become(uid, gid int) error {
	if os.Getuid() == uid && os.Getgid() == gid {
		return nil
	}
	err := syscall.Setgroups([]int{gid})
	if err == nil {
		err = syscall.Setresgid(gid, gid, gid)
	}
	if err == nil {
		err = syscall.Setresuid(uid, uid, uid)
	}
	if err != nil {
		return fault.New(fault.HomeUnusable, "cannot become uid %d, gid %d: %v", uid, gid, err).
			WithHint("start the container with --user %d:%d, or add the capabilities SETUID and SETGID", uid, gid)
	}
	return nil
}

// attend puts those into .s6-svscan who stand by.
func attend(o Options) error {
	var errs []error
	for _, name := range []string{finishName, termName, intName} {
		errs = append(errs, os.Symlink(o.Self, filepath.Join(s6.ScanDir, ".s6-svscan", name)))
	}
	grace := strconv.FormatInt(o.Settings.StopTimeout.Milliseconds(), 10)
	return errors.Join(append(errs, os.WriteFile(filepath.Join(stateDir, graceFile), []byte(grace), 0o644))...)
}

// exec executes s6-svscan, after it has started who runs the main program.
func (o Options) exec(output [2]int) error {
	path, err := svscan()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot find s6-svscan")
	}
	argv := append([]string{"s6-svscan"}, capacity(path)...)
	if o.Lease.Remote() {
		if err := o.startBeating(); err != nil {
			return err
		}
	}
	if len(o.Main) > 0 {
		ready, err := o.startMain()
		if err != nil {
			return err
		}
		argv = append(argv, "-d", strconv.Itoa(ready))
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY, 0) // what there is on standard input is the main program's
	if err == nil {
		err = unix.Dup3(null, 0, 0)
	}
	if err == nil {
		_ = unix.Close(null)
		err = errors.Join(unix.Dup3(output[0], 1, 0), unix.Dup3(output[1], 2, 0))
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(o.Lease.FD()), unix.F_SETFD, 0)
	}
	if err == nil {
		err = os.Chdir(s6.ScanDir)
	}
	if err == nil {
		err = unix.Exec(path, append(argv, s6.ScanDir), o.Environ)
	}
	return fault.Wrap(fault.Internal, err, "cannot execute %s", path)
}

// startMain starts the process that runs the main program as soon as s6-svscan
// says, through the descriptor that is returned, that it is there.
func (o Options) startMain() (ready int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(p[0])
	argv := append([]string{"hermes", MainWord, strconv.FormatBool(o.ZeroOnStop), o.MainPath}, o.Main...)
	pid, err := syscall.ForkExec(o.Self, argv, &syscall.ProcAttr{
		Env: o.Environ, Files: []uintptr{0, 1, 2, uintptr(p[0])},
	})
	birth := uint64(0)
	if err == nil {
		birth, err = process.StartTime(pid)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(stateDir, mainFile), fmt.Appendf(nil, "%d %d\n", pid, birth), 0o644)
	}
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "cannot start the main program")
	}
	_, err = unix.FcntlInt(uintptr(p[1]), unix.F_SETFD, 0)
	return p[1], err
}

// startBeating starts the process that says, where a lock does not, that the
// home has its supervisor.
func (o Options) startBeating() error {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(null)
		_, err = syscall.ForkExec(o.Self, []string{"hermes", BeatWord, o.Home}, &syscall.ProcAttr{
			Env: o.Environ, Files: []uintptr{uintptr(null), 1, 2, uintptr(o.Lease.FD())},
		})
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot start what keeps the lease of the home")
	}
	return nil
}

// svscan is the path of s6-svscan.
func svscan() (string, error) {
	path, err := exec.LookPath("s6-svscan")
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/command/", "/usr/bin/"} {
		if unix.Access(dir+"s6-svscan", unix.X_OK) == nil {
			return dir + "s6-svscan", nil
		}
	}
	return "", err
}

// maxServices is how many services s6-svscan is told to take; its own limit is
// 500, and a gateway with its log is up to two of them.
const maxServices = "4000"

// usageTime bounds the wait for a usage.
const usageTime = 5 * time.Second

// capacity is the option for that: -C, which counts loggers, or before 2.13 -c,
// which does not. The usage tells, which later versions do not print.
func capacity(path string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), usageTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-Z")
	usage, _ := cmd.CombinedOutput() // that it fails is how it tells
	if strings.Contains(string(usage), " -c ") && !strings.Contains(string(usage), " -C ") {
		return []string{"-c", maxServices}
	}
	return []string{"-C", maxServices}
}

// dropTime leaves the time to whatever reads our stderr.
func dropTime(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 && attr.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attr
}

// read is the number in a file of stateDir.
func read(name string) (int, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, name))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err)
	}
	return n, nil
}

// parseProcess reads a pid and its start time.
func parseProcess(b []byte) (pid int, birth uint64, ok bool) {
	words := strings.Fields(string(b))
	if len(words) != 2 {
		return 0, 0, false
	}
	pid, err := strconv.Atoi(words[0])
	birth, badly := strconv.ParseUint(words[1], 10, 64)
	return pid, birth, err == nil && badly == nil && pid > 1
}
