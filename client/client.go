// Package client talks to the supervisor of a home through its control API:
// HTTP and JSON over a unix socket.
//
// # Usage
//
// [Find] reads the home's lease and gives a client for whoever holds it; [New]
// is for a socket that is known, [Over] for one without. Every method is one request.
//
// # Concurrency
//
// A [Client] may be used from any goroutine once its fields are set. It keeps
// no connection and no goroutine between requests.
//
// # Failure
//
// Errors are *fault.Error with the server's own code, message and hint. A
// lease that is held while nobody answers is supervisor_silent, never
// no_supervisor: acting as if there were no supervisor would start second
// copies. An engine may die and be replaced at any time; its listener stays,
// so requests wait in the backlog, and one whose answer got lost is sent again.
// Every request is idempotent.
//
// # Testing
//
// The tests run against real sockets and servers that die half-way.
package client

import (
	"context"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/lease"
)

// The limits of patience, each for a supervisor that is there and does not
// work; a wait that the supervisor acknowledges is bounded by the context only.
const (
	dialPatience   = 2 * time.Second  // nobody accepts connections
	healthPatience = 5 * time.Second  // Live and Ready: a health check's own limit
	patience       = 10 * time.Second // no sign of life, or engine after engine dies
	quiet          = 40 * time.Second // in a stream of events, which says every 15 s that it lives
)

// Client is a client of one supervisor.
type Client struct {
	// By says on whose behalf requests are made, for intent_by: "cli".
	By string
	// Command is what a person typed, repeated in hints that name another uid
	// to run it as; "" is "hermes status".
	Command string

	home   string // "" when made by New
	socket string // as New was told; Find's is in the lease
	limits limits
	// connect is how Over was told to reach the supervisor; nil: by the socket.
	connect func(context.Context) (net.Conn, error)
}

// limits are the patience of a client; tests shorten it.
type limits struct {
	dial, health, silence, quiet time.Duration
}

// New is a client of the supervisor that listens on socket.
func New(socket string) *Client {
	return &Client{socket: socket, limits: limits{dialPatience, healthPatience, patience, quiet}}
}

// Over is a client of whatever connect leads to: a supervisor that has no
// process of its own.
func Over(connect func(context.Context) (net.Conn, error)) *Client {
	c := New("")
	c.connect = connect
	return c
}

// Find is a client of home's supervisor. The error has the code no_supervisor
// when nobody holds the lease (match it with [IsNoSupervisor]), and
// supervisor_denied or home_unusable when that cannot be found out.
func Find(home string) (*Client, error) {
	rec, status, err := lease.Read(home)
	if err != nil {
		return nil, cannotRead(home, err)
	}
	if status == lease.Free {
		return nil, noSupervisor(home)
	}
	c := New(rec.Socket)
	c.home = home
	return c, nil
}

// IsNoSupervisor reports whether err says that nothing supervises the home, as
// opposed to a supervisor that does not answer.
func IsNoSupervisor(err error) bool {
	return err != nil && fault.CodeOf(err) == fault.NoSupervisor
}

// holder is where the supervisor is now. The record is zero, and the path may
// be "", in the instant between a supervisor's taking the lease and its
// publishing the socket.
func (c *Client) holder() (rec lease.Record, socket string, err error) {
	if c.home == "" {
		return lease.Record{}, c.socket, nil
	}
	rec, status, err := lease.Read(c.home)
	if err != nil {
		return lease.Record{}, "", cannotRead(c.home, err)
	}
	if status == lease.Free {
		return lease.Record{}, "", noSupervisor(c.home)
	}
	return rec, rec.Socket, nil
}

func noSupervisor(home string) error {
	return fault.New(fault.NoSupervisor, "no supervisor here: nothing supervises %s", home).
		WithHint("hermes up")
}

func cannotRead(home string, err error) error {
	f := fault.Wrap(fault.HomeUnusable, err, "cannot find the supervisor of %s", home)
	if os.IsPermission(err) {
		f.Code = fault.SupervisorDenied
		f.Msg = f.Msg + " (as uid " + uidText() + ")"
		var st unix.Stat_t
		_ = unix.Stat(home, &st) // fails: root's, who may always
		return f.WithHint("%s", asUID(int(st.Uid), ""))
	}
	return f.WithHint("ls -ld %s %s/%s", home, home, lease.File)
}
