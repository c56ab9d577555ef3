package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"
	"unicode"
)

// echo is the provider that answers with the last message of the user: to try
// a client, and for tests. It is never chosen unless config.yaml says so.
type echo struct{ soul string }

var _ provider = echo{}

// complete answers at once.
func (e echo) complete(_ context.Context, c *chat) ([]byte, error) {
	text, used, err := e.answer(c)
	if err != nil {
		return nil, err
	}
	whole := newCompletion(completionWhole, c.model)
	whole.Choices = []choice{{Message: &message{Role: "assistant", Content: &text}, FinishReason: finished()}}
	whole.Usage = used
	return encode(whole)
}

// stream answers word by word.
func (e echo) stream(_ context.Context, c *chat, send sender) error {
	text, used, err := e.answer(c)
	if err != nil {
		return err
	}
	part := newCompletion(completionChunk, c.model)
	put := func(choices ...choice) error {
		part.Choices = choices
		data, err := json.Marshal(part)
		if err != nil {
			return err
		}
		return send(event{data: data}, false)
	}
	empty := ""
	if err := put(choice{Delta: &message{Role: "assistant", Content: &empty}}); err != nil {
		return err
	}
	for word := range words(text) {
		if err := put(choice{Delta: &message{Content: &word}}); err != nil {
			return err
		}
	}
	if err := put(choice{Delta: &message{}, FinishReason: finished()}); err != nil || !c.wantUsage {
		return err
	}
	part.Usage = used
	return put([]choice{}...)
}

func (e echo) answer(c *chat) (string, *usage, error) {
	var last *string
	prompt := tokens(e.soul)
	for _, raw := range c.messages {
		var m struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		}
		if json.Unmarshal(raw, &m) != nil {
			return "", nil, badRequest("messages", "the role of a message must be a string")
		}
		text := textOf(m.Content)
		prompt += tokens(text)
		if m.Role == "user" {
			last = &text
		}
	}
	if last == nil {
		return "", nil, badRequest("messages", "there is no message of the role user to echo")
	}
	n := tokens(*last)
	return *last, &usage{PromptTokens: prompt, CompletionTokens: n, TotalTokens: prompt + n}, nil
}

// tokens estimates a text's tokens: a token has some four bytes.
func tokens(text string) int { return (len(text) + 3) / 4 }

func newCompletion(object, model string) completion {
	return completion{ID: "chatcmpl-" + strings.ToLower(rand.Text()), Object: object, Created: time.Now().Unix(), Model: model}
}

func finished() *string { s := "stop"; return &s }

// words yields the words of text, each with the blanks after it.
func words(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			end := wordEnd(text)
			if !yield(text[:end]) {
				return
			}
			text = text[end:]
		}
	}
}

// wordEnd is where the next word begins.
func wordEnd(text string) int {
	blank := false
	for i, r := range text {
		if unicode.IsSpace(r) {
			blank = true
		} else if blank {
			return i
		}
	}
	return len(text)
}
