package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"testing"

	"hermes/internal/fault"
)

// TestNotRegistered: the sentence is a promise to the original's users, and it
// names the profile, not its slot.
func TestNotRegistered(t *testing.T) {
	err := fault.NotRegistered("typo")
	const want = "no such gateway 'typo': register it with `hermes profile create typo` first, or pass an existing profile name via `-p <name>`"
	if err.Error() != want || err.Code != "gateway_not_registered" || err.Code.ExitStatus() != 1 || err.Code.HTTPStatus() != http.StatusNotFound {
		t.Errorf("%+v, exit %d, status %d", err, err.Code.ExitStatus(), err.Code.HTTPStatus())
	}
}

// TestCodes: what shells, clients and scripts may match is never changed.
func TestCodes(t *testing.T) {
	for code, want := range map[fault.Code]struct {
		text         string
		exit, status int
	}{
		fault.Usage:                {"usage", 2, 400},
		fault.GatewayNotRegistered: {"gateway_not_registered", 1, 404},
		fault.ProfileExists:        {"profile_exists", 1, 409},
		fault.InvalidName:          {"invalid_name", 1, 400},
		fault.InvalidConfig:        {"invalid_config", 1, 400},
		fault.NoSupervisor:         {"no_supervisor", 1, 503},
		fault.NoAnswer:             {"supervisor_silent", 1, 503},
		fault.SupervisorDenied:     {"supervisor_denied", 1, 403},
		fault.HomeHeld:             {"home_held", 1, 409},
		fault.GatewayFailed:        {"gateway_failed", 1, 409},
		fault.GatewayTimeout:       {"gateway_timeout", 1, 504},
		fault.GatewayHeld:          {"gateway_held", 1, 409},
		fault.PortTaken:            {"port_taken", 1, 409},
		fault.Unreadable:           {"unreadable", 1, 409},
		fault.ProgramNotFound:      {"program_not_found", 127, 500},
		fault.Internal:             {"internal", 1, 500},
	} {
		if string(code) != want.text || code.ExitStatus() != want.exit || code.HTTPStatus() != want.status {
			t.Errorf("%s: exit %d, status %d, want %+v", code, code.ExitStatus(), code.HTTPStatus(), want)
		}
	}
}

// TestOneFamily: an error is known by its code through whatever wraps it, and
// keeps its cause; what is none of ours is internal.
func TestOneFamily(t *testing.T) {
	err := fault.Wrap(fault.Unreadable, fs.ErrPermission, "cannot read %s", "x").WithHint("chown %d x", 10000)
	if err.Error() != "cannot read x: permission denied" || err.Hint != "chown 10000 x" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%+v", err)
	}
	if got := fault.CodeOf(fmt.Errorf("start: %w", err)); got != fault.Unreadable {
		t.Errorf("wrapped: %s", got)
	}
	if got := fault.CodeOf(fs.ErrPermission); got != fault.Internal {
		t.Errorf("foreign: %s", got)
	}
}
