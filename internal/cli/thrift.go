package cli

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hermes/internal/machine"
)

// A command that answers and ends runs in a container whose pids limit its
// gateways may have used up but for a few, and the Go runtime throws when it
// cannot have a thread. So it does without what makes threads: collections of a
// heap that is gone in a moment, caught signals (three threads; an interrupted
// command has nothing to take back) and, where it does many things at once,
// processors beyond one. Where it does one thing it has as few threads with many
// processors, and to give them up would be a sixth of its start: what they keep
// at hand is put back, page by page.
const thriftyGC = 1600 // percent: the first collection comes at 64 MB

// need is what a process is about to do.
type need uint8

const (
	oneThing   need = iota // then it ends
	manyThings             // at once; then it ends
	longLife               // as a process of the fleet
)

// A process that stays has about a thread per processor: on a machine with many
// that alone would use up a small pids limit.
const (
	smallPIDs = 1024
	fewProcs  = 4
)

// beThrifty is for the rest of the process's life.
func beThrifty(n need) {
	switch n {
	case oneThing:
		debug.SetGCPercent(thriftyGC)
	case manyThings:
		runtime.GOMAXPROCS(1)
	case longLife:
		limit := machine.Limits(os.Getpid()).PIDs
		if limit > 0 && limit < smallPIDs && runtime.GOMAXPROCS(0) > fewProcs {
			runtime.GOMAXPROCS(fewProcs) // the keeper has its own number
		}
	}
}

// livesLong marks a command that is a process of the fleet, not a command
// about it.
const livesLong = "lives-long"

func longLived() map[string]string { return map[string]string{livesLong: ""} }

// settle makes the process fit for the command it is about to carry out.
func (e *env) settle(cmd *cobra.Command) {
	n := oneThing
	if _, long := cmd.Annotations[livesLong]; long {
		n = longLife
	}
	e.expect(n)
}

// expect makes the process fit for what comes.
func (e *env) expect(n need) {
	if e.thrift != nil {
		e.thrift(n)
	}
}

// interruptible is the context of a command that has something to end in order
// when it is told to stop, or that may be PID 1, which is spared what ends other
// processes. It ends with SIGINT and SIGTERM.
func interruptible(cmd *cobra.Command) (ctx context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
}
