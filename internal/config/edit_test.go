package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/internal/config"
	"hermes/internal/fault"
)

func TestSetDotenv(t *testing.T) {
	const name = "OPENAI_API_KEY"
	tests := []struct{ label, text, value, want string }{
		{"a new file", "", "sk-1", "OPENAI_API_KEY=sk-1\n"},
		{"at the end", "# mine\nA=1", "sk-1", "# mine\nA=1\nOPENAI_API_KEY=sk-1\n"},
		{"in its place", "A=1\nOPENAI_API_KEY=old\n\n# last\nB=2\n", "sk-1", "A=1\nOPENAI_API_KEY=sk-1\n\n# last\nB=2\n"},
		{"export and a comment stay", "  export OPENAI_API_KEY = old   # of the team\n", "sk-1", "  export OPENAI_API_KEY = sk-1   # of the team\n"},
		{"behind quotes, too", "OPENAI_API_KEY='old #1' # mine\nB=2\n", "sk-1", "OPENAI_API_KEY=sk-1 # mine\nB=2\n"},
		{"nothing of a longer value stays", "OPENAI_API_KEY=\"old #1\ntwo\"\nB=2\n", "sk-1", "OPENAI_API_KEY=sk-1\nB=2\n"},
		{"an empty one", "OPENAI_API_KEY=\nB=2", "sk-1", "OPENAI_API_KEY=sk-1\nB=2"},
		{"the last of two", "OPENAI_API_KEY=a\nOPENAI_API_KEY=b\n", "sk-1", "OPENAI_API_KEY=a\nOPENAI_API_KEY=sk-1\n"},
		{"not in another value", "A='\nOPENAI_API_KEY=x\n'\n", "sk-1", "A='\nOPENAI_API_KEY=x\n'\nOPENAI_API_KEY=sk-1\n"},
		{"not a longer name", "MY_OPENAI_API_KEY=a\nOPENAI_API_KEY_2=b\n", "sk-1", "MY_OPENAI_API_KEY=a\nOPENAI_API_KEY_2=b\nOPENAI_API_KEY=sk-1\n"},
		{"not a comment", "# OPENAI_API_KEY=…\n", "sk-1", "# OPENAI_API_KEY=…\nOPENAI_API_KEY=sk-1\n"},
		{"ends of lines", "A=1\r\nOPENAI_API_KEY=old\r\nB=2\r\n", "sk-1", "A=1\r\nOPENAI_API_KEY=sk-1\r\nB=2\r\n"},
		{"ends of lines, new", "A=1\r\n", "sk-1", "A=1\r\nOPENAI_API_KEY=sk-1\r\n"},
		{"a mark", "\uFEFFA=1\n", "sk-1", "\uFEFFA=1\nOPENAI_API_KEY=sk-1\n"},
		{"single quotes", "", "a b#c $d", "OPENAI_API_KEY='a b#c $d'\n"},
		{"double quotes", "", "it's", "OPENAI_API_KEY=\"it's\"\n"},
		{"lines", "", "it's\ntwo\\", "OPENAI_API_KEY=\"it's\\ntwo\\\\\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			got, err := config.SetDotenv("/h/.env", []byte(tt.text), name, config.Secret(tt.value))
			if tt.label == "lines" { // a backslash before the closing quote is what that parser cannot read
				if fault.CodeOf(err) != fault.InvalidConfig {
					t.Fatalf("%q, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetDotenvErrorsQuoteNoSecret(t *testing.T) {
	const secret = "s3cret"
	tests := []struct{ label, text, name, value string }{
		{"a wrong file", "B-" + secret + "=1\n", "A", "1"},
		{"a wrong name", "", "A " + secret, "1"},
		{"a value for no file", "", "A", secret + "\x00"},
		{"a value that cannot be quoted", "", "A", "'" + secret + "\""},
		{"a file that would be too large", strings.Repeat("#", config.MaxDotenvSize-4), "A", secret},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			got, err := config.SetDotenv("/h/.env", []byte(tt.text), tt.name, config.Secret(tt.value))
			if fault.CodeOf(err) != fault.InvalidConfig || got != nil {
				t.Fatalf("%q, %v", got, err)
			}
			if f := new(fault.Error); !asFault(err, &f) || strings.Contains(f.Msg+f.Hint, secret) {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
}

func asFault(err error, to **fault.Error) bool {
	f, ok := err.(*fault.Error)
	*to = f
	return ok
}

// Every key a provider may give out can be written, and is read back as it was.
func TestSetDotenvRoundTrip(t *testing.T) {
	line := rapid.SampledFrom([]string{"A=1", "# a comment", "", "export B='x y' # z", "KEY=old", "KEY='o\nld'", "KEY=\"a\\\"b\" # c", "C=\"l1\nKEY=no\nl3\"", "KEY: yaml", "D=$x"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(line).Draw(t, "lines"), "\n") + rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end")
		value := rapid.StringMatching(`[!#-&(-~][!-~]{0,60}`).Draw(t, "key")
		was, err := config.ParseDotenv("p", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.SetDotenv("p", []byte(text), "KEY", config.Secret(value))
		if err != nil {
			t.Fatalf("%q into %q: %v", value, text, err)
		}
		checkDotenv(t, text, string(got), "KEY", value, was)
	})
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkDotenv: the variable is set, all else says what it did, and every line
// that did not set the variable is still there, in order.
func checkDotenv(t failer, before, after, name, value string, was map[string]string) {
	t.Helper()
	now, err := config.ParseDotenv("p", []byte(after))
	if err != nil || now[name] != value {
		t.Fatalf("%q was read back as %q of %q: %v", value, now[name], after, err)
	}
	want := maps.Clone(was)
	want[name] = value
	if !maps.Equal(now, want) {
		t.Fatalf("%q became %q: %v, want %v", before, after, now, want)
	}
	lines := slices.Collect(strings.Lines(after))
	for line := range strings.Lines(before) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "#") {
			continue
		}
		i := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSpace(l) == line })
		if i < 0 && len(was) == 0 { // else it may be part of the old value
			t.Fatalf("%q lost the comment %q: %q", before, line, after)
		}
		if i >= 0 {
			lines = lines[i+1:]
		}
	}
}

func FuzzSetDotenv(f *testing.F) {
	for _, s := range []string{"", "K=1", "export K='b c' # d", "K=\"x\\n\"", "A='\nK=1\n'", "K=a\r\nB=2\r\n", "\uFEFFK=1", "K: 1", "K=", "K='a\\'"} {
		f.Add([]byte(s), "sk-1")
		f.Add([]byte(s), "it's \"x\"\\")
	}
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		was, err := config.ParseDotenv("p", data)
		if err != nil {
			return
		}
		got, err := config.SetDotenv("p", data, "K", config.Secret(value))
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatal(err)
			}
			return
		}
		checkDotenv(t, string(data), string(got), "K", value, was)
	})
}
