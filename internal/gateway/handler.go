package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"hermes/internal/profile"
)

// health is GET /health. Degraded is healthy enough for traffic: the API
// answers, and says what is wrong.
func (s *server) health(w *recorder, _ *http.Request) error {
	status, health := http.StatusOK, profile.HealthOK
	switch {
	case s.isDraining():
		status, health = http.StatusServiceUnavailable, profile.HealthDraining
	case s.settings.provider == nil:
		health = profile.HealthDegraded
	}
	data, err := encode(healthAnswer{Status: string(health), Profile: string(s.settings.profile), Version: s.version})
	if err != nil {
		return err
	}
	writeJSON(w, status, data)
	return nil
}

// models is GET /v1/models: the profile is the one model there is. Requests
// may name any.
func (s *server) models(w *recorder, _ *http.Request) error {
	data, err := encode(modelList{Object: "list", Data: []modelInfo{{
		ID: string(s.settings.profile), Object: "model", Created: s.started.Unix(), OwnedBy: "hermes",
	}}})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, data)
	return nil
}

// chat is POST /v1/chat/completions.
func (s *server) chat(w *recorder, r *http.Request) error {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		e := newError(http.StatusTooManyRequests, codeBusy, "too many chats at a time")
		e.retryAfter = "1"
		return e
	}
	if s.settings.provider == nil {
		e := newError(http.StatusServiceUnavailable, codeNoProvider,
			"profile '"+string(s.settings.profile)+"' has no model provider: "+s.settings.fix)
		e.final = true
		return e
	}
	// net/http lifts it at the body's end: the answer may take longer.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.body))
	c, err := readChat(w.ResponseWriter, r)
	if err != nil {
		return err
	}
	if c.model == "" {
		c.model = string(s.settings.profile)
	}
	if c.stream {
		return s.stream(w, r, c)
	}
	data, err := s.settings.provider.complete(r.Context(), c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, data)
	return nil
}

// stream answers a chat event by event. An error after the first of them is
// the last of them.
func (s *server) stream(w *recorder, r *http.Request, c *chat) error {
	out := newEventStream(w, s.limits)
	ctx, cancel := context.WithCancelCause(r.Context())
	var wg sync.WaitGroup
	wg.Go(func() { out.keepAlive(ctx) })
	err := s.settings.provider.stream(ctx, c, func(e event, more bool) error {
		if out.send(e, more) != nil {
			return errGone
		}
		return nil
	})
	if err == nil && out.send(event{data: []byte(doneData)}, false) != nil {
		err = errGone
	}
	cancel(err)
	wg.Wait()
	if err == nil {
		return nil
	}
	if errors.Is(err, errGone) {
		w.status = statusClientGone
		return nil
	}
	if e := asError(r.Context(), err); e != nil && out.hasBegun() {
		_ = out.send(event{data: bytes.TrimSpace(e.encode())}, false) // the connection ends here in any case
	}
	return err
}
