package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

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
		Use:   "logs [NAME]",
		Short: "Show what a gateway wrote to stdout and stderr",
		Long:  "Show the last lines a supervised gateway wrote to stdout and stderr, each with the UTC time it was read.",
		Args:  takes(0, 1, ""),
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
	dir := logDir(at.home, name)
	var err error
	if follow {
		err = logfile.Follow(ctx, dir, n, e.logLine)
	} else {
		err = e.lastLogLines(dir, n)
	}
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // told to end: that is how following ends
	case errors.Is(err, fs.ErrNotExist):
		return e.noLog(at, name)
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unreadable, err, "cannot read the log of %s", name.Slot()).
			WithHint("run it as root, or as the owner of %s", dir)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return noDirectory(name, dir, err)
	}
	return err
}

// noDirectory is the error about a log that is not where it is kept: links are
// not followed there.
func noDirectory(name profile.Name, dir string, err error) error {
	for _, path := range []string{dir, filepath.Join(dir, "current")} {
		if st, lstatErr := os.Lstat(path); lstatErr == nil && st.Mode()&fs.ModeSymlink != 0 {
			f := fault.New(fault.Unreadable, "cannot read the log of %s: %s is a symbolic link", name.Slot(), path)
			f.Err = err
			return f.WithHint("rm %s", path)
		}
	}
	return fault.Wrap(fault.Unreadable, err, "cannot read the log of %s", name.Slot()).WithHint("ls -ld %s", dir)
}

func (e *env) lastLogLines(dir string, n int) error {
	lines, err := logfile.Tail(dir, n)
	for _, line := range lines {
		if err := e.logLine(line); err != nil {
			return err
		}
	}
	return err
}

func (e *env) logLine(line string) error {
	e.printf("%s\n", logfile.Printable(line))
	return e.out.err
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
