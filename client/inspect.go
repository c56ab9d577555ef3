package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"hermes/api"
	"hermes/internal/fault"
)

// Exits are how the last runs of a gateway ended, newest first.
func (c *Client) Exits(ctx context.Context, name string) ([]api.Exit, error) {
	l, err := get[api.ExitList](ctx, c, http.MethodGet, gatewayPath(name, "/exits"), nil)
	return l.Exits, err
}

// Config is with what a gateway would be run if it were started now.
func (c *Client) Config(ctx context.Context, name string) (api.Config, error) {
	return get[api.Config](ctx, c, http.MethodGet, gatewayPath(name, "/config"), nil)
}

// LogQuery says which part of a log is wanted.
type LogQuery struct {
	Lines  int  // the last so many, at most 10,000
	Follow bool // and then each one more
}

// Log calls each, from this goroutine, with the lines of a gateway's log, fit
// for a terminal. With Follow it goes on until ctx ends, or the engine does:
// nil if that told, supervisor_silent if it was killed. The error of each ends
// it and is returned as it is.
func (c *Client) Log(ctx context.Context, name string, q LogQuery, each func(line string) error) error {
	v := url.Values{"n": {strconv.Itoa(q.Lines)}}
	if q.Follow {
		v.Set("follow", "1")
	}
	var stop error // each's
	err := c.do(ctx, call{
		method: http.MethodGet, path: gatewayPath(name, "/logs?"+v.Encode()), silence: c.limits.silence, quiet: c.limits.quiet,
		pieces: func(status int, body io.Reader) error {
			if status >= http.StatusMultipleChoices {
				b, err := io.ReadAll(body)
				if err != nil {
					return err
				}
				return decodeError(status, b)
			}
			var err error
			err, stop = readLog(body, each)
			return err
		},
	})
	if stop != nil {
		return stop
	}
	return err
}

// readLog reads lines until the stream ends; stop is each's error.
func readLog(body io.Reader, each func(line string) error) (err, stop error) {
	d := json.NewDecoder(bufio.NewReader(body))
	for delivered := false; ; {
		var l api.LogLine
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil && isLost(err) && !delivered:
			return err, nil // nothing was told yet: the call is repeated
		case err != nil && isLost(err):
			return fault.New(fault.NoAnswer, "the supervisor's engine ended while the log was read").WithHint("hermes gateway list"), nil
		case err != nil:
			return fault.Wrap(fault.Internal, errors.New(err.Error()), "cannot read the supervisor's answer"), nil
		case l.Error != nil:
			return toFault(l.Error), nil
		case l.Line == nil:
			continue
		}
		delivered = true
		if stop := each(*l.Line); stop != nil {
			return nil, stop
		}
	}
}
