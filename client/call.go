package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/lease"
)

// maxAnswer bounds an answer: a fleet of 10,000 gateways takes about 5 MB.
const maxAnswer = 64 << 20

// errSilent is the cause with which a request without a sign of life ends.
var errSilent = errors.New("no answer in time")

// call is one request and what is done with its answer.
type call struct {
	method, path string
	body         any // nil for none
	silence      time.Duration
	// use reads the answer. An error of the connection makes the call be
	// repeated, unless the answer was a stream in part delivered.
	use func(status int, body io.Reader) error
}

// do performs the call, again if the engine dies over it, until the context
// or c.limits.silence since the first failure ends it.
func (c *Client) do(ctx context.Context, k call) error {
	var payload []byte
	if k.body != nil {
		var err error
		if payload, err = json.Marshal(k.body); err != nil {
			return fmt.Errorf("cannot encode the request: %w", err)
		}
	}
	var giveUp <-chan time.Time
	pause := time.Millisecond
	for {
		err := c.once(ctx, k, payload)
		if err == nil || ctx.Err() != nil || !isLost(err) {
			return c.explain(ctx, err)
		}
		if giveUp == nil {
			giveUp = time.After(c.limits.silence)
		}
		select {
		case <-ctx.Done():
			return c.explain(ctx, err)
		case <-giveUp:
			return c.explain(ctx, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// once makes one attempt. It is given up when the server shows no sign of life
// (an interim or final status) for k.silence; after that it may take its time.
func (c *Client) once(ctx context.Context, k call, payload []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(k.silence, func() { cancel(errSilent) })
	defer timer.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { timer.Stop(); return nil },
	})
	req, err := http.NewRequestWithContext(ctx, k.method, "http://hermes"+k.path, bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("cannot make the request: %w", err)
	}
	if len(payload) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		return &lostError{err}
	}
	timer.Stop()
	defer resp.Body.Close()
	return k.use(resp.StatusCode, io.LimitReader(resp.Body, maxAnswer))
}

// lostError is a connection that ended, however, before the head of an answer
// was complete.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// isLost reports an answer that was lost because the other side died: the
// request may or may not have been carried out.
func isLost(err error) bool {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return false // dial's verdict, or the server's
	}
	if _, ok := errors.AsType[*lostError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET)
}

// explain turns an error of the transport into one for a person.
func (c *Client) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errSilent) || isLost(err) {
		return c.silent(lease.Record{}, c.socket, err)
	}
	return fault.Wrap(fault.Internal, err, "cannot talk to the supervisor")
}

// get performs a call whose answer is one T.
func get[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	err := c.do(ctx, call{method: method, path: path, body: body, silence: c.limits.silence,
		use: func(status int, r io.Reader) error {
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			if status >= http.StatusBadRequest {
				return decodeError(status, b)
			}
			return decode(b, &out)
		}})
	return out, err
}

func decode(b []byte, out any) error {
	if err := json.Unmarshal(b, out); err != nil {
		return fault.Wrap(fault.Internal, errors.New(err.Error()), "cannot read the supervisor's answer")
	}
	return nil
}

// decodeError is the error an answer of status 400 or more carries.
func decodeError(status int, b []byte) error {
	var e api.Error
	if json.Unmarshal(b, &e) != nil || e.Code == "" {
		return fault.New(fault.Internal, "the supervisor answered with status %d and no reason", status)
	}
	return toFault(&e)
}

// toFault is the fault the server rendered as e.
func toFault(e *api.Error) *fault.Error {
	return &fault.Error{Code: fault.Code(e.Code), Msg: e.Message, Hint: e.Hint, Err: e}
}

// by is on whose behalf a request with that wish of its own is made.
func (c *Client) by(own string) string {
	if own != "" {
		return own
	}
	return c.By
}
