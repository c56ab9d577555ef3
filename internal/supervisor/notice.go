package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"syscall"
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
	in := reopen(r.Notify, "notify socket of "+r.Slot)
	if in == nil {
		return
	}
	uid := uint32(os.Getuid())
	if c := s.fleet.options.Credential; c != nil {
		uid = c.UID
	}
	context.AfterFunc(r.ctx, func() { in.Close() }) // wakes the reader
	s.wg.Go(func() {
		conn, err := in.SyscallConn()
		if err != nil {
			s.log.Warn("notify socket not read", "error", err)
			return
		}
		for {
			datagram, err := receive(conn, unix.MSG_PEEK, uid)
			if err != nil {
				return // the run is over
			}
			if !s.heed(r, parseNotice(datagram)) {
				return
			}
			if _, err := receive(conn, 0, uid); err != nil {
				return
			}
		}
	})
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

// receive takes one datagram, or with MSG_PEEK looks at it. One from a
// stranger's uid comes back empty. While there is none it holds no buffer.
func receive(conn syscall.RawConn, flags int, uid uint32) ([]byte, error) {
	var buf, oob []byte
	var n, oobn int
	var result error
	err := conn.Read(func(fd uintptr) bool {
		_, _, _, _, result = unix.Recvmsg(int(fd), nil, nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if errors.Is(result, unix.EAGAIN) {
			return false
		}
		buf, oob = make([]byte, noticeSize), make([]byte, 256)
		n, oobn, _, _, result = unix.Recvmsg(int(fd), buf, oob, flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		return true
	})
	if err = errors.Join(err, result); err != nil {
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
