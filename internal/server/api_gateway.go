package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func (s *Server) live(w *writer, r *http.Request) error {
	return s.health(w, s.o.Fleet.Live(r.Context()))
}

func (s *Server) ready(w *writer, r *http.Request) error {
	return s.health(w, s.o.Fleet.Ready(r.Context()))
}

func (s *Server) health(w *writer, h api.Health) error {
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
	}
	s.write(w, status, h)
	return nil
}

func (s *Server) fleet(w *writer, r *http.Request) error {
	f, err := s.o.Fleet.Fleet(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set(api.DownHeader, strconv.Itoa(f.Down()))
	s.write(w, http.StatusOK, f)
	return nil
}

// about is a handler that tells one thing of the gateway in the address: what
// ask says of it, asked of a part of the server.
func about[P, T any](part func(*Options) P, ask func(P, context.Context, profile.Name) (T, error)) handler {
	return func(s *Server, w *writer, r *http.Request) error {
		name, err := parseName(r.PathValue("profile"))
		if err != nil {
			return err
		}
		v, err := ask(part(&s.o), r.Context(), name)
		if err != nil {
			return err
		}
		s.write(w, http.StatusOK, v)
		return nil
	}
}

func fleetOf(o *Options) Fleet         { return o.Fleet }
func inspectorOf(o *Options) Inspector { return o.Inspector }

func (s *Server) plan(w *writer, r *http.Request) error {
	lines, err := s.o.Planner.Plan(r.Context())
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, api.Plan{Lines: lines})
	return nil
}

// actionError is an error about one gateway, with what is known of it.
type actionError struct {
	result api.ActionResult
	err    error
}

func (e *actionError) Error() string { return e.err.Error() }
func (e *actionError) Unwrap() error { return e.err }

// action is one of Operator's actions on a single gateway.
type action func(Operator, context.Context, profile.Name, profile.Request) (api.ActionResult, error)

func one(do action) handler {
	return func(s *Server, w *writer, r *http.Request) error {
		name, err := parseName(r.PathValue("profile"))
		if err != nil {
			return err
		}
		req, err := s.readRequest(w, r)
		if err != nil {
			return err
		}
		res, err := detach(s, r, func(ctx context.Context) (api.ActionResult, error) {
			return do(s.o.Operator, ctx, name, req)
		})
		if err != nil {
			if res.Gateway.Profile == "" {
				res.Gateway.Profile, res.Gateway.Slot = string(name), name.Slot()
			}
			return &actionError{res, err}
		}
		status := http.StatusOK
		if res.Error != nil {
			status = fault.Code(res.Error.Code).HTTPStatus()
		}
		s.write(w, status, res)
		return nil
	}
}

func refuseStartAll(*Server, *writer, *http.Request) error {
	return fault.New(fault.Usage, "start --all is not supported: it would start gateways you stopped on purpose").
		WithHint("hermes gateway start NAME…")
}

// all streams the results of an action on the fleet, a line of JSON each.
func all(action string) handler {
	return func(s *Server, w *writer, r *http.Request) error {
		req, err := s.readRequest(w, r)
		if err != nil {
			return err
		}
		results := make(chan api.ActionResult, 64)
		over := make(chan struct{}) // nobody reads results any more
		defer close(over)
		done := make(chan error, 1)
		s.inflight.fork()
		go func() {
			defer s.inflight.leave()
			done <- s.runAll(r, action, req, func(res api.ActionResult) {
				select {
				case results <- res:
				case <-over:
				}
			})
		}()
		return s.stream(w, r, results, done)
	}
}

// runAll is Operator.All with the life of an action; a panic is an error.
func (s *Server) runAll(r *http.Request, action string, req profile.Request, each func(api.ActionResult)) (err error) {
	defer recoverTo(&err)
	ctx, cancel := s.actionContext(r)
	defer cancel()
	return s.o.Operator.All(ctx, action, req, each)
}

// stream writes results as they come. An error of the whole action is an
// ordinary error before the first result, and a last line after it.
func (s *Server) stream(w *writer, r *http.Request, results <-chan api.ActionResult, done <-chan error) error {
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	began := false
	send := func(res api.ActionResult) error {
		if !began {
			began = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		return enc.Encode(res)
	}
	for {
		select {
		case res := <-results:
			err := send(res)
			if err == nil && len(results) == 0 {
				err = rc.Flush()
			}
			if err != nil {
				return err
			}
		case err := <-done:
			for len(results) > 0 {
				if err := send(<-results); err != nil {
					return err
				}
			}
			switch {
			case err != nil && began:
				return send(api.ActionResult{Error: wire(s.fault(w, r, err))})
			case err == nil && !began:
				w.Header().Set("Content-Type", "application/x-ndjson")
			}
			return err
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
}

// readRequest is an action's body, checked.
func (s *Server) readRequest(w *writer, r *http.Request) (profile.Request, error) {
	var body api.ActionRequest
	if err := s.readBody(w, r, &body); err != nil {
		return profile.Request{}, err
	}
	who, err := by(r, body.By)
	if err != nil {
		return profile.Request{}, err
	}
	if body.TimeoutMS < 0 || body.TimeoutMS > maxWait.Milliseconds() {
		return profile.Request{}, fault.New(fault.Usage, "a timeout of %d ms is not between 0 and %s", body.TimeoutMS, maxWait)
	}
	return profile.Request{NoWait: body.NoWait, Timeout: time.Duration(body.TimeoutMS) * time.Millisecond, By: who}, nil
}

// actionContext is r's without its end: a client that goes away must not leave
// a gateway half stopped. It ends when the server has to.
func (s *Server) actionContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	stop := context.AfterFunc(s.kill, cancel)
	return ctx, func() { stop(); cancel() }
}

// detach runs an action and waits for it as long as its client does. Run
// waits for it in any case.
func detach[T any](s *Server, r *http.Request, do func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	s.inflight.fork()
	go func() {
		defer s.inflight.leave()
		var o outcome
		func() {
			defer recoverTo(&o.err)
			ctx, cancel := s.actionContext(r)
			defer cancel()
			o.v, o.err = do(ctx)
		}()
		done <- o
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-r.Context().Done():
		var none T
		return none, r.Context().Err()
	}
}

func parseName(s string) (profile.Name, error) { return checked(profile.Parse(s)) }

// checked makes a name's error one for a person.
func checked(name profile.Name, err error) (profile.Name, error) {
	if err != nil {
		return "", &fault.Error{Code: fault.InvalidName, Msg: err.Error(), Hint: "hermes profile list", Err: err}
	}
	return name, nil
}
