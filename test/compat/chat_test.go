package compat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
)

func params(system, user string) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: openai.ChatModelGPT4oMini, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(user)}}
	if system != "" {
		p.Messages = append([]openai.ChatCompletionMessageParamUnion{openai.SystemMessage(system)}, p.Messages...)
	}
	return p
}

// apiError is err as the client has it.
func apiError(t *testing.T, err error) *openai.Error {
	t.Helper()
	e, ok := errors.AsType[*openai.Error](err)
	if !ok {
		t.Fatalf("the client does not understand the error: %v", err)
	}
	return e
}

// The two gateways of `make up`: both echo.
func TestBothGatewaysChat(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const echo = "model:\n  provider: echo"
	f.profile("default", echo, "", "You are Hermes.\n")
	f.profile("coder", echo, "API_SERVER_KEY=a-key-of-its-own\n", "You are coder.\n")
	f.up()
	for name, key := range map[string]string{"default": "any", "coder": "a-key-of-its-own"} {
		t.Run(name, func(t *testing.T) {
			client := f.client(name, key)
			models, err := client.Models.List(t.Context())
			if err != nil || len(models.Data) != 1 || models.Data[0].ID != name {
				t.Fatalf("models: %+v, %v", models, err)
			}
			const question = "are you there,\n  Grüße 😀?"
			got, err := client.Chat.Completions.New(t.Context(), params("be brief", question))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Choices) != 1 || got.Choices[0].Message.Content != question || got.Choices[0].FinishReason != "stop" || got.Usage.TotalTokens == 0 {
				t.Errorf("got %s", got.RawJSON())
			}
			streamed(t, client, question)
		})
	}
	client := f.client("coder", "another key")
	_, err := client.Chat.Completions.New(t.Context(), params("", "hello"))
	if e := apiError(t, err); e.StatusCode != 401 || e.Code != "invalid_api_key" {
		t.Errorf("a wrong key: %v", e)
	}
	if out := f.hermes("status"); strings.Count(out, "running") < 4 { // state and intent of two
		t.Errorf("status:\n%s", out)
	}
	if strings.Contains(f.out.String(), "a-key-of-its-own") {
		t.Error("the key is in the output")
	}
}

func streamed(t *testing.T, client openai.Client, question string) {
	t.Helper()
	p := params("", question)
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), p)
	defer stream.Close()
	var all openai.ChatCompletionAccumulator
	deltas := 0
	for stream.Next() {
		if !all.AddChunk(stream.Current()) {
			t.Fatalf("a chunk that does not fit: %s", stream.Current().RawJSON())
		}
		deltas++
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all.Choices) != 1 || all.Choices[0].Message.Content != question || all.Choices[0].FinishReason != "stop" || all.Usage.TotalTokens == 0 {
		t.Errorf("got %+v", all.ChatCompletion)
	}
	if deltas < 5 {
		t.Errorf("%d chunks for 5 words", deltas)
	}
}

// upstream is a model provider that knows nothing of hermes.
type upstream struct {
	*httptest.Server
	requests chan seen
	proceed  chan struct{} // one per delta after the first
	gone     chan struct{} // the request was cancelled
}

type seen struct {
	path, key string
	body      map[string]any
}

func newUpstream(t *testing.T) *upstream {
	u := &upstream{requests: make(chan seen, 10), proceed: make(chan struct{}, 10), gone: make(chan struct{}, 10)}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	s := seen{path: r.URL.Path, key: r.Header.Get("Authorization")}
	data, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(data, &s.body)
	u.requests <- s
	if s.key != "Bearer "+upstreamKey {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"message":"wrong key `+s.key+`","type":"invalid_request_error","code":"invalid_api_key","param":null}}`)
		return
	}
	if s.body["stream"] != true {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"c1","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"hi there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for i, text := range []string{"hi ", "there"} {
		if i > 0 {
			select {
			case <-u.proceed:
			case <-r.Context().Done():
				u.gone <- struct{}{}
				return
			}
		}
		_, _ = io.WriteString(w, `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{"content":"`+text+`"},"finish_reason":null}]}`+"\n\n")
		_ = rc.Flush()
	}
	_, _ = io.WriteString(w, `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
}

const upstreamKey = "sk-upstream-0123456789"

// upstreamFleet are profiles over an upstream: remote; locked, with a wrong
// key; bare, without a model.
func upstreamFleet(t *testing.T) (*fleet, *upstream) {
	t.Helper()
	u := newUpstream(t)
	f := newFleet(t)
	model := "model:\n  provider: openai-compatible\n  base_url: " + u.URL + "/v1\n  name: real\n  api_key_env: REMOTE_KEY"
	f.profile("remote", model, "REMOTE_KEY="+upstreamKey+"\n", "You are the remote one.\n")
	f.profile("locked", model, "REMOTE_KEY=sk-not-the-right-key\n", "You are locked out.\n")
	f.profile("bare", "", "", "You have nothing.\n")
	f.up()
	return f, u
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	f, u := upstreamFleet(t)
	t.Run("whole", func(t *testing.T) { testWhole(t, f, u) })
	t.Run("first delta before the end", func(t *testing.T) { testFirstDelta(t, f, u) })
	t.Run("disconnect", func(t *testing.T) { testDisconnect(t, f, u) })
	t.Run("wrong key", func(t *testing.T) { testWrongKey(t, f, u) })
	t.Run("no provider", func(t *testing.T) { testNoProvider(t, f) })
	for _, key := range []string{upstreamKey, "sk-not-the-right-key"} {
		if strings.Contains(f.out.String(), key) {
			t.Error("a key is in the output")
		}
		for _, file := range []string{"gateway_state.json", "gateway.pid", "gateway.lock", "supervision.json"} {
			if data, _ := os.ReadFile(filepath.Join(f.dir("remote"), file)); strings.Contains(string(data), key) {
				t.Errorf("a key is in %s", file)
			}
		}
	}
}

func testWhole(t *testing.T, f *fleet, u *upstream) {
	client := f.client("remote", "any")
	p := params("client's system text", "hello")
	p.Seed, p.Temperature = openai.Int(42), openai.Float(0.5)
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "look"})}
	p.SetExtraFields(map[string]any{"top_k": 7})
	got, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil || got.Choices[0].Message.Content != "hi there" || got.Usage.TotalTokens != 3 {
		t.Fatalf("got %v, %v", got, err)
	}
	s := wait(t, "request", u.requests)
	if s.path != "/v1/chat/completions" || s.body["model"] != "real" || s.body["seed"] != 42.0 || s.body["temperature"] != 0.5 || s.body["top_k"] != 7.0 || len(s.body["tools"].([]any)) != 1 {
		t.Errorf("the upstream saw %s %v", s.path, s.body)
	}
	var roles, texts []string
	for _, m := range s.body["messages"].([]any) {
		m := m.(map[string]any)
		roles, texts = append(roles, m["role"].(string)), append(texts, m["content"].(string))
	}
	if strings.Join(roles, " ") != "system system user" || strings.Join(texts, "|") != "You are the remote one.|client's system text|hello" {
		t.Errorf("the upstream saw the messages %q of %q", texts, roles)
	}
}

// The upstream does not go on before the client has the first delta.
func testFirstDelta(t *testing.T, f *fleet, u *upstream) {
	client := f.client("remote", "any")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	stream := client.Chat.Completions.NewStreaming(ctx, params("", "hello"))
	defer stream.Close()
	if !stream.Next() || stream.Current().Choices[0].Delta.Content != "hi " {
		t.Fatalf("no first delta: %v", stream.Err())
	}
	t.Logf("first delta after %s, the upstream still waits", time.Since(began))
	u.proceed <- struct{}{}
	text := "hi "
	for stream.Next() {
		text += stream.Current().Choices[0].Delta.Content
	}
	if err := stream.Err(); err != nil || text != "hi there" {
		t.Errorf("got %q, %v", text, err)
	}
	wait(t, "request", u.requests)
}

func testDisconnect(t *testing.T, f *fleet, u *upstream) {
	client := f.client("remote", "any")
	stream := client.Chat.Completions.NewStreaming(t.Context(), params("", "hello"))
	if !stream.Next() {
		t.Fatal(stream.Err())
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	wait(t, "the upstream's request is cancelled", u.gone)
	wait(t, "request", u.requests)
}

func testWrongKey(t *testing.T, f *fleet, u *upstream) {
	client := f.client("locked", "any")
	_, err := client.Chat.Completions.New(t.Context(), params("", "hello"))
	e := apiError(t, err)
	if e.StatusCode != 502 || e.Code != "upstream_auth" || !strings.Contains(e.Message, "REMOTE_KEY") || strings.Contains(e.Message, "sk-") {
		t.Errorf("got %v", e)
	}
	wait(t, "request", u.requests)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params("", "hello"))
	if stream.Next() || apiError(t, stream.Err()).Code != "upstream_auth" {
		t.Errorf("got %v", stream.Err())
	}
	wait(t, "request", u.requests)
}

func testNoProvider(t *testing.T, f *fleet) {
	client := f.client("bare", "any")
	if models, err := client.Models.List(t.Context()); err != nil || len(models.Data) != 1 || models.Data[0].ID != "bare" {
		t.Errorf("models: %+v, %v", models, err)
	}
	_, err := client.Chat.Completions.New(t.Context(), params("", "hello"))
	e := apiError(t, err)
	if e.StatusCode != 503 || e.Code != "no_provider" {
		t.Errorf("got %v", e)
	}
	for _, want := range []string{"model.base_url", "model.name", filepath.Join(f.dir("bare"), "config.yaml"), "OPENAI_API_KEY", filepath.Join(f.dir("bare"), ".env")} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("the message does not name %s: %s", want, e.Message)
		}
	}
	until(t, "bare is degraded", func() bool { return strings.Contains(f.hermes("status"), "degraded") })
}
