package client

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/lease"
)

// dial connects to the supervisor. The socket may be missing or unserved for a
// moment, while a supervisor comes up: it is tried again, with the lease read
// anew, for c.limits.dial.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if c.connect != nil {
		return c.connect(ctx)
	}
	give, cancel := context.WithTimeout(ctx, c.limits.dial)
	defer cancel()
	pause := time.Millisecond
	socket := c.socket
	var rec lease.Record
	for {
		conn, err := connect(socket)
		if err == nil {
			return conn, nil
		}
		if errors.Is(err, os.ErrPermission) {
			return nil, c.denied(socket, err)
		}
		select {
		case <-give.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, c.silent(rec, socket, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
		if rec, socket, err = c.holder(); err != nil {
			return nil, err
		}
	}
}

// connect makes one attempt, which is over at once: a unix socket accepts or
// refuses, also where its backlog is full.
func connect(socket string) (net.Conn, error) {
	if socket == "" {
		return nil, errors.New("it has not told its control socket")
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err // a nil *net.UnixConn is no nil net.Conn
	}
	return conn, nil
}

func (c *Client) denied(socket string, err error) error {
	f := fault.New(fault.SupervisorDenied, "cannot connect to the supervisor as uid %s: %s", uidText(), cause(err))
	f.Err = err
	var st unix.Stat_t
	if unix.Stat(socket, &st) == nil {
		return f.WithHint("%s", asUID(int(st.Uid), c.Command))
	}
	rec, _, _ := c.holder() // zero: root's, who may always
	return f.WithHint("%s", asUID(rec.UID, c.Command))
}

// silent is the error about a supervisor that is there but does not answer.
func (c *Client) silent(rec lease.Record, socket string, err error) error {
	if rec.PID == 0 {
		rec, _, _ = c.holder()
	}
	f := &fault.Error{Code: fault.NoAnswer, Err: err}
	self := lease.Self(time.Time{})
	switch {
	case rec.PID == 0:
		f.Msg = "the supervisor does not answer on " + socket + ": " + cause(err)
		if c.home != "" {
			f.Msg = "the supervisor of " + c.home + " does not answer: " + cause(err)
		}
		return f.WithHint("find its process with `ps ax | grep hermes`, and restart it")
	case !rec.SameHost(self):
		f.Msg = "the supervisor of " + c.home + " (pid " + strconv.Itoa(rec.PID) + " on " + place(rec) +
			") cannot be reached from here: " + cause(err)
		if rec.Container != "" {
			return f.WithHint("docker exec %s hermes status", short(rec.Container))
		}
		return f.WithHint("run the command on host %s", rec.Host)
	}
	f.Msg = "the supervisor of " + c.home + " (pid " + strconv.Itoa(rec.PID) +
		") holds the home but does not answer: " + cause(err)
	if rec.BootID == self.BootID && rec.PIDNamespace == self.PIDNamespace {
		if pid := enginePID(rec.PID); pid != 0 {
			return f.WithHint("replace its engine with `kill -9 %d`: gateways live on, and the keeper starts the next engine", pid)
		}
	}
	if rec.Container != "" && rec.PID == 1 {
		return f.WithHint("docker restart %s", short(rec.Container))
	}
	return f.WithHint("end it with `kill %d`, then start a new one with `hermes up`", rec.PID)
}

func place(rec lease.Record) string {
	if rec.Container != "" {
		return "container " + short(rec.Container)
	}
	return "host " + rec.Host
}

// short is a container's id as container engines print it.
func short(id string) string {
	const keep = 12
	return id[:min(keep, len(id))]
}

// asUID is the command line that runs command as uid where the caller is.
func asUID(uid int, command string) string {
	if command == "" {
		command = "hermes status"
	}
	n := strconv.Itoa(uid)
	if id := lease.Self(time.Time{}).Container; id != "" {
		return "docker exec -u " + n + " " + short(id) + " " + command
	}
	if uid == 0 {
		return "sudo " + command
	}
	return "sudo -u '#" + n + "' " + command
}

func uidText() string { return strconv.Itoa(os.Geteuid()) }

// cause is what the kernel said, without the addresses and calls around it.
func cause(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if isLost(err) {
		return "its engine ends connections without an answer"
	}
	return err.Error()
}
