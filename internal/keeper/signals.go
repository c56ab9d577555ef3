package keeper

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// signals are the channels of what the keeper is told from outside. All signals
// are caught before the first fork: Go's PID 1 would die of seven of them.
type signals struct {
	child, stop, renew chan os.Signal
	other              chan os.Signal // never read: a caught signal kills nobody
}

func newSignals() signals {
	return signals{
		child: make(chan os.Signal, 1), stop: make(chan os.Signal, 4),
		renew: make(chan os.Signal, 1), other: make(chan os.Signal, 1),
	}
}

func (s signals) catch() {
	signal.Notify(s.other)
	signal.Notify(s.child, unix.SIGCHLD)
	signal.Notify(s.stop, unix.SIGTERM, unix.SIGINT)
	signal.Notify(s.renew, unix.SIGHUP)
}

func (s signals) release() {
	for _, c := range []chan os.Signal{s.child, s.stop, s.renew, s.other} {
		signal.Stop(c)
	}
}

// ignore makes this process deaf to what would kill it until its successor
// catches signals: exec keeps what is ignored, and undoes what is caught. (It
// keeps what is blocked, too, but Go unblocks before it can catch.)
func (s signals) ignore() {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGPIPE)
}
