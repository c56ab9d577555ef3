package cli

import (
	"context"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hermes/internal/app"
	"hermes/internal/fault"
	"hermes/internal/keeper"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
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
	mainPath               string
	main                   []string
}

// args is the inverse of newEngineCmd's parsing.
func (f engineFlags) args() []string {
	args := []string{"--home", f.home, "engine", "--runtime", f.runtime, "--manager", f.manager, "--by", f.by}
	for _, n := range f.wanted {
		args = append(args, "--wanted", string(n))
	}
	for name, on := range map[string]bool{"--container": f.container, "--create": f.create, "--foreground": f.foreground} {
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
		Use:    "engine",
		Short:  "The engine; the keeper starts it",
		Hidden: true,
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
	// SIGTERM asks the engine alone to leave; the keeper then starts the next.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	return app.Run(ctx, app.Options{
		Home: at.home, Runtime: f.runtime, Settings: e.settings, Environ: e.environ, Self: self,
		Manager: f.manager, Version: e.build.Version, Container: f.container,
		Identity: e.fleetIdentity(at.home, f.container),
		Wanted:   f.wanted, Create: f.create, By: f.by,
		Main: f.main, MainPath: f.mainPath, Commands: commands,
		Conn: keeper.FDConn, Listener: keeper.FDListener, Lease: keeper.FDLease,
		Stdout: os.Stdout, Stderr: e.err, Address: e.address,
	})
}
