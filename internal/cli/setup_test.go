package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hermes/internal/testkit"
)

// typist is `hermes setup` on a terminal, for a home of its own.
type typist struct {
	*testkit.Terminal
	t    *testing.T
	cmd  *exec.Cmd
	home string
}

func newTypist(t *testing.T, home string, args ...string) *typist {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{
		Path: exe, Args: append([]string{"hermes"}, args...),
		Env: []string{"HERMES_HOME=" + home, "HOME=" + filepath.Dir(home), "PATH=/bin:/usr/bin"},
	}
	s := &typist{testkit.NewTerminal(t), t, cmd, home}
	s.Start(cmd)
	return s
}

// ends waits for the command's end.
func (s *typist) ends(code int) {
	s.t.Helper()
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](s.cmd.Wait()); ok {
		got = exit.ExitCode()
	}
	if got != code {
		s.t.Errorf("exit status %d, want %d:\n%s", got, code, s.Shown())
	}
	if !s.Echoes() {
		s.t.Error("the terminal was left without its echo")
	}
}

func (s *typist) file(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.home, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// A person who presses Enter, types a key, and sees it nowhere.
func TestSetupAsks(t *testing.T) {
	const key = "sk-s3cret-0123456789"
	s := newTypist(t, filepath.Join(t.TempDir(), "home"), "setup")
	s.Expect("Provider (echo, openai, openrouter, or another name) [openai]: ", 1)
	s.Type("a b\n")
	s.Expect("! the name of a provider has letters", 1)
	s.Expect("Provider", 2)
	s.Type("\n")
	s.Expect("Model [gpt-4o-mini]: ", 1)
	s.Type("gpt-4o\n")
	s.Expect("Key for OPENAI_API_KEY (not shown; ", 1)
	if s.Echoes() {
		t.Error("the terminal shows what is typed")
	}
	s.Type(key + " 2\n")
	s.Expect("! the key has characters no key has", 1)
	s.Expect("Key for OPENAI_API_KEY", 2)
	s.Type(key + "\n")
	s.ends(0)
	s.Expect("✓ set up profile 'default' in "+s.home+": openai, gpt-4o\n✓ the key is OPENAI_API_KEY in "+s.home+"/.env\nhint: ", 1)
	if strings.Contains(s.Shown(), "s3cret") {
		t.Errorf("the key was shown:\n%s", s.Shown())
	}
	if env := s.file(".env"); !strings.HasSuffix(env, "\nOPENAI_API_KEY="+key+"\n") {
		t.Errorf(".env: %s", env)
	}
	if info, err := os.Stat(filepath.Join(s.home, ".env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env: %v %v", info.Mode(), err)
	}
	if file := s.file("config.yaml"); !strings.Contains(file, "\nmodel:\n  provider: openai\n  name: gpt-4o\n  api_key_env: OPENAI_API_KEY\n") {
		t.Errorf("config.yaml: %s", file)
	}

	// Again: Enter keeps everything, the key too.
	before := s.file(".env") + s.file("config.yaml")
	again := newTypist(t, s.home, "setup")
	again.Type("\n\n\n")
	again.ends(0)
	again.Expect("Enter keeps the one in .env", 1)
	if after := again.file(".env") + again.file("config.yaml"); after != before {
		t.Errorf("it did not keep what was there:\n%s", after)
	}

	// Another provider gets neither the address nor the key of the one before.
	own := newTypist(t, s.home, "setup")
	own.Type("ollama\nlocalhost\nhttp://127.0.0.1:11434/v1\nllama3\n\n")
	own.ends(0)
	own.Expect("! model.base_url is not a URL", 1)
	file := own.file("config.yaml")
	for _, want := range []string{"  provider: ollama\n  base_url: http://127.0.0.1:11434/v1\n  name: llama3\n", "\n  # api_key_env: OPENAI_API_KEY\n"} {
		if !strings.Contains(file, want) {
			t.Errorf("config.yaml has no %q:\n%s", want, file)
		}
	}
	back := newTypist(t, s.home, "setup", "--provider", "openai")
	back.Type("\n\n")
	back.ends(0)
	if file := back.file("config.yaml"); strings.Contains(file, "\n  base_url: http://127") {
		t.Errorf("the address stayed:\n%s", file)
	}
}

// Whatever ends the asking, nothing was written and the terminal is as it was.
func TestSetupInterrupted(t *testing.T) {
	tests := []struct {
		name, answers, at, end string
		code                   int
	}{
		{"Ctrl-C at the key", "\n\n", "Key for", "sk-s3cret\x03", 130},
		{"Ctrl-\\ at the key", "\n\n", "Key for", "\x1c", 130},
		{"Ctrl-C at the first question", "", "Provider", "\x03", 130},
		{"Ctrl-D", "\n", "Model", "\x04", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTypist(t, filepath.Join(t.TempDir(), "home"), "setup")
			s.Type(tt.answers)
			s.Expect(tt.at, 1)
			s.Type(tt.end)
			s.ends(tt.code)
			if strings.Contains(s.Shown(), "s3cret") {
				t.Errorf("the key was shown:\n%s", s.Shown())
			}
			if _, err := os.Lstat(s.home); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a home: %v", err)
			}
		})
	}
}

// A key is asked for even if --key-stdin was said, since stdin would show it.
func TestSetupKeyStdinOnATerminal(t *testing.T) {
	s := newTypist(t, filepath.Join(t.TempDir(), "home"), "setup", "--provider", "openai", "--model", "m", "--key-stdin")
	s.Expect("Key for OPENAI_API_KEY", 1)
	s.Type("sk-s3cret\n")
	s.ends(0)
	if strings.Contains(s.Shown(), "s3cret") || !strings.Contains(s.file(".env"), "OPENAI_API_KEY=sk-s3cret\n") {
		t.Errorf("%s", s.Shown())
	}
}

// The unit `gateway install` prints is the documentation's, but for what differs
// from machine to machine.
func TestUnit(t *testing.T) {
	page, err := os.ReadFile("../../docs/host.md")
	if err != nil {
		t.Fatal(err)
	}
	text := unit{user: "hermes", home: "/var/lib/hermes", program: "/usr/local/bin/hermes", own: true}.text()
	if !strings.Contains(string(page), "```ini\n"+text+"```\n") {
		t.Errorf("docs/host.md has another unit than:\n%s", text)
	}
	for word, want := range map[string]string{
		"/a/b": "/a/b", "100%": "100%%", `HERMES_HOME=/a b/"c\`: `"HERMES_HOME=/a b/\"c\\"`, "HERMES_HOME=/x": "HERMES_HOME=/x",
	} {
		if got := unitWord(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
	if text := (unit{user: "u", home: "/h", program: "/opt/$x/hermes"}).text(); !strings.Contains(text, "\nExecStart=/opt/$$x/hermes up\n") || strings.Contains(text, "StateDirectory") {
		t.Errorf("%s", text)
	}
}
