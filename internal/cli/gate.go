package cli

import (
	"hermes/internal/config"
	"hermes/internal/profile"
)

// mode is what `hermes gateway run` does.
type mode int

const (
	// foreground runs the gateway here, in place of this process; its exit code
	// is the command's. So said by the operator, or there is no supervisor.
	foreground mode = iota + 1
	// child is foreground too: a supervisor started this process.
	child
	// redirected starts the slot and waits; the supervisor runs the gateway. The
	// exit code is that of the wait, 0 on a stop asked for from outside, never
	// the gateway's: a supervised gateway may come and go without taking the
	// container with it. Who wants its exit code says --no-supervise.
	redirected
	// refused: on a host, where a supervisor runs this gateway already.
	refused
)

// supervision is what can be found out about a supervisor of this home.
type supervision int

const (
	supervisionNone      supervision = iota // nothing supervises this home
	supervisionContainer                    // the supervisor of the container we are in
	supervisionHost                         // a host's, and this gateway is not running
	supervisionHostRuns                     // a host's, and it runs this gateway
)

// runInputs is all that decides the mode of `gateway run`.
type runInputs struct {
	Profile profile.Name
	// NoSupervise is the flag; Settings has the variables.
	NoSupervise bool
	Settings    config.Settings
	// Detect looks for a supervisor. It is called only once no gate has
	// decided, since it may block and fail.
	Detect func() (supervision, error)
}

// runMode passes the gates in their order. The error is Detect's.
func runMode(in runInputs) (mode, error) {
	if in.NoSupervise {
		return foreground, nil
	}
	if in.Settings.NoSupervise {
		return foreground, nil
	}
	if in.isChild() {
		return child, nil
	}
	found, err := in.Detect()
	if err != nil {
		return 0, err
	}
	switch found {
	case supervisionContainer:
		return redirected, nil
	case supervisionHostRuns:
		return refused, nil
	case supervisionNone, supervisionHost:
	}
	return foreground, nil
}

// isChild reports that a supervisor started this very gateway. A tool that a
// gateway starts inherits its variables; HERMES_SUPERVISED_CHILD says for which
// profile they hold, so that `hermes -p other gateway run` is no child.
func (in runInputs) isChild() bool {
	if named := in.Settings.SupervisedChild; named != "" {
		return named == string(in.Profile)
	}
	return in.Settings.S6SupervisedChild
}
