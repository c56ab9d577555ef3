package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

const (
	defaultEvents = 100
	maxEvents     = 10_000 // in one answer: about 2 MB
	streamBatch   = 1000   // events that are taken from the log at a time
	// keepalive is how often a stream without events says that it lives.
	keepalive = 15 * time.Second
)

// Events tells what happened and what happens; *event.Log does.
type Events interface {
	// Page answers at once with what may be told now.
	Page(q event.Query) api.EventList
	// Next waits until there is something after q.After or ctx ends, whose error
	// it returns; there may be no event that matches.
	Next(ctx context.Context, q event.Query) (api.EventList, error)
}

// events answers with a list, or with a stream that goes on.
func (s *Server) events(w *writer, r *http.Request) error {
	q, follow, err := eventQuery(r)
	if err != nil {
		return err
	}
	if s.o.Events == nil {
		return s.noEvents(r.Context())
	}
	if !follow {
		s.write(w, http.StatusOK, s.o.Events.Page(q))
		return nil
	}
	if q.Newest {
		q = event.Query{Profile: q.Profile, After: s.o.Events.Page(event.Query{Newest: true, Limit: 1}).Last}
	}
	return s.streamEvents(w, r, q)
}

// noEvents refuses what the engine does not have.
func (s *Server) noEvents(ctx context.Context) error {
	f, err := s.o.Fleet.Fleet(ctx)
	if err != nil {
		return err
	}
	return fault.New(fault.EngineLacks, "engine %s keeps no events: nobody is there to see them", f.Engine).
		WithHint("hermes status")
}

// eventQuery reads what is asked for.
func eventQuery(r *http.Request) (q event.Query, follow bool, err error) {
	get := r.URL.Query().Get
	switch get("follow") {
	case "", "0":
	case "1":
		follow = true
	default:
		return q, false, fault.New(fault.Usage, "follow=%.40q is neither 0 nor 1", get("follow"))
	}
	after := get("after")
	if resumed := r.Header.Get("Last-Event-ID"); follow && resumed != "" {
		after = resumed // a browser that connects again repeats the address it began with
	}
	q = event.Query{Newest: after == "", Limit: defaultEvents, Profile: get("profile")}
	if after != "" {
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return q, false, fault.New(fault.Usage, "%.40q is not the id of an event", after)
		}
	}
	if limit := get("limit"); limit != "" {
		n, err := strconv.ParseUint(limit, 10, 31)
		if err != nil || n > maxEvents || n == 0 {
			return q, false, fault.New(fault.Usage, "limit=%.40q is not a number from 1 to %d", limit, maxEvents)
		}
		q.Limit = int(n)
	}
	if q.Profile != "" {
		if _, err := profile.Parse(q.Profile); err != nil {
			_, err = checked("", err)
			return q, false, err
		}
	}
	return q, follow, nil
}

// streamEvents sends events as they come, until the client or the engine goes.
func (s *Server) streamEvents(w *writer, r *http.Request, q event.Query) error {
	rc := http.NewResponseController(w)
	send := func(b []byte) error {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.leaving, cancel)()
	if err := send([]byte(": events\n\n")); err != nil { // the client knows that it is heard
		return err
	}
	q.Newest, q.Limit = false, streamBatch
	for {
		list, err := s.nextEvents(ctx, q)
		switch {
		case s.leaving.Err() != nil:
			return nil // a proper end: the client comes again, to the next engine
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			err = send([]byte(": keepalive\n\n"))
		case err == nil:
			err = send(appendStream(nil, q.After, list))
		}
		if err != nil {
			return err
		}
		q.After = list.Last
	}
}

func (s *Server) nextEvents(ctx context.Context, q event.Query) (api.EventList, error) {
	ctx, cancel := context.WithTimeout(ctx, s.keepalive)
	defer cancel()
	return s.o.Events.Next(ctx, q)
}

// appendStream appends a list in the format of server-sent events. That some
// are gone is an event itself, whose id leads to the first that is not.
func appendStream(b []byte, after uint64, list api.EventList) []byte {
	if list.Gone {
		last := list.Last
		if len(list.Events) > 0 {
			last = list.Events[0].ID - 1
		}
		b = appendEvent(b, &api.Event{
			ID: last, At: time.Now().UTC(), Kind: api.EventDropped,
			From: strconv.FormatUint(after+1, 10), To: strconv.FormatUint(last, 10),
			Cause: "these events are not kept any more",
		})
	}
	for i := range list.Events {
		b = appendEvent(b, &list.Events[i])
	}
	if len(list.Events) == 0 {
		b = append(b, ":\n\n"...) // none that matches
	}
	return b
}

func appendEvent(b []byte, e *api.Event) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, e.ID, 10)
	b = append(b, "\nevent: "...)
	b = append(b, e.Kind...)
	b = append(b, "\ndata: "...)
	b = event.Append(b, e)
	return append(b, "\n\n"...)
}
