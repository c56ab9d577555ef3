package gateway

import (
	"log/slog"
	"net"
	"strings"
	"time"
)

// notifyTimeout bounds a notification: a supervisor that does not read must
// not hold up a gateway.
const notifyTimeout = time.Second

// notifier speaks sd_notify(3) to whoever started the gateway; without a path
// there is nobody to speak to.
type notifier struct {
	path string // "@name" is an abstract socket
	log  *slog.Logger
}

// send sends assignments as one datagram.
func (n notifier) send(assignments ...string) {
	if n.path == "" {
		return
	}
	if err := n.try([]byte(strings.Join(assignments, "\n"))); err != nil {
		n.log.Warn("supervisor not notified", "error", err)
	}
}

func (n notifier) try(datagram []byte) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = conn.Write(datagram)
	return err
}
