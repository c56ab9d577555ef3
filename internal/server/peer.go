package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// peerKey is the context key of a connection's peer.
type peerKey struct{}

// peer is who made a connection, as the kernel says.
type peer struct {
	uid uint32
	err error // the kernel does not say
}

// withPeer records the uid that connected: fixed at connect time, so a socket
// passed on to another process keeps the right of the one that opened it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	var p peer
	p.uid, p.err = peerUID(c)
	return context.WithValue(ctx, peerKey{}, p)
}

func peerUID(c net.Conn) (uint32, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// admit refuses a peer that is not allowed, with the command to type instead.
func (s *Server) admit(r *http.Request, rt route) error {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok || p.err != nil {
		return fault.New(fault.SupervisorDenied, "cannot tell which user asks: %v", p.err)
	}
	if s.o.Allowed(p.uid) {
		return nil
	}
	e := fault.New(fault.SupervisorDenied, "uid %d may not use this supervisor: it obeys root, the home's owner and uid %d", p.uid, s.o.UID)
	cmd := rt.command
	for _, key := range []string{"profile", "name"} {
		v := r.PathValue(key)
		if _, err := profile.Parse(v); err != nil && v != "" {
			cmd = "hermes status" // a name that is none is not fit for a shell
		}
		cmd = strings.ReplaceAll(cmd, "{"+key+"}", v)
	}
	uid := strconv.FormatUint(uint64(s.o.UID), 10)
	if id := s.o.Container; id != "" {
		return e.WithHint("docker exec -u %s %s %s", uid, id[:min(12, len(id))], cmd)
	}
	return e.WithHint("sudo -u '#%s' %s", uid, cmd)
}

// by is on whose behalf a request is made: what the client says of itself and
// the uid the kernel tells.
func by(r *http.Request, own string) (string, error) {
	if len(own) > maxBy || strings.ContainsFunc(own, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "", fault.New(fault.Usage, "\"by\" is not a short line of ASCII text")
	}
	if own == "" {
		own = "api"
	}
	p, _ := r.Context().Value(peerKey{}).(peer)
	return own + " uid " + strconv.FormatUint(uint64(p.uid), 10), nil
}
