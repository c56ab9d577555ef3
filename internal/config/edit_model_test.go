package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"hermes/internal/config"
	"hermes/internal/fault"
)

func TestSetModel(t *testing.T) {
	openai := config.Model{Provider: "openai", Name: "gpt-4o", APIKeyEnv: "OPENAI_API_KEY"}
	own := config.Model{Provider: "custom", BaseURL: "http://127.0.0.1:11434/v1", Name: "llama3"}
	const said = "  provider: openai\n  name: gpt-4o\n  api_key_env: OPENAI_API_KEY\n"
	tests := []struct {
		label string
		text  string
		model config.Model
		want  string
	}{
		{"no file", "", openai, "model:\n" + said},
		{"comments alone", "# a\n#\n# model:\n", openai, "# a\n#\n# model:\n\nmodel:\n" + said},
		{"another section", "# top\ngateway:\n\n  port: 9000   # mine\n# end", openai, "# top\ngateway:\n\n  port: 9000   # mine\n# end\n\nmodel:\n" + said},
		{"an indented file", "  gateway:\n    port: 9000\n", openai, "  gateway:\n    port: 9000\n\n  model:\n" + strings.ReplaceAll(said, "  ", "    ")},
		{
			"in its place",
			"agent: {x: [1, 2]}\n\nmodel:      # which\n\n    # who answers\n    provider: 'openrouter'   # for now\n    max_tokens: 5\n    name: \"a: b\"\n\n# next\ngateway:\n    port: 9000\n",
			openai,
			"agent: {x: [1, 2]}\n\nmodel:      # which\n\n    # who answers\n    provider: openai   # for now\n    max_tokens: 5\n    name: gpt-4o\n    api_key_env: OPENAI_API_KEY\n\n# next\ngateway:\n    port: 9000\n",
		},
		{"nothing to do", "model:\n" + said + "# x\n", openai, "model:\n" + said + "# x\n"},
		{
			"what is not said any more becomes a comment",
			"model:\n  provider: openai\n  api_key_env: OPENAI_API_KEY # mine\n  name: gpt-4o", own,
			"model:\n  provider: custom\n  base_url: http://127.0.0.1:11434/v1\n  # api_key_env: OPENAI_API_KEY # mine\n  name: llama3",
		},
		{"an empty address", "model:\n  base_url: \"\"  # none\n  provider: openai\n", openai, "model:\n  base_url: \"\"  # none\n  provider: openai\n  name: gpt-4o\n  api_key_env: OPENAI_API_KEY\n"},
		{"the original's word for the name", "model:\n  default: gpt-3   # old\n  provider: auto\n", openai, "model:\n  default: gpt-4o   # old\n  provider: openai\n  api_key_env: OPENAI_API_KEY\n"},
		{"the original's short form", "model: gpt-3   # old\nx: 1\n", openai, "model:   # old\n" + said + "x: 1\n"},
		{"no value", "model:\nx: 1\n", openai, "model:\n" + said + "x: 1\n"},
		{"null", "model: ~\nx: 1\n", openai, "model:\n" + said + "x: 1\n"},
		{"braces", "model: {provider: echo, max_tokens: 5} # try\n\nx: 1\n", openai, "model: {provider: openai, max_tokens: 5, name: gpt-4o, api_key_env: OPENAI_API_KEY} # try\n\nx: 1\n"},
		{"braces in quotes", "model: {name: 'a}', provider: echo}\n", own, "model: {name: llama3, provider: custom, base_url: 'http://127.0.0.1:11434/v1'}\n"},
		{"braces on several lines", "model: {\n  provider: echo\n}\nx: 1\n", openai, "model: {provider: openai, name: gpt-4o, api_key_env: OPENAI_API_KEY}\nx: 1\n"},
		{"JSON", `{"x": 1, "model": {"provider": "echo"}}`, openai, `{"x": 1, "model": {"provider": openai, name: gpt-4o, api_key_env: OPENAI_API_KEY}}` + "\n"},
		{"a value on several lines", "model:\n  name: >\n    gpt\n    3\n  provider: openai # p\n", openai, "model:\n  name: gpt-4o\n  provider: openai # p\n  api_key_env: OPENAI_API_KEY\n"},
		{"ends of lines", "x: 1\r\nmodel:\r\n  provider: echo\r\n", openai, "x: 1\r\nmodel:\r\n  provider: openai\r\n  name: gpt-4o\r\n  api_key_env: OPENAI_API_KEY\r\n"},
		{"a mark", "\uFEFFx: 1\n", openai, "\uFEFFx: 1\n\nmodel:\n" + said},
		{"the end of a document", "x: 1\n...\n", openai, "x: 1\nmodel:\n" + said},
		{"a comment in braces", "model: {provider: echo, # why\n  name: x}\n", openai, "model: {provider: openai, # why\n  name: gpt-4o, api_key_env: OPENAI_API_KEY}\n"},
		{"a word that is no word", "", config.Model{Provider: "echo", Name: "1.5"}, "model:\n  provider: echo\n  name: '1.5'\n"},
		{"letters of several bytes", "model:\n  \"provider\": \"échö\"  # ü\n", openai, "model:\n  \"provider\": openai  # ü\n  name: gpt-4o\n  api_key_env: OPENAI_API_KEY\n"},
		{"its own command", "gateway:\n  command: x\n", openai, "gateway:\n  command: x\n\nmodel:\n" + said},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			got, err := config.SetModel("/h/config.yaml", []byte(tt.text), tt.model)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("%s\ngot:\n%s", diff, got)
			}
			again, err := config.SetModel("/h/config.yaml", got, tt.model)
			if err != nil || string(again) != string(got) {
				t.Errorf("not the same a second time: %v\n%s", err, again)
			}
		})
	}
}

func TestSetModelErrors(t *testing.T) {
	openai := config.Model{Provider: "openai", Name: "gpt-4o"}
	tests := []struct {
		label, text string
		model       config.Model
		want        string
	}{
		{"a file that is wrong", "gateway:\n  prot: 1\n", openai, "/h/config.yaml:2: gateway.prot is no setting"},
		{"no YAML", "a: [\n", openai, "not YAML"},
		{"a section that stands elsewhere, too", "x: &m {provider: echo}\nmodel: *m\n", openai, "cannot change model: in /h/config.yaml without losing"},
		{"a wrong address", "", config.Model{Provider: "custom", BaseURL: "localhost"}, "model.base_url is not a URL"},
		{"a password in the address", "", config.Model{Provider: "custom", BaseURL: "http://u:p@h/"}, "model.base_url contains a password"},
		{"a key in the wrong place", "", config.Model{Provider: "openai", APIKeyEnv: "sk-s3cret"}, "must be the name of a variable in .env"},
		{"a name that drives a terminal", "", config.Model{Provider: "openai", Name: "a\x1b[2J"}, "model.name has characters"},
		{"a comment behind a brace", "model: { # why\n  name: x}\n", openai, "without losing"},
		{"comments around braces", "# a\n\n# b\n{x: 1}\n# c\n", openai, "without losing"},
		{"an address that stands elsewhere, too", "model:\n  base_url: &u https://h/\nx: *u\n", openai, "without losing"},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			got, err := config.SetModel("/h/config.yaml", []byte(tt.text), tt.model)
			if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), tt.want) || got != nil {
				t.Fatalf("%q, %v, want %q", got, err, tt.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error quotes what may be the key: %v", err)
			}
		})
	}
}

// sections are what config.yaml files are made of.
func sections() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		"# a comment\n", "\n", "x: 1\n", "y: [1, 2] # why\n", "z:\n  - a # b\n  - {c: d}\n", "w: |\n  text # no comment\n\n  more\n",
		"v: 'a # b'\n", "gateway:\n  # port\n  port: 9000 # mine\n", "gateway: {restart: never}\n", "u: &u {a: 1}\nt: *u\n",
	})
}

func models() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		"", "model:\n", "model: gpt # c\n", "model: {provider: echo}\n", "model: {provider: echo, name: \"}\"} # c\n", "model: {}\n",
		"model:\n  # who\n  provider: openai # p\n\n  base_url: 'https://h/'\n  api_key_env: KEY # k\n  # end\n",
		"model:\n    name: |\n      x\n    max_tokens: 5 # m\n", "model:\n  default:  \n  provider: \"a\\\"b\" # q\n", "model:\n- x\n",
	})
}

// Whatever the file was, the section says what it should, and the rest and all
// comments are there.
func TestSetModelKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfNDistinct(sections(), 0, 4, first).Draw(t, "before"), "") +
			models().Draw(t, "model") + rapid.SampledFrom([]string{"", "# after\n", "end: 1 # e\n", "end: |+\n  a\n\n"}).Draw(t, "after")
		if rapid.Bool().Draw(t, "cut") {
			text = strings.TrimSuffix(text, "\n")
		}
		if rapid.Bool().Draw(t, "crlf") {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		m := config.Model{
			Provider:  rapid.SampledFrom([]string{"openai", "echo", "true", "a: b", "#x"}).Draw(t, "provider"),
			BaseURL:   rapid.SampledFrom([]string{"", "https://example.org:1/v1?a=b#c"}).Draw(t, "url"),
			Name:      rapid.StringMatching(`|[!-~]{1,8}|[a-z]/é #[a-z]`).Draw(t, "name"),
			APIKeyEnv: rapid.SampledFrom([]string{"", "KEY"}).Draw(t, "key"),
		}
		got, err := config.SetModel("p", []byte(text), m)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatal(err)
			}
			if _, valid := config.ParseFile("p", []byte(text)); valid == nil && !strings.Contains(err.Error(), "losing") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		checkModel(t, text, string(got), m)
	})
}

func first(s string) string { return strings.SplitN(s, ":", 2)[0] }

func checkModel(t failer, before, after string, m config.Model) {
	t.Helper()
	file, err := config.ParseFile("p", []byte(after))
	if err != nil || (file.Gateway.Command == nil && file.Model != m) {
		t.Fatalf("%q became %q: %+v, want %+v: %v", before, after, file.Model, m, err)
	}
	was, is := map[string]any{}, map[string]any{}
	if errWas, errIs := yaml.Load([]byte(strings.TrimPrefix(before, "\uFEFF")), &was), yaml.Load([]byte(strings.TrimPrefix(after, "\uFEFF")), &is); errWas == nil {
		delete(was, "model")
		delete(is, "model")
		same := len(was) == 0 && len(is) == 0 || reflect.DeepEqual(was, is) // what is null has no keys either
		if errIs != nil || !same {
			t.Fatalf("%q became %q: %v, want %v: %v", before, after, is, was, errIs)
		}
	}
	for line := range strings.Lines(before) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") && !strings.Contains(after, line) {
			t.Fatalf("%q lost %q: %q", before, line, after)
		}
	}
}

func FuzzSetModel(f *testing.F) {
	for _, s := range []string{"", "x: 1\n", "model: {provider: echo}", "model:\n  provider: a # b\n  base_url: ''\n", "model: x", "{model: {}}", "# c", "a: |\n  b", "model:\r\n  name: x\r\n", "x: 1\n...\n", "model: &a\n  name: x\ny: *a", "&0", "~"} {
		f.Add([]byte(s), "gpt-4o", "KEY")
		f.Add([]byte(s), "a: #b", "")
	}
	f.Fuzz(func(t *testing.T, data []byte, name, key string) {
		m := config.Model{Provider: "openai", Name: name, APIKeyEnv: key}
		got, err := config.SetModel("p", data, m)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatal(err)
			}
			return
		}
		checkModel(t, string(data), string(got), m)
	})
}
