package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	// use is given the answer. An error of the connection makes the call be
	// repeated.
	use func(status int, answer []byte) error
	// head is given the answer's header before use is called; nil if nobody asks.
	head func(http.Header)
	// pieces takes use's place for an answer that comes in pieces, with any time
	// between them. Once it has delivered one its error stands.
	pieces func(status int, answer io.Reader) error
	// quiet bounds the time between two pieces; 0 does not.
	quiet time.Duration
	// again judges the error of a call that was made again: an engine may have
	// done what it was asked for and died before it said so. nil: it stands.
	again func(error) error
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
			if err != nil && giveUp != nil && k.again != nil {
				err = k.again(err)
			}
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

// once makes one attempt, on a connection of its own: one costs 20 µs, and a
// kept one may be a dead engine's. It is given up when the server shows no sign
// of life for k.silence; once it has shown one, by an interim status, it may
// take its time.
func (c *Client) once(ctx context.Context, k call, payload []byte) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(k.silence, func() { cancel(errSilent) })
	defer silence.Stop()
	// The past as deadline ends every read and write under way.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	resp, err := ask(conn, k, payload, silence)
	if err == nil {
		defer func() {
			_ = conn.Close() // first: to close a body is to read what is left of it
			_ = resp.Body.Close()
		}()
		if k.quiet > 0 {
			silence.Reset(k.quiet)
			resp.Body = lively{resp.Body, func() { silence.Reset(k.quiet) }}
		}
		err = k.take(resp)
	}
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// lively says when something of an answer came.
type lively struct {
	io.ReadCloser
	came func()
}

func (l lively) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if n > 0 {
		l.came()
	}
	return n, err
}

// take reads the answer and has it used.
func (k call) take(resp *http.Response) error {
	if k.pieces != nil { // which may go on for ever
		return k.pieces(resp.StatusCode, resp.Body)
	}
	b, err := whole(io.LimitReader(resp.Body, maxAnswer), resp.ContentLength)
	if err != nil {
		return err
	}
	if k.head != nil {
		k.head(resp.Header)
	}
	return k.use(resp.StatusCode, b)
}

// whole is all of r, of which the length is known unless it is negative. Then
// it is read into one piece of memory: a buffer that grows touches four times as
// much, and every page of it for the first time.
func whole(r io.Reader, length int64) ([]byte, error) {
	length = min(max(length, 0), maxAnswer)
	b := bytes.NewBuffer(make([]byte, 0, length+bytes.MinRead)) // ReadFrom grows one with less room
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// ask sends the request and reads the head of the answer, past any interim
// ones, each of which ends the silence.
func ask(conn net.Conn, k call, payload []byte, silence *time.Timer) (*http.Response, error) {
	req, err := http.NewRequest(k.method, "http://hermes"+k.path, bytes.NewReader(payload)) //nolint:noctx // once bounds the connection
	if err != nil {
		return nil, fmt.Errorf("cannot make the request: %w", err)
	}
	req.Close = true
	if len(payload) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := req.Write(conn); err != nil {
		return nil, &lostError{err}
	}
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, &lostError{err}
		}
		silence.Stop()
		if resp.StatusCode < http.StatusOK {
			continue
		}
		if k.pieces == nil {
			silence.Reset(k.silence) // the rest is on its way
		}
		return resp, nil
	}
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
	err := change(ctx, c, method, path, body, &out, nil)
	return out, err
}

// change is get for what changes something that a second call would find
// changed: see call.again.
func change[T any](ctx context.Context, c *Client, method, path string, body any, out *T, again func(error) error) error {
	return c.do(ctx, call{
		method: method, path: path, body: body, silence: c.limits.silence, again: again,
		use: func(status int, b []byte) error {
			if status >= http.StatusMultipleChoices {
				return decodeError(status, b)
			}
			return decode(b, out)
		},
	})
}

func decode(b []byte, out any) error {
	if err := json.Unmarshal(b, out); err != nil {
		return fault.Wrap(fault.Internal, errors.New(err.Error()), "cannot read the supervisor's answer")
	}
	return nil
}

// decodeError is the error an answer carries that is no success.
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
