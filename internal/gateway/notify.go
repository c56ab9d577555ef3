package gateway

import (
	"log/slog"

	"hermes/internal/notify"
)

// notifier speaks to whoever started the gateway.
type notifier struct {
	path string // "" is nobody
	fd   int    // of s6, 0 for none
	log  *slog.Logger
}

// ready says that the gateway serves, once.
func (n notifier) ready(assignments ...string) {
	n.send(append([]string{"READY=1"}, assignments...)...)
	if err := notify.Ready(n.fd); err != nil {
		n.log.Warn("supervisor not notified", "error", err)
	}
}

// send sends assignments as one datagram.
func (n notifier) send(assignments ...string) {
	if err := notify.Send(n.path, assignments...); err != nil {
		n.log.Warn("supervisor not notified", "error", err)
	}
}
