package gateway

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// decodeExact decodes JSON without losing digits.
func decodeExact(t interface{ Fatalf(string, ...any) }, data []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return v
}

func TestUpstreamBody(t *testing.T) {
	const body = ` {"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"const":12345678901234567890}}}}}],
		"model":"client's", "response_format":{"type":"json_object"}, "x_unknown":{"<&>":null}, "seed":9007199254740993, "temperature":1.0,
		"messages":[{"role":"system","content":"client's system"},{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}`
	c, err := parseChat([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.upstreamBody("real", "soul \"of\"\n<me>")
	if err != nil {
		t.Fatal(err)
	}
	want := decodeExact(t, []byte(body))
	want["model"] = "real"
	want["messages"] = append([]any{map[string]any{"role": "system", "content": "soul \"of\"\n<me>"}}, want["messages"].([]any)...)
	if diff := cmp.Diff(want, decodeExact(t, got)); diff != "" {
		t.Error(diff)
	}
	if !bytes.Contains(got, []byte("9007199254740993")) || !bytes.Contains(got, []byte(`"temperature":1.0`)) {
		t.Errorf("numbers were rewritten: %s", got)
	}
}

func TestUpstreamBodyWithoutSoul(t *testing.T) {
	c, err := parseChat([]byte(hello))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.upstreamBody("real", "")
	if want := `{"model":"real","messages":[{"role":"user","content":"hello"}]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}

// Whatever a client sends arrives, beside what is ours.
func TestUpstreamBodyKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.MapOf(rapid.String(), rapid.OneOf(
			rapid.Just[any](nil), rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(),
			rapid.MapOf(rapid.String(), rapid.Float64Range(-1e300, 1e300).AsAny()).AsAny(), rapid.SliceOf(rapid.String()).AsAny(),
		)).Draw(t, "fields")
		delete(fields, "stream")
		delete(fields, "model")
		fields["messages"] = []any{map[string]any{"role": "user", "content": rapid.String().Draw(t, "content")}}
		body, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseChat(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got, err := c.upstreamBody("real", "soul")
		if err != nil {
			t.Fatal(err)
		}
		sent, arrived := decodeExact(t, body), decodeExact(t, got)
		messages := arrived["messages"].([]any)
		if diff := cmp.Diff(sent["messages"], any(messages[1:])); diff != "" {
			t.Fatal(diff)
		}
		delete(sent, "messages")
		delete(arrived, "messages")
		delete(arrived, "model")
		if diff := cmp.Diff(sent, arrived); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseChat(f *testing.F) {
	f.Add([]byte(hello))
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"stream":true,"stream_options":{"include_usage":true},"tools":[]}`))
	f.Add([]byte(`{"messages":[null],"messages":[{}],"":{"":""}}`))
	f.Add([]byte("{\"messages\":[{}],\"\xff\":1}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseChat(body)
		if err != nil {
			if _, ok := err.(*apiError); !ok {
				t.Fatalf("not an apiError: %v", err)
			}
			return
		}
		out, err := c.upstreamBody("real", "soul")
		if err != nil || !json.Valid(out) {
			t.Fatalf("%q became %q, %v", body, out, err)
		}
		again, err := parseChat(out)
		if err != nil || again.model != "real" || len(again.messages) != len(c.messages)+1 || again.stream != c.stream {
			t.Fatalf("%q became %q, %v", body, out, err)
		}
		_, _ = echo{}.complete(t.Context(), c)
	})
}
