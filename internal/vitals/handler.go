package vitals

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// Source knows the fleet. Its errors are about the supervisor as a whole: that
// it does not answer, or is none. A health that is not OK is no error.
type Source interface {
	Fleet(ctx context.Context) (api.Fleet, error)
	Live(ctx context.Context) (api.Health, error)
	Ready(ctx context.Context) (api.Health, error)
}

// The paths that are answered. There are no others.
const (
	PathLive    = "/livez"
	PathReady   = "/readyz"
	PathMetrics = "/metrics"
)

// answerIn is how long the source may take.
const answerIn = 5 * time.Second

// contentType is that of Prometheus's text format; every version of Prometheus
// takes it.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// handler answers the three paths.
type handler struct {
	source Source
	sheet  *sheet
}

// NewHandler answers [PathLive], [PathReady] and [PathMetrics], to GET and HEAD,
// from source. It never reads a request's body.
func NewHandler(source Source) http.Handler {
	return &handler{source, newSheet(source)}
}

// ServeHTTP answers a request. How long a client takes to read the answer is the
// server's business.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	known := r.URL.Path == PathLive || r.URL.Path == PathReady || r.URL.Path == PathMetrics
	switch {
	case !known:
		http.Error(w, "there is "+PathLive+", "+PathReady+" and "+PathMetrics+", and nothing else", http.StatusNotFound)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerIn)
	defer cancel()
	switch r.URL.Path {
	case PathLive:
		writeHealth(w, said(h.source.Live(ctx)))
	case PathReady:
		writeHealth(w, said(h.source.Ready(ctx)))
	default:
		text, err := h.sheet.text(ctx)
		if err != nil { // others were asked for first, and nobody waits for ever
			http.Error(w, "the state of the fleet is not known in time", http.StatusServiceUnavailable)
			return
		}
		write(w, http.StatusOK, contentType, text)
	}
}

// said is a health, or that the supervisor could not be asked: that is an answer
// to the question, too.
func said(h api.Health, err error) api.Health {
	if err == nil {
		return h
	}
	c := api.Condition{Code: string(fault.CodeOf(err)), Message: err.Error()}
	switch f, ok := errors.AsType[*fault.Error](err); {
	case ok:
		c.Message, c.Hint = f.Msg, f.Hint
	case errors.Is(err, context.DeadlineExceeded):
		c.Code, c.Message = string(fault.NoAnswer), "the supervisor does not answer in time"
	default: // the words of packages are no business of strangers
		c.Message = "the supervisor cannot be asked"
	}
	return api.Health{Conditions: []api.Condition{c}}
}

func writeHealth(w http.ResponseWriter, h api.Health) {
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
	}
	text, err := json.Marshal(h)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	write(w, status, "application/json", append(text, '\n'))
}

func write(w http.ResponseWriter, status int, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // who has gone needs no answer
}
