package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"hermes/internal/config"
)

// Limits towards a provider.
const (
	maxRetries  = 2
	maxAnswer   = 32 << 20 // bytes of a JSON answer
	dialTimeout = 10 * time.Second
	// keptConnections to one provider while nothing is asked of it.
	keptConnections = 16
)

// upstream is a provider with an OpenAI-compatible API.
type upstream struct {
	url    string
	host   string // of url, for messages
	model  string
	key    config.Secret
	soul   string
	client *http.Client
	limits limits
	keyFix string // what to do when the provider refuses the key
}

var _ provider = (*upstream)(nil)

// newUpstream makes a provider of the API at base, such as
// https://api.openai.com/v1; a query stays where it is.
func newUpstream(base, model string, key config.Secret, soul string) (*upstream, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: keptConnections,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // a compressor may sit on a delta
	}
	if u.Scheme == "https" {
		transport.TLSClientConfig = &tls.Config{RootCAs: roots(x509.SystemCertPool())}
	}
	return &upstream{
		url: u.JoinPath("chat", "completions").String(), host: u.Host, model: model, key: key, soul: soul,
		client: &http.Client{
			Transport: transport,
			// The key goes to nobody but the host it was given for.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limits: defaultLimits(),
	}, nil
}

func (u *upstream) close() { u.client.CloseIdleConnections() }

// complete asks for a whole answer and passes it on as it is.
func (u *upstream) complete(ctx context.Context, c *chat) ([]byte, error) {
	ctx, guard := u.guard(ctx)
	defer guard.stop()
	resp, err := u.ask(ctx, c, contentJSON)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(guard.watch(resp.Body), maxAnswer+1))
	if err != nil {
		return nil, u.broken(ctx, codeUpstreamCut, err)
	}
	if len(data) > maxAnswer {
		return nil, u.invalid("its answer is larger than 32 MB")
	}
	var got struct {
		Choices json.RawMessage `json:"choices"`
	}
	if json.Unmarshal(data, &got) != nil || got.Choices == nil {
		if said := u.errorIn(data); said != "" {
			return nil, u.invalid(said)
		}
		return nil, u.invalid("its answer is no chat completion: is model.base_url right?")
	}
	return u.redact(data), nil
}

// stream asks for events and passes them on as they come.
func (u *upstream) stream(ctx context.Context, c *chat, send sender) error {
	ctx, guard := u.guard(ctx)
	defer guard.stop()
	resp, err := u.ask(ctx, c, contentEvents)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == contentJSON || kind == "text/html" {
		data, _ := io.ReadAll(io.LimitReader(guard.watch(resp.Body), maxErrorBody))
		if said := u.errorIn(data); said != "" {
			return u.invalid(said)
		}
		return u.invalid("it answers " + kind + " where events were asked for")
	}
	events := newEventReader(guard.watch(resp.Body))
	for finished := false; ; {
		e, err := events.next()
		switch {
		case errors.Is(err, io.EOF) && finished:
			return nil // some providers leave [DONE] out
		case errors.Is(err, errEventTooLarge):
			return u.invalid(err.Error())
		case err != nil:
			return u.broken(ctx, codeUpstreamCut, err)
		case string(e.data) == doneData:
			return nil
		case !json.Valid(e.data):
			return u.invalid("an event of its answer is not JSON")
		}
		finished = finished || isFinish(e.data)
		e.data = u.redact(e.data)
		if err := send(e, events.ready()); err != nil {
			return err
		}
	}
}

// isFinish reports a chunk whose finish_reason is not null. The text of an
// answer cannot look like it: there the quotes are escaped.
func isFinish(data []byte) bool {
	_, rest, ok := bytes.Cut(data, []byte(`"finish_reason"`))
	if !ok {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	return bytes.HasPrefix(rest, []byte(`"`))
}

// ask sends the request until an answer is worth passing on: one of status
// 200. All other outcomes are an *apiError, or ctx's end.
func (u *upstream) ask(ctx context.Context, c *chat, accept string) (*http.Response, error) {
	body, err := c.upstreamBody(u.model, u.soul)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		resp, err := u.once(ctx, body, accept)
		if err == nil && resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		wait, again := u.retry(ctx, attempt, resp, err)
		if !again && err != nil {
			return nil, u.broken(ctx, codeUpstream, err)
		}
		if !again {
			return nil, u.refused(resp)
		}
		if resp != nil {
			discard(resp.Body)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, u.broken(ctx, codeUpstream, err)
		}
	}
}

func (u *upstream) once(ctx context.Context, body []byte, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentJSON)
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "hermes")
	if u.key != "" {
		req.Header.Set("Authorization", "Bearer "+u.key.Reveal())
	}
	return u.client.Do(req)
}

// retry says whether and when to ask again: after a failure to connect, or an
// answer that asks for it, as long as it does not ask for too much patience.
func (u *upstream) retry(ctx context.Context, attempt int, resp *http.Response, err error) (time.Duration, bool) {
	if attempt >= maxRetries || ctx.Err() != nil {
		return 0, false
	}
	wait := u.limits.retryWait << attempt
	wait += rand.N(wait/2 + 1) // so that a fleet does not come back all at once
	if err != nil {
		timeout, ok := errors.AsType[net.Error](err)
		return wait, !ok || !timeout.Timeout()
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, statusOverloaded:
	default:
		return 0, false
	}
	if asked, ok := retryAfter(resp.Header.Get(headerRetryAfter), time.Now()); ok {
		wait = max(asked, 0)
	}
	return wait, wait <= u.limits.retryMost
}

// statusOverloaded is what some providers say instead of 503.
const statusOverloaded = 529

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// discard reads what is left of a short body, so that its connection can be
// used again.
func discard(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxErrorBody))
	_ = body.Close()
}
