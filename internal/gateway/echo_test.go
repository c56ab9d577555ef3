package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEcho(t *testing.T) {
	a := newAPI(t, settings{provider: echo{soul: "a secret persona"}})
	for _, tt := range []struct{ messages, want string }{
		{`{"role":"user","content":"hello"}`, "hello"},
		{`{"role":"system","content":"s"},{"role":"user","content":"one"},{"role":"assistant","content":"a"},{"role":"user","content":"two"}`, "two"},
		{`{"role":"user","content":"asked"},{"role":"assistant","content":"answered"}`, "asked"},
		{`{"role":"user","content":[{"type":"text","text":"a "},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b"}]}`, "a b"},
		{`{"role":"user","content":""}`, ""},
		{`{"role":"user"}`, ""},
		{`{"role":"user","content":"Grüße, \ud83d\ude00!"}`, "Grüße, 😀!"},
	} {
		var got completion
		body := readAll(t, a.chat(`{"model":"m","messages":[`+tt.messages+`]}`).Body)
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Choices) != 1 || got.Choices[0].Message == nil || got.Choices[0].Message.Content == nil || *got.Choices[0].Message.Content != tt.want {
			t.Errorf("%s: got %s", tt.messages, body)
			continue
		}
		if got.Object != "chat.completion" || got.Model != "m" || *got.Choices[0].FinishReason != "stop" || got.Choices[0].Message.Role != "assistant" {
			t.Errorf("%s: got %s", tt.messages, body)
		}
		if u := got.Usage; u == nil || u.PromptTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
			t.Errorf("%s: usage %+v", tt.messages, u)
		}
		if strings.Contains(body, "persona") {
			t.Errorf("the system prompt is in the answer: %s", body)
		}
	}
}

// stream returns the chunks of a streamed echo.
func echoStream(t *testing.T, a *api, body string) []completion {
	t.Helper()
	resp := a.chat(body)
	for k, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	all := events(t, readAll(t, resp.Body))
	if last := string(all[len(all)-1].data); last != "[DONE]" {
		t.Fatalf("the last event is %q", last)
	}
	var chunks []completion
	for _, e := range all[:len(all)-1] {
		var c completion
		if err := json.Unmarshal(e.data, &c); err != nil {
			t.Fatalf("%s: %v", e.data, err)
		}
		chunks = append(chunks, c)
	}
	return chunks
}

func TestEchoStream(t *testing.T) {
	a := newAPI(t, settings{provider: echo{}})
	chunks := echoStream(t, a, `{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"one  two\nthree "}]}`)
	var got []string
	for i, c := range chunks {
		if c.ID != chunks[0].ID || c.Object != "chat.completion.chunk" || c.Model != "coder" {
			t.Errorf("chunk %d: %+v", i, c)
		}
		for _, choice := range c.Choices {
			if choice.Delta.Content != nil {
				got = append(got, *choice.Delta.Content)
			}
		}
	}
	if diff := cmp.Diff([]string{"", "one  ", "two\n", "three "}, got); diff != "" {
		t.Error(diff)
	}
	if first := chunks[0].Choices[0].Delta.Role; first != "assistant" {
		t.Errorf("the first chunk has the role %q", first)
	}
	n := len(chunks)
	if r := chunks[n-2].Choices[0].FinishReason; r == nil || *r != "stop" {
		t.Error("no finish_reason before the usage")
	}
	if chunks[n-1].Usage == nil || chunks[n-1].Choices == nil || len(chunks[n-1].Choices) != 0 {
		t.Errorf("the last chunk is not that of usage: %+v", chunks[n-1])
	}
	if c := echoStream(t, a, helloStream); c[len(c)-1].Usage != nil {
		t.Error("usage that nobody asked for")
	}
}

// The words of a text are the text.
func TestWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		var all string
		for w := range words(text) {
			if w == "" {
				t.Fatal("an empty word")
			}
			all += w
		}
		if all != text {
			t.Fatalf("got %q, want %q", all, text)
		}
	})
}
