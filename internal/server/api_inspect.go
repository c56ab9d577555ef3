package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

const (
	defaultLines = 50
	maxLines     = 10_000
	logBuffer    = 64 // lines on their way from the log to the client
	// firstSign is when a log that is followed and has no line yet is told to be
	// there.
	firstSign = 50 * time.Millisecond
)

// logs streams the lines of a log.
func (s *Server) logs(w *writer, r *http.Request) error {
	name, err := parseName(r.PathValue("profile"))
	if err != nil {
		return err
	}
	n, follow, err := logQuery(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer context.AfterFunc(s.leaving, cancel)()
	lines := make(chan string, logBuffer)
	done := make(chan error, 1)
	go func() { done <- s.readLog(ctx, name, n, follow, lines) }()
	err = s.streamLog(ctx, w, r, lines, done)
	cancel()
	for range lines { // whoever reads the log ends before the request does
		continue
	}
	return err
}

// readLog sends lines until the log or the context ends, and closes them.
func (s *Server) readLog(ctx context.Context, name profile.Name, n int, follow bool, lines chan<- string) (err error) {
	defer close(lines)
	defer recoverTo(&err)
	return s.o.Inspector.Log(ctx, name, n, follow, func(line string) error {
		select {
		case lines <- line:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// logQuery reads what is asked for.
func logQuery(r *http.Request) (n int, follow bool, err error) {
	get := r.URL.Query().Get
	switch get("follow") {
	case "", "0":
	case "1":
		follow = true
	default:
		return 0, false, fault.New(fault.Usage, "follow=%.40q is neither 0 nor 1", get("follow"))
	}
	text := get("n")
	if text == "" {
		return defaultLines, follow, nil
	}
	many, err := strconv.ParseUint(text, 10, 31)
	if err != nil || many > maxLines {
		return 0, false, fault.New(fault.Usage, "n=%.40q is not a number from 0 to %d", text, maxLines)
	}
	return int(many), follow, nil
}

// streamLog writes lines as they come. An error is an ordinary one before the
// first line, and a last line after it.
func (s *Server) streamLog(ctx context.Context, w *writer, r *http.Request, lines <-chan string, done <-chan error) error {
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	send := func(l api.LogLine) error {
		if w.status == 0 {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := enc.Encode(l); err != nil {
			return err
		}
		if len(lines) > 0 {
			return nil
		}
		return rc.Flush()
	}
	alive := time.NewTimer(firstSign)
	defer alive.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return s.endLog(ctx, w, r, <-done, send)
			}
			if err := send(api.LogLine{Line: &line}); err != nil {
				return err
			}
		case <-alive.C:
			if err := send(api.LogLine{}); err != nil {
				return err
			}
		}
		alive.Reset(s.keepalive)
	}
}

// endLog ends a stream as its log ended.
func (s *Server) endLog(ctx context.Context, w *writer, r *http.Request, err error, send func(api.LogLine) error) error {
	switch {
	case err != nil && errors.Is(err, ctx.Err()):
		err = nil // the client or the engine leaves
		fallthrough
	case err == nil:
		if w.status == 0 {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
		}
		return err
	case w.status == 0:
		return err
	}
	return send(api.LogLine{Error: wire(s.fault(w, r, err))})
}
