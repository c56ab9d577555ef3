package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/lifecycle"
	"hermes/internal/profile"
)

// noticeSize is the largest notification read; sd_notify messages are short.
const noticeSize = 4096

// notice is one sd_notify(3) datagram: newline-separated assignments.
type notice struct {
	ready    bool
	stopping bool
	status   string
	health   profile.Health
}

// parseNotice reads a datagram; what it does not know it ignores, as the
// protocol demands.
func parseNotice(datagram []byte) notice {
	var n notice
	for line := range bytes.SplitSeq(datagram, []byte("\n")) {
		key, value, ok := bytes.Cut(line, []byte("="))
		if !ok {
			continue
		}
		switch string(key) {
		case "READY":
			n.ready = string(value) == "1"
		case "STOPPING":
			n.stopping = string(value) == "1"
		case "STATUS":
			n.status = clean(string(value))
		case "X_HERMES_HEALTH":
			switch h := profile.Health(value); h {
			case profile.HealthOK, profile.HealthDegraded, profile.HealthDraining, profile.HealthUnready:
				n.health = h
			default: // what says nothing changes nothing
			}
		}
	}
	return n
}

// readNotices reads the run's notify socket until the run has ended. A
// datagram is looked at first and taken only once what it says is on disk: a
// READY that a killed supervisor had taken would be lost for ever.
func (s *slot) readNotices(r *run) {
	if r.Notify < 0 {
		return
	}
	in, err := s.fleet.sockets.add(r.Notify, func(in *notifySocket) {
		s.work(func() { s.readNotice(r, in) })
	})
	if err != nil {
		s.log.Warn("notify socket not read", "error", err)
		return
	}
	context.AfterFunc(r.ctx, in.close)
}

// readNotice does what a datagram says and waits for the next one.
func (s *slot) readNotice(r *run, in *notifySocket) {
	uid := uint32(os.Getuid())
	if c := s.fleet.options.Credential; c != nil {
		uid = c.UID
	}
	datagram, err := in.receive(unix.MSG_PEEK, uid)
	if err == nil {
		if !s.heed(r, parseNotice(datagram)) {
			return // the run is over
		}
		_, err = in.receive(0, uid)
	}
	if err == nil || errors.Is(err, unix.EAGAIN) {
		in.await()
	}
}

// heed has the loop act on a notification and waits until what matters of it
// is on disk; false if the run is over before.
func (s *slot) heed(r *run, n notice) bool {
	if n == (notice{}) {
		return true
	}
	for {
		kept, err := ask(r.ctx, s, func() bool { return s.noticed(r, n) })
		if kept || err != nil {
			return err == nil
		}
		again := time.NewTimer(rewriteAfter)
		select {
		case <-again.C:
		case <-r.ctx.Done():
			again.Stop()
			return false
		}
	}
}

// receive takes one datagram that is there, or with MSG_PEEK looks at it. One
// from a stranger's uid comes back empty.
func receive(fd, flags int, uid uint32) ([]byte, error) {
	buf, oob := make([]byte, noticeSize), make([]byte, 256)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		sender, fds := ancillary(oob[:oobn])
		for _, fd := range fds {
			unix.Close(fd) // nobody asked for descriptors
		}
		if sender == nil || sender.Uid != uid && sender.Uid != 0 {
			return nil, nil
		}
		return buf[:n], nil
	}
}

func ancillary(oob []byte) (sender *unix.Ucred, fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, nil
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			sender = cred
		}
	}
	return sender, fds
}

// noticed acts on a notification, in the loop. It is false if that has to be
// on disk and is not.
func (s *slot) noticed(r *run, n notice) bool {
	if s.run != r || r.Exit != nil {
		return true
	}
	if n.status != "" {
		r.status = n.status
	}
	was := r.health
	switch {
	case n.health != "":
		r.health = n.health
	case n.stopping:
		r.health = profile.HealthDraining
	case n.ready:
		r.health = profile.HealthOK
	}
	if r.health != was {
		s.touch()
	}
	if !n.ready {
		return true
	}
	if s.state == lifecycle.Starting {
		s.feed(lifecycle.Ready)
	}
	return !s.dirty || s.write()
}
