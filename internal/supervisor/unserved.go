package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/process"
)

// Unserved shows that nobody can watch the fleet at addr, host:port of
// HERMES_HTTP_ADDR, and why; with a nil error, that they can. The fleet does not
// depend on it.
func (f *Fleet) Unserved(addr string, err error) {
	if err == nil {
		f.notices.clear(httpUnserved, "")
		f.log.Info("HERMES_HTTP_ADDR is served again", "addr", addr)
		return
	}
	notice := unserved(addr, err)
	f.notices.put(notice, "")
	f.log.Warn("HERMES_HTTP_ADDR is not served", "addr", addr, "error", err)
}

// unserved is what a person is told of it.
func unserved(addr string, err error) api.Notice {
	errno, _ := errors.AsType[unix.Errno](err)
	cause := err.Error()
	if errno != 0 {
		cause = errno.Error()
	}
	var hint string
	switch errno {
	case unix.EADDRINUSE:
		cause += ": " + portListener(addr)
		hint = "stop what has it, and hermes takes it within seconds; or set HERMES_HTTP_ADDR to another port and restart hermes"
	case unix.EADDRNOTAVAIL:
		hint = "set HERMES_HTTP_ADDR to an address of this machine or container, or to :PORT for all of them, and restart hermes"
	case unix.EACCES:
		hint = "set HERMES_HTTP_ADDR to a port of 1024 or above, and restart hermes"
	default:
		hint = "correct HERMES_HTTP_ADDR, and restart hermes"
	}
	return api.Notice{
		Code: httpUnserved, Hint: hint,
		Message: fmt.Sprintf("/livez, /readyz and /metrics are not served: cannot listen on HERMES_HTTP_ADDR=%s: %s", addr, cause),
	}
}

// portListener says which process has the port of an address.
func portListener(addr string) string {
	_, number, err := net.SplitHostPort(addr)
	n, numberErr := strconv.Atoi(number)
	if cmp.Or(err, numberErr) != nil {
		return "another process listens on it"
	}
	return process.Listener(n)
}
