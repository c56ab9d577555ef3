package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/keeper"
	"hermes/internal/lease"
	"hermes/internal/runtimedir"
	"hermes/internal/wire"
)

// keeperArgs is the command of a keeper that succeeds another, without what it
// succeeds to.
func keeperArgs(self, home string) []string { return []string{self, "--home", home, "keeper"} }

// newKeeperCmd is what a keeper, or an engine whose keeper was killed, executes
// in its own process; and what a keeper forks to signal as another uid.
func newKeeperCmd(e *env) *cobra.Command {
	var f struct {
		check  int
		estate int
		signal int
		to     int
		birth  uint64
	}
	cmd := &cobra.Command{
		Use:    "keeper",
		Short:  "The keeper's successor; hermes starts it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.check > 0:
				return e.checkSuccessor(f.check)
			case f.signal > 0:
				err := keeper.SignalAs(unix.Signal(f.signal), f.to, f.birth)
				if err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended meanwhile
					return fault.Wrap(fault.Internal, err, "cannot signal process %d", f.to)
				}
				return nil
			case f.estate > 2:
				ctx, stop := interruptible(cmd)
				defer stop()
				code, err := e.succeed(f.estate, ctx.Done())
				if err != nil {
					return err
				}
				return exitWith(code)
			}
			return fault.New(fault.Usage, "hermes keeper is started by hermes itself").WithHint("hermes up")
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.check, "check", 0, "say whether this binary can succeed to an estate of this version")
	flags.IntVar(&f.estate, "estate", 0, "the descriptor of what the predecessor left")
	flags.IntVar(&f.signal, "signal", 0, "send this signal")
	flags.IntVar(&f.to, "to", 0, "to this process, or minus this to the group it leads")
	flags.Uint64Var(&f.birth, "born", 0, "if it started then")
	return cmd
}

// checkSuccessor is what a keeper asks before it executes this binary: afterwards
// an error would end it.
func (e *env) checkSuccessor(estateVersion int) error {
	if _, err := e.place(); err != nil {
		return err
	}
	if _, err := os.Executable(); err != nil {
		return fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	if estateVersion != wire.EstateVersion {
		return fault.New(fault.Internal, "cannot succeed to an estate of version %d: this binary knows %d", estateVersion, wire.EstateVersion)
	}
	return nil
}

// succeed is the keeper in the place of another one.
func (e *env) succeed(estate int, stop <-chan struct{}) (int, error) {
	outliveReaders()
	at, err := e.place()
	if err != nil {
		return 0, err
	}
	left, err := wire.ReceiveEstate(estate)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "cannot take the place of another keeper")
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	_ = os.WriteFile("/proc/self/comm", []byte("hermes"), 0) // for ps: it may have been executed by another name
	held := lease.Adopt(left.Lease, at.home)
	if rec := held.Record(); rec.PID != os.Getpid() {
		rec.PID, rec.Since = os.Getpid(), e.now().UTC()
		if err := held.Update(rec); err != nil {
			fmt.Fprintf(e.err, "warning: the lease names a keeper that is gone: %v\n", err)
		}
		swept, err := keeper.SweepUnknown(left)
		e.printSwept(swept)
		if err != nil {
			fmt.Fprintf(e.err, "warning: %v\n", err) // the slot's start fails, and says so
		}
	}
	if _, err := runtimedir.Lock(string(left.Runtime)); err != nil { // held until this process ends
		fmt.Fprintf(e.err, "warning: %v\n", err)
	}
	argv := make([]string, len(left.EngineArgv))
	for i, arg := range left.EngineArgv {
		argv[i] = string(arg)
	}
	return e.keep(held, keeper.Options{
		Runtime: string(left.Runtime), EngineArgv: argv, Listener: left.Listener,
		MainZeroOnStop: left.MainZeroOnStop, Estate: left, Stop: stop, Renew: keeperArgs(self, at.home),
	}), nil
}
