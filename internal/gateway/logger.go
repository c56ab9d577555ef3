package gateway

import (
	"log/slog"

	"hermes/internal/launch"
)

// newLogger writes one line per record. A supervisor stamps the time on every
// line it reads; without one the line has its own.
func newLogger(o Options) *slog.Logger {
	supervised := lookup(o.Environ, launch.EnvSlotID) != ""
	return slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if supervised && len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
