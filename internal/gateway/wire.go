package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// The codes of our errors; those OpenAI's API has, too, are spelled as there.
const (
	codeInvalidKey      = "invalid_api_key"
	codeInvalidRequest  = "invalid_request"
	codeForbidden       = "forbidden_origin"
	codeNotFound        = "not_found"
	codeMethod          = "method_not_allowed"
	codeTooLarge        = "body_too_large"
	codeBusy            = "too_many_requests"
	codeShutdown        = "shutting_down"
	codeNoProvider      = "no_provider"
	codeInternal        = "internal"
	codeUpstream        = "upstream_error"
	codeUpstreamAuth    = "upstream_auth"
	codeUpstreamLimit   = "upstream_rate_limit"
	codeUpstreamTimeout = "upstream_timeout"
	codeUpstreamInvalid = "upstream_invalid"    // an answer that is none
	codeUpstreamCut     = "upstream_incomplete" // an answer that ends in the middle
)

// The types of errors, as OpenAI's API has them.
const (
	typeInvalidRequest = "invalid_request_error"
	typeRateLimit      = "rate_limit_error"
	typeServer         = "server_error"
)

const (
	contentJSON   = "application/json"
	contentEvents = "text/event-stream"

	headerRetryAfter  = "Retry-After"
	headerShouldRetry = "X-Should-Retry" // OpenAI's clients obey it

	statusClientGone = 499 // nginx's word for it; only in logs
)

// apiError is a failure as a client sees it, in OpenAI's envelope.
type apiError struct {
	status     int
	kind       string // the envelope's type
	code       string
	param      string
	message    string
	retryAfter string // seconds or a date, "" when not said
	final      bool   // trying again is no use until somebody has acted
	header     http.Header
}

func (e *apiError) Error() string { return e.message }

// newError makes an apiError whose type follows from its status.
func newError(status int, code, message string) *apiError {
	e := &apiError{status: status, kind: typeServer, code: code, message: message}
	switch {
	case status == http.StatusTooManyRequests:
		e.kind = typeRateLimit
	case status < http.StatusInternalServerError:
		e.kind = typeInvalidRequest
	}
	return e
}

func badRequest(param, message string) *apiError {
	e := newError(http.StatusBadRequest, codeInvalidRequest, message)
	e.param = param
	return e
}

// envelope is the error object of OpenAI's API. Code is a string with us, and
// with others a number or nothing.
type envelope struct {
	Error envelopeError `json:"error"`
}

type envelopeError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

func (e *apiError) encode() []byte {
	body := envelope{envelopeError{Message: e.message, Type: e.kind, Code: e.code}}
	if e.param != "" {
		body.Error.Param = &e.param
	}
	data, err := encode(body)
	if err != nil {
		panic("internal error: an envelope of strings is not JSON: " + err.Error())
	}
	return data
}

// asError is the apiError for err; nil when the client is gone and there is
// nobody to tell.
func asError(ctx context.Context, err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if ctx.Err() != nil {
		if errors.Is(context.Cause(ctx), errShutdown) {
			return shuttingDown()
		}
		return nil
	}
	return newError(http.StatusInternalServerError, codeInternal, "internal error")
}

func shuttingDown() *apiError {
	e := newError(http.StatusServiceUnavailable, codeShutdown, errShutdown.Error())
	e.retryAfter = "1"
	return e
}

// writeError answers with e. Nothing may have been written before.
func writeError(w http.ResponseWriter, e *apiError) {
	h := w.Header()
	maps.Copy(h, e.header)
	if e.retryAfter != "" {
		h.Set(headerRetryAfter, e.retryAfter)
	}
	if e.final {
		h.Set(headerShouldRetry, "false")
	}
	writeJSON(w, e.status, e.encode())
}

// answerTimeout is how long a client may take to accept a whole answer.
const answerTimeout = time.Minute

func writeJSON(w http.ResponseWriter, status int, data []byte) {
	// net/http clears it after the answer; a test's recorder has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	h := w.Header()
	h.Set("Content-Type", contentJSON)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that is gone needs no answer
}

// healthAnswer is the body of GET /health.
type healthAnswer struct {
	Status  string `json:"status"` // ok, degraded, draining
	Profile string `json:"profile"`
	Version string `json:"version"`
}

// modelList is the body of GET /v1/models.
type modelList struct {
	Object string      `json:"object"`
	Data   []modelInfo `json:"data"`
}

type modelInfo struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// completion is a chat completion, or with Object completionChunk a part of
// one: what the provider echo answers. Other providers' answers are not read.
type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

const (
	completionWhole = "chat.completion"
	completionChunk = "chat.completion.chunk"
)

type choice struct {
	Index        int      `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	FinishReason *string  `json:"finish_reason"`
}

type message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// textOf is the text of a message's content: a string, or parts of which some
// are text.
func textOf(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return ""
	}
	for _, p := range parts {
		if p.Type == "text" {
			text += p.Text
		}
	}
	return text
}
