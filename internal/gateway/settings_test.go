package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// newProfile makes a profile of these files and returns its home.
func newProfile(t *testing.T, name profile.Name, files map[string]string) string {
	t.Helper()
	home := t.TempDir()
	dir := home
	if name != profile.Default {
		dir = filepath.Join(home, "profiles", string(name))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, ok := files["SOUL.md"]; !ok {
		writeFile(t, dir, "SOUL.md", "I am "+string(name)+".\n")
	}
	for file, content := range files {
		writeFile(t, dir, file, content)
	}
	return home
}

func writeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openProfile(t *testing.T, home string, name profile.Name) *store.Profile {
	t.Helper()
	h, err := store.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p, err := h.Profile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// read are the settings of a profile coder with this config.yaml.
func read(t *testing.T, configuration string, environ ...string) (settings, error) {
	t.Helper()
	home := newProfile(t, "coder", map[string]string{"config.yaml": configuration})
	return readSettings(openProfile(t, home, "coder"), environ)
}

func TestSettings(t *testing.T) {
	s, err := read(t, "", "API_SERVER_PORT=9300", "NOTIFY_SOCKET=/run/n", "API_SERVER_KEY=k")
	if err != nil {
		t.Fatal(err)
	}
	if s.host != "127.0.0.1" || s.port != 9300 || s.grace != 7*time.Second || s.notify != "/run/n" || s.soul != "I am coder." || s.key.Reveal() != "k" {
		t.Errorf("got %+v", s)
	}
	s, err = read(t, "gateway: {host: \"::1\", stop_timeout: 1s}", "API_SERVER_HOST=10.0.0.1", "HERMES_STOP_TIMEOUT=20")
	if err != nil || s.host != "::1" || s.grace != 500*time.Millisecond || s.port != 9653 {
		t.Errorf("got %+v, %v", s, err)
	}
	s, err = read(t, "", "API_SERVER_HOST=127.0.0.2", "HERMES_STOP_TIMEOUT=20")
	if err != nil || s.host != "127.0.0.2" || s.grace != 19*time.Second {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ configuration, environ, says string }{
		{"gateway: {prot: 1}", "A=b", "gateway.prot"},
		{"", "API_SERVER_PORT=many", "API_SERVER_PORT"},
		{"model: {base_url: http://h/v1, name: m, api_key_env: K}", "K=two words", "K has characters"},
	} {
		_, err := read(t, tt.configuration, tt.environ)
		if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "two words") {
			t.Errorf("%q, %q: got %v", tt.configuration, tt.environ, err)
		}
	}
}

func TestKeyBeyondLoopback(t *testing.T) {
	for _, tt := range []struct{ host, key, says string }{
		{"0.0.0.0", "", "is not set"},
		{"::", "", "is not set"},
		{"10.1.2.3", "", "is not set"},
		{"gateway.example", "", "is not set"},
		{"0.0.0.0", "seven77", "is shorter than 8"},
		{"0.0.0.0", "changeme", "is a placeholder"},
		{"0.0.0.0", "Change-Me", "is a placeholder"},
		{"0.0.0.0", "<your-api-key>", "is a placeholder"},
		{"0.0.0.0", "${YOUR_API_KEY}", "is a placeholder"},
		{"0.0.0.0", "xxxxxxxxxxxx", "is a placeholder"},
		{"0.0.0.0", "----------", "is a placeholder"},
		{"0.0.0.0", "12345678", "is a placeholder"},
		{"0.0.0.0", "eight888", ""},
		{"0.0.0.0", "7d793037a0760186574b0282f2f435e7", ""},
		{"127.0.0.1", "", ""},
		{"127.9.9.9", "", ""},
		{"::1", "", ""},
		{"localhost", "changeme", ""},
	} {
		_, err := read(t, "gateway: {host: \""+tt.host+"\"}", "API_SERVER_KEY="+tt.key)
		if tt.says == "" {
			if err != nil {
				t.Errorf("%s with %q: %v", tt.host, tt.key, err)
			}
			continue
		}
		if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), "API_SERVER_KEY "+tt.says) {
			t.Errorf("%s with %q: got %v", tt.host, tt.key, err)
			continue
		}
		if hint := err.(*fault.Error).Hint; !strings.Contains(hint, "API_SERVER_KEY") || !strings.Contains(hint, "profiles/coder/.env") || !strings.Contains(hint, "profiles/coder/config.yaml") {
			t.Errorf("the hint does not help: %s", hint)
		}
		if tt.key != "" && strings.Contains(err.Error()+err.(*fault.Error).Hint, tt.key) {
			t.Errorf("the key is in the error: %v", err)
		}
	}
	if _, err := read(t, "", "API_SERVER_HOST=0.0.0.0"); fault.CodeOf(err) != fault.InvalidConfig {
		t.Errorf("a host of the environment: %v", err)
	}
}

func TestProvider(t *testing.T) {
	for _, tt := range []struct {
		name, configuration, environ string
		url, model, key              string // of the provider
		missing                      []string
	}{
		{"nothing said", "", "", "", "", "", []string{"model.base_url", "model.name", "OPENAI_API_KEY"}},
		{"nothing but a key", "", "OPENAI_API_KEY=k", "", "", "", []string{"model.base_url", "model.name"}},
		{"openai", "model: {provider: openai, name: m}", "OPENAI_API_KEY=k", "https://api.openai.com/v1/chat/completions", "m", "k", nil},
		{"openai without a key", "model: {provider: openai, name: m}", "", "", "", "", []string{"OPENAI_API_KEY"}},
		{"openrouter without a key", "model: {provider: openrouter, name: m}", "OPENAI_API_KEY=k", "", "", "", []string{"OPENROUTER_API_KEY"}},
		{"openrouter", "model: {provider: openrouter, name: m}", "OPENROUTER_API_KEY=k", "https://openrouter.ai/api/v1/chat/completions", "m", "k", nil},
		{"openai elsewhere", "model: {provider: openai, name: m, base_url: http://h/v1}", "OPENAI_API_KEY= k ", "http://h/v1/chat/completions", "m", "k", nil},
		{"a local server", "model: {base_url: http://localhost:11434/v1, name: m}", "", "http://localhost:11434/v1/chat/completions", "m", "", nil},
		{"compatible", "model: {provider: openai-compatible, base_url: http://h/v1, name: m}", "OPENAI_API_KEY=k", "http://h/v1/chat/completions", "m", "k", nil},
		{"a key of its own", "model: {base_url: http://h/v1, name: m, api_key_env: MY_KEY}", "MY_KEY=k", "http://h/v1/chat/completions", "m", "k", nil},
		{"a key of its own that is missing", "model: {base_url: http://h/v1, name: m, api_key_env: MY_KEY}", "OPENAI_API_KEY=k", "", "", "", []string{"MY_KEY"}},
		{"no name", "model: {base_url: http://h/v1}", "OPENAI_API_KEY=k", "", "", "", []string{"model.name"}},
		{"one we do not know", "model: {provider: anthropic, default: claude}", "", "", "", "", []string{"model.base_url", "OPENAI_API_KEY"}},
		{"the original's words", "model: {provider: auto, default: m, base_url: http://h/v1}", "OPENAI_API_KEY=k", "http://h/v1/chat/completions", "m", "k", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := read(t, tt.configuration, tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if len(tt.missing) > 0 {
				checkFix(t, s, tt.missing)
				return
			}
			u, ok := s.provider.(*upstream)
			if !ok || u.url != tt.url || u.model != tt.model || u.key.Reveal() != tt.key || u.soul != "I am coder." || s.fix != "" {
				t.Errorf("got %+v, fix %q", u, s.fix)
			}
		})
	}
	if s, err := read(t, "model: {provider: echo}"); err != nil || s.provider != (echo{soul: "I am coder."}) || s.fix != "" {
		t.Errorf("echo: got %+v, %v", s, err)
	}
}

// checkFix checks that a fix names what is missing, nothing else, the files
// and the command that makes it count.
func checkFix(t *testing.T, s settings, missing []string) {
	t.Helper()
	if s.provider != nil {
		t.Fatalf("got the provider %+v", s.provider)
	}
	file := false
	for _, word := range []string{"model.base_url", "model.name", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "MY_KEY"} {
		named := strings.Contains(s.fix, word)
		want := false
		for _, m := range missing {
			want = want || m == word
		}
		if named != want {
			t.Errorf("%s is named: %v, want %v: %s", word, named, want, s.fix)
		}
		if want && strings.HasPrefix(word, "model.") {
			file = true
		}
	}
	if strings.Contains(s.fix, "coder/config.yaml") != file || !strings.HasSuffix(s.fix, ", then type: hermes -p coder gateway restart") {
		t.Errorf("the fix does not help: %s", s.fix)
	}
	if strings.Contains(strings.Join(missing, " "), "KEY") != strings.Contains(s.fix, "coder/.env") {
		t.Errorf("the .env is named or not: %s", s.fix)
	}
}

func TestSoulIsOptionalForDefault(t *testing.T) {
	home := t.TempDir()
	s, err := readSettings(openProfile(t, home, profile.Default), nil)
	if err != nil || s.soul != "" || s.port != 8642 {
		t.Errorf("got %+v, %v", s, err)
	}
	writeFile(t, home, "SOUL.md", " \n caf\xe9 \n")
	if s, err = readSettings(openProfile(t, home, profile.Default), nil); err != nil || s.soul != "caf\uFFFD" {
		t.Errorf("got %q, %v", s.soul, err)
	}
}
