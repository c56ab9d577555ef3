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
	"strings"

	"hermes/api"
	"hermes/internal/fault"
)

// Fleet is the state of every gateway.
func (c *Client) Fleet(ctx context.Context) (api.Fleet, error) {
	return get[api.Fleet](ctx, c, http.MethodGet, "/v1/fleet", nil)
}

// FleetJSON is [Client.Fleet] as it was sent, unread: a JSON object that may say
// more than this client knows. down is how many gateways are meant to run and do
// not, negative if the supervisor does not say.
func (c *Client) FleetJSON(ctx context.Context) (raw []byte, down int, err error) {
	err = c.do(ctx, call{
		method: http.MethodGet, path: "/v1/fleet", silence: c.limits.silence,
		head: func(h http.Header) {
			var err error
			if down, err = strconv.Atoi(h.Get(api.DownHeader)); err != nil {
				down = -1 // an older one
			}
		},
		use: func(status int, b []byte) error {
			if status >= http.StatusMultipleChoices {
				return decodeError(status, b)
			}
			raw = b
			return nil
		},
	})
	return raw, down, err
}

// Gateway is the state of one gateway.
func (c *Client) Gateway(ctx context.Context, name string) (api.Gateway, error) {
	return get[api.Gateway](ctx, c, http.MethodGet, gatewayPath(name, ""), nil)
}

// Why explains the state of one gateway.
func (c *Client) Why(ctx context.Context, name string) (api.Why, error) {
	return get[api.Why](ctx, c, http.MethodGet, gatewayPath(name, "/why"), nil)
}

// Start wants the gateway running, and waits until it is ready or failed. A
// failure of the gateway is both in the result and the error.
func (c *Client) Start(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.act(ctx, name, "start", r)
}

// Stop wants the gateway stopped, and waits until it is down. Errors as Start.
func (c *Client) Stop(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.act(ctx, name, "stop", r)
}

// Restart wants a new run of the gateway. Errors as Start.
func (c *Client) Restart(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error) {
	return c.act(ctx, name, "restart", r)
}

// RestartDashboard wants a new run of the supervised dashboard, and waits until
// it is ready or failed.
func (c *Client) RestartDashboard(ctx context.Context, r api.ActionRequest) (api.Dashboard, error) {
	r.By = c.by(r.By)
	return get[api.Dashboard](ctx, c, http.MethodPost, "/v1/dashboard/restart", r)
}

func (c *Client) act(ctx context.Context, name, action string, r api.ActionRequest) (api.ActionResult, error) {
	r.By = c.by(r.By)
	var res api.ActionResult
	err := c.do(ctx, call{
		method: http.MethodPost, path: gatewayPath(name, "/"+action), body: r, silence: c.limits.silence,
		use: func(status int, b []byte) error {
			res = api.ActionResult{}
			if status < http.StatusMultipleChoices {
				return decode(b, &res)
			}
			if json.Unmarshal(b, &res) == nil && res.Error != nil {
				return toFault(res.Error)
			}
			return decodeError(status, b)
		},
	})
	return res, err
}

// All does action ("stop" or "restart") to every gateway whose intent is
// running, and calls each, from this goroutine, as results come in. A gateway
// that failed is a result with an Error; the error is about the whole.
func (c *Client) All(ctx context.Context, action string, r api.ActionRequest, each func(api.ActionResult)) error {
	r.By = c.by(r.By)
	return c.do(ctx, call{
		method: http.MethodPost, path: "/v1/fleet/" + segment(action), body: r, silence: c.limits.silence,
		pieces: func(status int, body io.Reader) error {
			if status >= http.StatusMultipleChoices {
				b, err := io.ReadAll(body)
				if err != nil {
					return err
				}
				return decodeError(status, b)
			}
			return c.stream(body, each)
		},
	})
}

// stream reads results until the stream ends properly.
func (c *Client) stream(body io.Reader, each func(api.ActionResult)) error {
	d := json.NewDecoder(bufio.NewReader(body))
	delivered := 0
	for {
		var res api.ActionResult
		err := d.Decode(&res)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && (delivered == 0 && isLost(err)):
			return err // nothing was told yet: the call is repeated
		case err != nil && isLost(err):
			return fault.New(fault.NoAnswer, "the supervisor's engine ended after %d gateways had answered", delivered).
				WithHint("hermes gateway list")
		case err != nil:
			return fault.Wrap(fault.Internal, errors.New(err.Error()), "cannot read the supervisor's answer")
		case res.Gateway.Profile == "" && res.Error != nil:
			return toFault(res.Error)
		}
		delivered++
		each(res)
	}
}

// ListProfiles lists the profiles of the home.
func (c *Client) ListProfiles(ctx context.Context) ([]api.Profile, error) {
	l, err := get[api.ProfileList](ctx, c, http.MethodGet, "/v1/profiles", nil)
	return l.Profiles, err
}

// CreateProfile makes a profile and its slot, down.
func (c *Client) CreateProfile(ctx context.Context, name string) (api.Profile, error) {
	var made api.Profile
	err := change(ctx, c, http.MethodPost, "/v1/profiles", api.CreateRequest{Name: name, By: c.By}, &made, func(err error) error {
		if fault.CodeOf(err) != fault.ProfileExists {
			return err
		}
		return c.find(ctx, name, &made, err)
	})
	return made, err
}

// find sets p to the profile of that name; without one the error is otherwise.
func (c *Client) find(ctx context.Context, name string, p *api.Profile, otherwise error) error {
	all, err := c.ListProfiles(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.Name == name {
			*p = one
			return nil
		}
	}
	return otherwise
}

// DeleteProfile stops the profile's gateway and removes slot and directory.
func (c *Client) DeleteProfile(ctx context.Context, name string) error {
	return change(ctx, c, http.MethodDelete, profilePath(name, ""), api.DeleteRequest{By: c.By}, new(struct{}), func(err error) error {
		if fault.CodeOf(err) == fault.GatewayNotRegistered {
			return nil
		}
		return err
	})
}

// RenameProfile gives a profile a new name; it keeps its intent and port.
func (c *Client) RenameProfile(ctx context.Context, from, to string) (api.Profile, error) {
	var renamed api.Profile
	err := change(ctx, c, http.MethodPost, profilePath(from, "/rename"), api.RenameRequest{To: to, By: c.By}, &renamed, func(err error) error {
		if fault.CodeOf(err) != fault.GatewayNotRegistered {
			return err
		}
		return c.find(ctx, to, &renamed, err)
	})
	return renamed, err
}

// Plan is what a boot would do now, a line per profile.
func (c *Client) Plan(ctx context.Context) ([]string, error) {
	p, err := get[api.Plan](ctx, c, http.MethodGet, "/v1/plan", nil)
	return p.Lines, err
}

// Live tells whether the supervisor works. It answers within 5 s. A health that
// is not OK is no error.
func (c *Client) Live(ctx context.Context) (api.Health, error) { return c.health(ctx, "live") }

// Ready tells whether every gateway that is to run does. As Live otherwise.
func (c *Client) Ready(ctx context.Context) (api.Health, error) { return c.health(ctx, "ready") }

func (c *Client) health(ctx context.Context, kind string) (api.Health, error) {
	bounded, cancel := context.WithTimeout(ctx, c.limits.health)
	defer cancel()
	var h api.Health
	err := c.do(bounded, call{
		method: http.MethodGet, path: "/v1/health/" + kind, silence: c.limits.health,
		use: func(status int, b []byte) error {
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				return decodeError(status, b)
			}
			var e api.Error
			if json.Unmarshal(b, &e) == nil && e.Code != "" {
				return toFault(&e)
			}
			return decode(b, &h)
		},
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = c.explain(ctx, errSilent)
	}
	return h, err
}

func gatewayPath(name, rest string) string { return "/v1/gateways/" + segment(name) + rest }

func profilePath(name, rest string) string { return "/v1/profiles/" + segment(name) + rest }

// segment is name as one segment of a path, whatever it is: the server says
// what is wrong with "..".
func segment(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
}
