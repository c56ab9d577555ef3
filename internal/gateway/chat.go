package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
)

// maxBody is the largest request body, in bytes: the original's.
const maxBody = 10 << 20

// chat is a request for a completion. Only what is needed here is read; the
// rest stays as the client wrote it.
type chat struct {
	fields   map[string]json.RawMessage
	messages []json.RawMessage
	model    string
	stream   bool
	// wantUsage says that the stream shall end with a chunk of usage.
	wantUsage bool
}

// readChat reads a request's body. The error is an *apiError.
func readChat(w http.ResponseWriter, r *http.Request) (*chat, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, newError(http.StatusRequestEntityTooLarge, codeTooLarge, "the body is larger than 10 MB")
	}
	if err != nil {
		return nil, badRequest("", "the body did not arrive whole")
	}
	return parseChat(body)
}

// parseChat reads a body. The error is an *apiError.
func parseChat(body []byte) (*chat, error) {
	c := &chat{}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, badRequest("", "the body must be a JSON object")
	}
	if err := json.Unmarshal(body, &c.fields); err != nil {
		return nil, badRequest("", "the body is not JSON: "+err.Error())
	}
	for _, f := range []struct {
		name string
		to   any
		what string
	}{
		{"messages", &c.messages, "an array of messages"},
		{"model", &c.model, "a string"},
		{"stream", &c.stream, "true or false"},
	} {
		if raw, ok := c.fields[f.name]; ok && json.Unmarshal(raw, f.to) != nil {
			return nil, badRequest(f.name, f.name+" must be "+f.what)
		}
	}
	if len(c.messages) == 0 {
		return nil, badRequest("messages", "messages must have at least one message")
	}
	for _, m := range c.messages {
		if m[0] != '{' {
			return nil, badRequest("messages", "every message must be an object")
		}
	}
	var options struct {
		IncludeUsage bool `json:"include_usage"`
	}
	if raw, ok := c.fields["stream_options"]; ok && json.Unmarshal(raw, &options) == nil {
		c.wantUsage = options.IncludeUsage
	}
	return c, nil
}

// upstreamBody is the request as a provider gets it: with its own name of the
// model, and soul, unless it is empty, as the first message. All else is as
// the client wrote it.
func (c *chat) upstreamBody(model, soul string) ([]byte, error) {
	messages := c.messages
	if soul != "" {
		first, err := encode(message{Role: "system", Content: &soul})
		if err != nil {
			return nil, err
		}
		messages = append([]json.RawMessage{bytes.TrimSpace(first)}, messages...)
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(c.fields)) {
		if name == "model" || name == "messages" {
			continue
		}
		if err := writeField(&b, name, c.fields[name]); err != nil {
			return nil, err
		}
	}
	name, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	if err := writeField(&b, "model", name); err != nil {
		return nil, err
	}
	list := append([]byte{'['}, bytes.Join(rawBytes(messages), []byte{','})...)
	if err := writeField(&b, "messages", append(list, ']')); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func writeField(b *bytes.Buffer, name string, value []byte) error {
	quoted, err := json.Marshal(name)
	if err != nil {
		return err
	}
	separator := byte(',')
	if b.Len() == 0 {
		separator = '{'
	}
	b.WriteByte(separator)
	b.Write(quoted)
	b.WriteByte(':')
	b.Write(value)
	return nil
}

func rawBytes(messages []json.RawMessage) [][]byte {
	out := make([][]byte, len(messages))
	for i, m := range messages {
		out[i] = m
	}
	return out
}
