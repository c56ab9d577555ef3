package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hermes/api"
	"hermes/internal/fault"
)

// maxEventLine bounds a line of the stream; the longest events are much shorter.
const maxEventLine = 256 << 10

// EventQuery says which events of the past are wanted.
type EventQuery struct {
	// After is the id after which they begin; nil asks for the newest.
	After *uint64
	// Profile is a profile or a slot; "" is all.
	Profile string
	// Limit is how many at most; 0 is 100.
	Limit int
}

// ListEvents tells what happened, oldest first.
func (c *Client) ListEvents(ctx context.Context, q EventQuery) (api.EventList, error) {
	v := url.Values{}
	if q.After != nil {
		v.Set("after", strconv.FormatUint(*q.After, 10))
	}
	if q.Profile != "" {
		v.Set("profile", q.Profile)
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[api.EventList](ctx, c, http.MethodGet, "/v1/events?"+v.Encode(), nil)
}

// Events yields the events after an id, of one profile or slot or of all (""),
// and goes on with each as it happens, until ctx ends or the loop is left. It
// survives the end of an engine: the next one is asked to go on after the last
// id. An event of the kind dropped stands for those that are not kept any more.
// An error is the last thing it yields: ctx's, no_supervisor once nothing
// supervises the home any more, or another *fault.Error.
func (c *Client) Events(ctx context.Context, after uint64, profile string) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		f := follower{client: c, after: after, profile: profile}
		left := false
		err := f.run(ctx, func(e api.Event) bool {
			left = !yield(e, nil)
			return !left
		})
		if !left {
			yield(api.Event{}, err)
		}
	}
}

// follower is where one who follows is.
type follower struct {
	client  *Client
	after   uint64
	profile string
	heard   bool // since the latest failure
}

// errLeft: nobody wants more.
var errLeft = errors.New("the follower has left")

// run asks one engine after another.
func (f *follower) run(ctx context.Context, each func(api.Event) bool) error {
	var giveUp time.Time
	pause := time.Millisecond
	for {
		f.heard = false
		err := f.once(ctx, each)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errLeft):
			return err
		case err != nil && !isLost(err) && !errors.Is(err, errSilent) && fault.CodeOf(err) != fault.Shutdown:
			return f.client.explain(ctx, err)
		}
		now := time.Now()
		if f.heard || giveUp.IsZero() {
			giveUp, pause = now.Add(f.client.limits.silence), time.Millisecond
		} else if now.After(giveUp) {
			return f.client.explain(ctx, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// once follows one engine until its stream ends; nil says that it ended well.
func (f *follower) once(ctx context.Context, each func(api.Event) bool) error {
	v := url.Values{"follow": {"1"}, "after": {strconv.FormatUint(f.after, 10)}}
	if f.profile != "" {
		v.Set("profile", f.profile)
	}
	k := call{method: http.MethodGet, path: "/v1/events?" + v.Encode(), silence: f.client.limits.silence, quiet: f.client.limits.quiet}
	k.pieces = func(status int, body io.Reader) error {
		if status != http.StatusOK {
			b, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			return decodeError(status, b)
		}
		f.heard = true
		return readEvents(body, func(e api.Event) bool {
			if e.ID <= f.after && f.after != 0 {
				return true
			}
			f.after = e.ID
			return each(e)
		})
	}
	return f.client.once(ctx, k, nil)
}

// readEvents reads server-sent events to the end of the stream: nil if that is
// a proper one, errLeft if each was false.
func readEvents(body io.Reader, each func(api.Event) bool) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(append(data, bytes.TrimPrefix(value, []byte(" "))...), '\n')
			continue
		}
		if len(line) > 0 || len(data) == 0 {
			continue // a comment, or a field that the data repeats
		}
		var e api.Event
		if err := json.Unmarshal(data, &e); err != nil || e.ID == 0 {
			return fault.New(fault.Internal, "cannot read the supervisor's events: %.100q is none", data)
		}
		data = data[:0]
		if !each(e) {
			return errLeft
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fault.New(fault.Internal, "cannot read the supervisor's events: a line is longer than %d bytes", maxEventLine)
	}
	return lines.Err()
}
