package gateway

import (
	"context"
	"errors"
	"io"
	"time"
)

// errSilent is why a request to a provider ends that has said nothing for too
// long.
var errSilent = errors.New("the model provider said nothing for too long")

// silenceGuard ends a context when its provider falls silent.
type silenceGuard struct {
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

// guard derives a context that ends with errSilent once nothing was heard for
// the limit. The guard must be stopped.
func (u *upstream) guard(ctx context.Context) (context.Context, *silenceGuard) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &silenceGuard{limit: u.limits.silence, cancel: cancel}
	g.timer = time.AfterFunc(g.limit, func() { cancel(errSilent) })
	return ctx, g
}

func (g *silenceGuard) stop() {
	g.timer.Stop()
	g.cancel(nil)
}

// watch passes r on; every byte of it is a sign of life.
func (g *silenceGuard) watch(r io.Reader) io.Reader { return &watched{r, g} }

type watched struct {
	r io.Reader
	g *silenceGuard
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.g.timer.Reset(w.g.limit)
	}
	return n, err
}
