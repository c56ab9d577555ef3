package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// writer remembers whether an answer has begun: from then on an error can no
// longer be rendered.
type writer struct {
	http.ResponseWriter
	id     uint64 // the request's number
	status int    // 0 until the answer has begun
}

func (w *writer) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// panicked is a panic that was turned into an error.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// handler is the API with everything all routes share.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	number := new(atomic.Uint64)
	for _, rt := range routes() {
		mux.Handle(rt.method+" "+rt.pattern, s.serve(rt, number))
	}
	mux.Handle("/", s.serve(route{access: read, command: "hermes status", handle: noRoute}, number))
	return mux
}

func noRoute(_ *Server, _ *writer, r *http.Request) error {
	return fault.New(fault.Usage, "no such route: %s %.200q", r.Method, r.URL.Path).WithHint("hermes version")
}

// serve is the one place where requests are admitted, bounded, recovered,
// rendered and logged.
func (s *Server) serve(rt route, number *atomic.Uint64) http.Handler {
	return http.HandlerFunc(func(hw http.ResponseWriter, r *http.Request) {
		w := &writer{ResponseWriter: hw, id: number.Add(1)}
		began := time.Now()
		if !s.inflight.enter() {
			s.render(w, r, fault.New(fault.Shutdown, "the supervisor is shutting down").WithHint("hermes status"))
			return
		}
		defer s.inflight.leave()
		err := s.answer(rt, w, r)
		// With the client gone there is no one to render for, and after the
		// answer has begun no way to: then the connection is cut.
		cut := err != nil && (w.status != 0 || errors.Is(err, context.Canceled) && r.Context().Err() != nil)
		if err != nil && !cut {
			s.render(w, r, err)
		}
		if rt.access == control {
			p, _ := r.Context().Value(peerKey{}).(peer)
			s.o.Logger.Info("control request", "request", w.id, "method", r.Method, "path", r.URL.Path,
				"uid", p.uid, "status", w.status, "took", time.Since(began))
		}
		if cut {
			panic(http.ErrAbortHandler)
		}
	})
}

// answer admits and handles a request; a panic becomes an error.
func (s *Server) answer(rt route, w *writer, r *http.Request) (err error) {
	defer recoverTo(&err)
	if err := s.admit(r, rt); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, maxBody)
	if rt.access == control && r.ProtoAtLeast(1, 1) {
		w.WriteHeader(http.StatusContinue)
	}
	return rt.handle(s, w, r)
}

// recoverTo is deferred where a panic must not end the engine.
func recoverTo(err *error) {
	if v := recover(); v != nil {
		*err = &panicked{v, debug.Stack()}
	}
}

// render answers with an error.
func (s *Server) render(w *writer, r *http.Request, err error) {
	f := s.fault(w, r, err)
	if ae, ok := errors.AsType[*actionError](err); ok {
		ae.result.Error = wire(f)
		s.write(w, f.Code.HTTPStatus(), ae.result)
		return
	}
	s.write(w, f.Code.HTTPStatus(), wire(f))
}

// fault is err for a person. What is not meant for one is logged instead.
func (s *Server) fault(w *writer, r *http.Request, err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	attrs := []any{"request", w.id, "method", r.Method, "path", r.URL.Path, "err", err}
	if p, ok := errors.AsType[*panicked](err); ok {
		attrs = append(attrs, "stack", string(p.stack))
	}
	s.o.Logger.Error("request failed", attrs...)
	return fault.New(fault.Internal, "internal error in request %d", w.id).
		WithHint("look for request=%d in the supervisor's own log", w.id)
}

func wire(f *fault.Error) *api.Error {
	return &api.Error{Code: string(f.Code), Message: f.Msg, Hint: f.Hint}
}

// write sends one JSON value. A client that does not read is given up.
func (s *Server) write(w *writer, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // no page embeds it, and `--json` shows it to people as it is
	if err := enc.Encode(v); err != nil {
		s.o.Logger.Error("cannot encode an answer", "err", err)
		status = http.StatusInternalServerError
		b.WriteString(`{"code":"internal","message":"cannot encode the answer"}` + "\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len())) // a client makes room for it at once
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone
}

// readBody reads the JSON body of a request into out. No body is a zero out.
// Unknown fields are ignored: a newer client may send them.
func (s *Server) readBody(w *writer, r *http.Request, out any) error {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(s.bodyTime))
	b, err := io.ReadAll(r.Body)
	// The deadline must not outlive the body: net/http watches the connection
	// while the request is served and would take it for a client that is gone.
	_ = rc.SetReadDeadline(time.Time{})
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.Usage, "cannot read the request: its body is longer than %d bytes", tooLong.Limit)
	}
	if err != nil {
		return fault.Wrap(fault.Usage, err, "cannot read the request")
	}
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fault.Wrap(fault.Usage, err, "cannot read the request: its body is not the JSON of this route")
	}
	return nil
}
