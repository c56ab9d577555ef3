package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// maxErrorBody is what is read of a provider's error, in bytes.
	maxErrorBody = 64 << 10
	// maxSaid is what is repeated of it.
	maxSaid = 2000
)

// refused turns a provider's refusal into the client's error. What the request
// got wrong the client is told as the provider says it; what the operator has
// to mend is a 502 and says so.
func (u *upstream) refused(resp *http.Response) *apiError {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	_ = resp.Body.Close()
	said := u.errorIn(data)
	status := resp.StatusCode
	answered := "the model provider at " + u.host + " answered " + strconv.Itoa(status)
	if said != "" {
		answered += ": " + said
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		// What it says may hold parts of the key.
		e := newError(http.StatusBadGateway, codeUpstreamAuth,
			"the model provider at "+u.host+" refused the key ("+strconv.Itoa(status)+"): "+u.keyFix)
		e.final = true
		return e
	case status == http.StatusTooManyRequests:
		e := newError(status, codeUpstreamLimit, answered)
		e.retryAfter = resp.Header.Get(headerRetryAfter)
		return e
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return newError(http.StatusGatewayTimeout, codeUpstreamTimeout, answered)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status < http.StatusBadRequest:
		// The address and the model are ours, not the client's.
		e := newError(http.StatusBadGateway, codeUpstream, answered+" (are model.base_url and model.name right?)")
		e.final = true
		return e
	case status < http.StatusInternalServerError:
		return u.clientError(status, data, answered)
	}
	e := newError(http.StatusBadGateway, codeUpstream, answered)
	e.retryAfter = resp.Header.Get(headerRetryAfter)
	return e
}

// clientError passes on what a provider has against a request.
func (u *upstream) clientError(status int, data []byte, answered string) *apiError {
	e := newError(status, codeUpstream, answered)
	var got struct {
		Error struct {
			Type, Param, Code any
		} `json:"error"`
	}
	if json.Unmarshal(data, &got) != nil {
		return e
	}
	for _, f := range []struct {
		from any
		to   *string
	}{{got.Error.Type, &e.kind}, {got.Error.Param, &e.param}, {got.Error.Code, &e.code}} {
		if s, ok := f.from.(string); ok && s != "" {
			*f.to = u.quote(s)
		}
	}
	return e
}

// broken turns a request that got no answer, or half of one, into the client's
// error. If the client is gone, it is ctx's.
func (u *upstream) broken(ctx context.Context, code string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSilent) {
		return cause
	}
	at := "the model provider at " + u.host
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil, isNet && timeout.Timeout():
		return newError(http.StatusGatewayTimeout, codeUpstreamTimeout, at+" did not answer in time")
	case code == codeUpstreamCut:
		return newError(http.StatusBadGateway, code, at+" broke off in the middle of its answer")
	}
	e := newError(http.StatusBadGateway, code, "cannot reach "+at+": "+u.quote(innermost(err)))
	return e
}

// innermost is what went wrong without what was attempted: that holds the URL,
// and a URL may hold a secret.
func innermost(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

// invalid is an answer that is no answer.
func (u *upstream) invalid(what string) *apiError {
	return newError(http.StatusBadGateway, codeUpstreamInvalid, "cannot use the answer of the model provider at "+u.host+": "+what)
}

// errorIn is the message of an error in any of the forms providers have for
// it, "" for none.
func (u *upstream) errorIn(data []byte) string {
	var got struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  string          `json:"detail"`
	}
	if json.Unmarshal(data, &got) != nil {
		return ""
	}
	var object struct {
		Message string `json:"message"`
	}
	var text string
	switch {
	case json.Unmarshal(got.Error, &object) == nil && object.Message != "":
		return u.quote(object.Message)
	case json.Unmarshal(got.Error, &text) == nil && text != "":
		return u.quote(text)
	case got.Message != "":
		return u.quote(got.Message)
	}
	return u.quote(got.Detail)
}

// quote makes foreign text fit for a message: no secret, no control
// characters, not too long.
func (u *upstream) quote(s string) string {
	if key := u.key.Reveal(); key != "" {
		s = strings.ReplaceAll(s, key, u.key.String())
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "…"
	}
	return s
}

// realKey is the length from which a key cannot occur in an answer by chance;
// local servers are given keys such as "ollama".
const realKey = 16

// redact takes the key out of an answer, should a provider repeat it.
func (u *upstream) redact(answer []byte) []byte {
	key := u.key.Reveal()
	if len(key) < realKey || !bytes.Contains(answer, []byte(key)) {
		return answer
	}
	return bytes.ReplaceAll(answer, []byte(key), []byte(u.key.String()))
}

// retryAfter reads a Retry-After header: seconds, or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now), true
	}
	return 0, false
}
