// Package fault holds the one error type a person may see.
//
// A [Error] carries a stable code for programs, a sentence for people and, as
// its hint, the next command to type. Everything else that reaches a surface
// is an internal error and is rendered as such.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is a stable identifier of a kind of failure; codes are only ever added.
type Code string

// The codes. [Code.ExitStatus] and [Code.HTTPStatus] give their meaning to
// shells and to clients of the control API.
const (
	Usage                Code = "usage"                  // the command line is wrong
	GatewayNotRegistered Code = "gateway_not_registered" // no such profile or slot
	ProfileExists        Code = "profile_exists"
	InvalidName          Code = "invalid_name"
	InvalidConfig        Code = "invalid_config"    // config.yaml or .env
	NoSupervisor         Code = "no_supervisor"     // nothing supervises this home
	NoAnswer             Code = "supervisor_silent" // the lease is held but nobody answers
	SupervisorDenied     Code = "supervisor_denied" // the peer's uid may not do this
	HomeHeld             Code = "home_held"         // another supervisor owns the home
	HomeUnusable         Code = "home_unusable"     // missing, not writable, not a directory
	RuntimeUnusable      Code = "runtime_unusable"  // no directory for the socket
	GatewayFailed        Code = "gateway_failed"    // a start ended in failure
	GatewayTimeout       Code = "gateway_timeout"   // not ready, or not down, in time
	GatewayHeld          Code = "gateway_held"      // another process runs this gateway
	PortTaken            Code = "port_taken"
	Unreadable           Code = "unreadable"        // a file the gateway needs cannot be read
	ProgramNotFound      Code = "program_not_found" // init: neither a hermes command nor a program
	DashboardOff         Code = "dashboard_off"     // the supervisor runs no dashboard
	S6CommandFailed      Code = "s6_command_failed" // a tool of s6 was run and failed
	EngineLacks          Code = "engine_lacks"      // the engine has no such thing
	Shutdown             Code = "shutting_down"
	Internal             Code = "internal"
)

// Error is a failure described for a person. Msg follows "cannot <verb>
// <object>: <cause>", lower case, no full stop. Hint, if any, is a complete
// command to type or one sentence saying what to do.
type Error struct {
	Code Code
	Msg  string
	Hint string
	Err  error // cause, for errors.Is and logs; its text is already in Msg
}

func (e *Error) Error() string { return e.Msg }

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error without a hint.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error that keeps err as its cause and ends with err's text.
func Wrap(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...) + ": " + err.Error(), Err: err}
}

// WithHint returns e with its hint set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// CodeOf is the code of the first Error in err's chain, [Internal] if none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// Exit statuses of the command line. 3 and 4 are those of LSB status actions.
const (
	ExitOK         = 0
	ExitFailed     = 1
	ExitUsage      = 2
	ExitNotRunning = 3 // gateway status only
	ExitNoGateway  = 4 // gateway status only
	ExitConfig     = 78
	ExitNotFound   = 127 // init: no such program
)

// ExitStatus is the exit status of a command that failed with this code.
func (c Code) ExitStatus() int {
	switch c {
	case Usage:
		return ExitUsage
	case ProgramNotFound:
		return ExitNotFound
	default:
		return ExitFailed
	}
}

// HTTPStatus is the status of a control API response that carries this code.
func (c Code) HTTPStatus() int {
	switch c {
	case Usage, InvalidName, InvalidConfig:
		return http.StatusBadRequest
	case GatewayNotRegistered, DashboardOff:
		return http.StatusNotFound
	case ProfileExists, HomeHeld, GatewayHeld, PortTaken, GatewayFailed, Unreadable:
		return http.StatusConflict
	case SupervisorDenied:
		return http.StatusForbidden
	case S6CommandFailed:
		return http.StatusBadGateway
	case GatewayTimeout:
		return http.StatusGatewayTimeout
	case EngineLacks:
		return http.StatusNotImplemented
	case Shutdown, NoSupervisor, NoAnswer:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// NotRegistered is the error for a profile without a slot; its text is a
// promise to the original's users.
func NotRegistered(name string) *Error {
	return New(GatewayNotRegistered,
		"no such gateway '%s': register it with `hermes profile create %s` first, or pass an existing profile name via `-p <name>`", name, name)
}

// NoDashboard is the error for what needs a supervised dashboard.
func NoDashboard() *Error {
	return New(DashboardOff, "the supervisor runs no dashboard: HERMES_DASHBOARD is not set for it").WithHint("hermes dashboard")
}

// DashboardIsNoGateway is the error for a command to a gateway that names the
// supervised dashboard.
func DashboardIsNoGateway() *Error {
	return New(GatewayNotRegistered, "no such gateway 'dashboard': the dashboard has a slot, but is no gateway").WithHint("hermes why dashboard")
}
