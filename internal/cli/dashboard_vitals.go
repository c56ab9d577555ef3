package cli

import (
	"context"
	"net/http"

	"hermes/api"
	"hermes/client"
	"hermes/internal/vitals"
)

// ofHome tells how the fleet of a home is, whoever supervises it at the time.
type ofHome struct {
	env  *env
	home string
}

var _ vitals.Source = ofHome{}

func (h ofHome) Fleet(ctx context.Context) (api.Fleet, error) {
	return asked(h, func(c *client.Client) (api.Fleet, error) { return c.Fleet(ctx) })
}

func (h ofHome) Live(ctx context.Context) (api.Health, error) {
	return asked(h, func(c *client.Client) (api.Health, error) { return c.Live(ctx) })
}

func (h ofHome) Ready(ctx context.Context) (api.Health, error) {
	return asked(h, func(c *client.Client) (api.Health, error) { return c.Ready(ctx) })
}

// asked has the supervisor of a home answer, if there is one.
func asked[T any](h ofHome, ask func(*client.Client) (T, error)) (T, error) {
	c, err := h.env.find(h.home)
	if err != nil {
		var none T
		return none, err
	}
	return ask(c)
}

// withVitals is the pages, and beside them what other systems ask for.
func (e *env) withVitals(pages http.Handler, at place) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	watched := vitals.NewHandler(ofHome{e, at.home})
	for _, path := range []string{vitals.PathLive, vitals.PathReady, vitals.PathMetrics} {
		mux.Handle(path, watched)
	}
	return mux
}
