package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hermes/internal/app"
	"hermes/internal/fault"
	"hermes/internal/keeper"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/wire"
)

// engineFlags is what a keeper's process tells its engines on their command
// line: the same for each, so that any of them can take the place of another.
type engineFlags struct {
	home, runtime, manager string
	container              bool
	wanted                 []profile.Name
	create                 bool
	by                     string
	command                string // the profile the container's command runs
	foreground             bool   // it runs it unsupervised
	ownDashboard           bool   // the container's command is the dashboard
	mainPath               string
	main                   []string
}

// args is the inverse of newEngineCmd's parsing.
func (f engineFlags) args() []string {
	args := []string{"--home", f.home, "engine", "--runtime", f.runtime, "--manager", f.manager, "--by", f.by}
	for _, n := range f.wanted {
		args = append(args, "--wanted", string(n))
	}
	for name, on := range map[string]bool{"--container": f.container, "--create": f.create, "--foreground": f.foreground, "--own-dashboard": f.ownDashboard} {
		if on {
			args = append(args, name)
		}
	}
	if f.command != "" {
		args = append(args, "--command", f.command)
	}
	if len(f.main) > 0 {
		args = append(append(args, "--main", f.mainPath, "--"), f.main...)
	}
	return args
}

// newEngineCmd is the engine: started by the keeper, never by a person.
func newEngineCmd(e *env) *cobra.Command {
	var f engineFlags
	var wanted []string
	cmd := &cobra.Command{
		Use:         "engine",
		Short:       "The engine; the keeper starts it",
		Hidden:      true,
		Annotations: longLived(),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.main = args
			for _, w := range wanted {
				f.wanted = append(f.wanted, profile.Name(w))
			}
			return e.engine(f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.runtime, "runtime", "", "the keeper's runtime directory")
	flags.StringVar(&f.manager, "manager", managerHost, "who supervises, for people")
	flags.BoolVar(&f.container, "container", false, "this is a container's supervisor")
	flags.StringArrayVar(&wanted, "wanted", nil, "a profile whose intent becomes running")
	flags.BoolVar(&f.create, "create", false, "create wanted profiles")
	flags.StringVar(&f.by, "by", "", "who wants them")
	flags.StringVar(&f.command, "command", "", "the profile the container's command runs")
	flags.BoolVar(&f.foreground, "foreground", false, "it runs it unsupervised")
	flags.BoolVar(&f.ownDashboard, "own-dashboard", false, "the container's command is the dashboard")
	flags.StringVar(&f.mainPath, "main", "", "the main program's path")
	return cmd
}

func (e *env) engine(f engineFlags) error {
	if f.runtime == "" {
		return fault.New(fault.Usage, "hermes engine is started by hermes itself").WithHint("hermes up")
	}
	at, err := e.place()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	var commands []reconcile.Command
	if f.command != "" {
		commands = append(commands, reconcile.Command{Profile: profile.Name(f.command), Foreground: f.foreground})
	}
	listener, held, err := duplicates()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot keep what the keeper gave")
	}
	outliveReaders()
	// SIGTERM asks the engine alone to leave; the keeper then starts the next.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	err = app.Run(ctx, app.Options{
		Home: at.home, Runtime: f.runtime, Settings: e.settings, Environ: e.environ, Self: self,
		Manager: f.manager, Version: e.build.Version, Container: f.container,
		Identity: e.fleetIdentity(at.home, f.container),
		Wanted:   f.wanted, Create: f.create, By: f.by,
		Main: f.main, MainPath: f.mainPath, Commands: commands, OwnDashboard: f.ownDashboard,
		Conn: keeper.FDConn, Listener: keeper.FDListener, Lease: keeper.FDLease,
		Stdout: os.Stdout, Stderr: e.err, Address: e.address,
	})
	if o, ok := errors.AsType[*app.OrphanedError](err); ok {
		o.Estate.Listener, o.Estate.Lease = listener, held
		o.Estate.MainZeroOnStop = f.command != "" && !f.foreground
		return e.takeOver(o.Estate, at.home, self)
	}
	return err
}

// outliveReaders keeps Go from dying of SIGPIPE on stdout and stderr: who read
// there may have left.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }

// duplicates are the engine's own of the control socket and the lease, for the
// case that it has to take the keeper's place.
func duplicates() (listener, held int, err error) {
	listener, err = unix.FcntlInt(keeper.FDListener, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, -1, err
	}
	held, err = unix.FcntlInt(keeper.FDLease, unix.F_DUPFD_CLOEXEC, 3)
	return listener, held, err
}

// takeOver makes this process the keeper: the one it had is gone, and what that
// left runs on. It returns only if that fails.
func (e *env) takeOver(estate *wire.Estate, home, self string) error {
	fmt.Fprintf(e.err, "hermes: the keeper is gone, process %d takes its place with %d runs\n", os.Getpid(), len(estate.Runs))
	for _, arg := range os.Args {
		estate.EngineArgv = append(estate.EngineArgv, []byte(arg))
	}
	fd, err := estate.Pass()
	if err == nil {
		argv := append(keeperArgs(self, home), "--estate", strconv.Itoa(fd))
		err = syscall.Exec("/proc/self/exe", argv, os.Environ()) // this very binary, whatever is at its path by now
	}
	return fault.Wrap(fault.NoSupervisor, err, "the keeper is gone, and this engine cannot take its place").
		WithHint("%s up ends what still runs and starts it again", e.base())
}
