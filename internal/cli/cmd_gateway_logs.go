package cli

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"hermes/internal/fault"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// defaultLines is how much of a log is shown unless told otherwise.
const defaultLines = 50

func newGatewayLogsCmd(e *env) *cobra.Command {
	var follow bool
	var n int
	cmd := &cobra.Command{
		Use:   "logs [NAME | dashboard]",
		Short: "Show what a gateway wrote to stdout and stderr",
		Long: "Show the last lines a supervised gateway wrote to stdout and stderr, each with the UTC time it was read.\n" +
			"Where no profile is called dashboard, that is the supervised dashboard.",
		Args: takes(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 0 {
				return usage(cmd, "-n %d is negative", n)
			}
			at, err := e.place()
			if err != nil {
				return err
			}
			names, err := at.names(args)
			if err != nil {
				return err
			}
			return e.logs(cmd.Context(), at, names[0], n, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	cmd.Flags().IntVarP(&n, "lines", "n", defaultLines, "how many lines")
	return cmd
}

func (e *env) logs(ctx context.Context, at place, name profile.Name, n int, follow bool) error {
	r := logfile.Reading{Dir: logDir(at.home, name), Slot: name.Slot(), Lines: n, Follow: follow}
	err := e.log(ctx, r)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = e.noLog(at, name)
	if !meansDashboard(name, err) {
		return err
	}
	r.Dir, r.Slot = dashboardLogDir(at.home), profile.DashboardSlot
	if err = e.log(ctx, r); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unreadable, "the dashboard has no log yet: it never ran under a supervisor").
			WithHint("%s why dashboard", e.base())
	}
	return err
}

// log shows a log; that there is none is fs.ErrNotExist.
func (e *env) log(ctx context.Context, r logfile.Reading) error {
	err := logfile.Show(ctx, r, func(line string) error {
		e.printf("%s\n", line)
		return e.out.err
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to end: that is how following ends
	}
	return err
}

// noLog says why there is nothing to show.
func (e *env) noLog(at place, name profile.Name) error {
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return err
	}
	defer home.Close()
	p, err := home.Profile(name)
	if err != nil {
		return err
	}
	_ = p.Close()
	return fault.New(fault.Unreadable, "%s has no log yet: it never ran under a supervisor", name.Slot()).
		WithHint("%s gateway status %s", e.base(), name)
}
