package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/s6fleet"
	"hermes/internal/s6init"
	"hermes/internal/stray"
)

// exitInterrupted is what a shell reports for a program ended by Ctrl-C.
const exitInterrupted = 128 + int(unix.SIGINT)

// Main runs hermes with the process's arguments and returns its exit status.
// It is the one switch between the binary's roles: under the name "init" it is
// the container's entry point, else the first words of args choose.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	if len(args) > 1 && args[1] == stray.Command { // a helper of the engine's, which costs as little as can be
		return stray.Main(args[2:], stdout, stderr)
	}
	if len(args) > 0 && s6init.IsAttendant(args) {
		return s6init.Attendant{Args: args, Environ: os.Environ(), Stderr: stderr}.Main()
	}
	e := newEnv(stdin, stdout, stderr)
	if len(args) > 0 && s6fleet.IsApplet(args) {
		return e.applet(args)
	}
	e.thrift = beThrifty
	return e.main(args)
}

func (e *env) main(args []string) int {
	var words []string
	if len(args) > 0 {
		words = args[1:]
		if filepath.Base(args[0]) == "init" {
			words = append([]string{"init"}, words...)
		}
	}
	code := e.run(context.Background(), words)
	if err := e.out.err; err != nil && code == fault.ExitOK && !errors.Is(err, unix.EPIPE) {
		return e.render(fault.Wrap(fault.Internal, err, "cannot write the result"))
	}
	return code
}

// run executes one command line and renders its error.
func (e *env) run(ctx context.Context, words []string) int {
	defer e.seam.leave()
	root := newRootCmd(e)
	root.SetArgs(words)
	return e.finish(root.ExecuteContext(ctx))
}

// finish renders how a command ended. One that was interrupted needs no
// explanation.
func (e *env) finish(err error) int {
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return e.render(err)
}
