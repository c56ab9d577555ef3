package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hermes/internal/profile"
)

// Labels of who supervises, as `status` shows them.
const (
	managerContainer = "native (container supervisor)"
	managerHost      = "native (host supervisor)"
)

// newUpCmd supervises a home on a host.
func newUpCmd(e *env) *cobra.Command {
	var create, takeOver bool
	cmd := &cobra.Command{
		Use:   "up [PROFILE…]",
		Short: "Supervise the home here, in the foreground",
		Long: "Supervise every gateway of the home until SIGTERM or Ctrl-C. The profiles named get the intent running;\n" +
			"all others come back as they were left.",
		Annotations: longLived(),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.upRequest(args)
			if err != nil {
				return err
			}
			s.engine.create, s.takeOver = create, takeOver
			ctx, stop := interruptible(cmd)
			defer stop()
			s.stop = ctx.Done()
			code, err := e.supervise(s)
			if err != nil {
				return err
			}
			return exitWith(code)
		},
	}
	cmd.Flags().BoolVar(&create, "create", false, "create the profiles named that do not exist")
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "take a home on a network file system from a machine that is gone")
	return cmd
}

// upRequest is what `up` with these words asks for.
func (e *env) upRequest(args []string) (superviseRequest, error) {
	at, err := e.place()
	if err != nil {
		return superviseRequest{}, err
	}
	var wanted []profile.Name
	switch {
	case len(args) > 0:
		if wanted, err = at.names(args); err != nil {
			return superviseRequest{}, err
		}
	case at.chosen:
		wanted = []profile.Name{at.profile}
	}
	return superviseRequest{
		home: at.home,
		engine: engineFlags{
			manager: managerHost, wanted: wanted, by: fmt.Sprintf("up uid %d", os.Getuid()),
		},
	}, nil
}
