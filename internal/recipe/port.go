package recipe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/process"
	"hermes/internal/profile"
)

// lookupTime bounds the look-up of a host's name.
const lookupTime = 5 * time.Second

// checkPort refuses a start whose port something else listens on, and names
// what it is.
func (in Input) checkPort(ctx context.Context, name profile.Name, host string, port int) error {
	if in.PortOwner != nil {
		if owner, ok := in.PortOwner(name, port); ok {
			return portTaken(port, fmt.Sprintf("profile '%s' has it and is running", owner), name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, unix.EADDRINUSE):
		return portTaken(port, process.Listener(port), name)
	}
	return nil // the gateway itself says it better
}

func portTaken(number int, owner string, name profile.Name) error {
	return fault.New(fault.PortTaken, "cannot start %s: port %d is taken: %s", name.Slot(), number, owner).
		WithHint("set gateway.port of profile '%s' to another one, or stop what has it", name)
}
