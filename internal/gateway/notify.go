package gateway

import (
	"log/slog"

	"hermes/internal/notify"
)

// notifier speaks to whoever started the gateway.
type notifier struct {
	path string // "" is nobody
	log  *slog.Logger
}

// send sends assignments as one datagram.
func (n notifier) send(assignments ...string) {
	if err := notify.Send(n.path, assignments...); err != nil {
		n.log.Warn("supervisor not notified", "error", err)
	}
}
