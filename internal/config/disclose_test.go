package config_test

import (
	"slices"
	"strings"
	"testing"

	"hermes/internal/config"
)

func TestMayShow(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"PATH", "/bin:/usr/bin", true},
		{"LC_ALL", "C.UTF-8", true},
		{"HERMES_HOME", "/opt/data", true},
		{"LOG_LEVEL", "DEBUG", true},
		{"STREAMING", "1", true},
		{"EMPTY", "", true},
		{"OPENAI_API_KEY", "sk-1", false},
		{"OPENAI_API_KEY", "1", false},
		{"STRIPE", "hunter2", false},
		{"DATABASE_URL", "postgres://u:p@db/x", false},
		{"MODEL", "gpt-5", false},
		{"HOME", "https://me:secret@host/", false},
		{"HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", "true", false},
	} {
		if got := config.MayShow(tt.name, tt.value); got != tt.want {
			t.Errorf("%s=%s: %v", tt.name, tt.value, got)
		}
	}
}

func TestHideInCommand(t *testing.T) {
	for _, tt := range []struct{ argv, want []string }{
		{[]string{"agent", "--port", "1"}, []string{"agent", "--port", "1"}},
		{[]string{"agent", "--api-key", "abc", "x"}, []string{"agent", "--api-key", "[hidden]", "x"}},
		{[]string{"agent", "--api-key=abc", "x"}, []string{"agent", "--api-key=[hidden]", "x"}},
		{[]string{"agent", "--token", "--verbose"}, []string{"agent", "--token", "--verbose"}},
		{[]string{"env", "BOT_TOKEN=12:ab", "agent"}, []string{"env", "BOT_TOKEN=[hidden]", "agent"}},
		{[]string{"sh", "-c", "export API_KEY='a b'; exec agent -v"}, []string{"sh", "-c", "export API_KEY=[hidden]; exec agent -v"}},
		{[]string{"curl", "-H", "Authorization: Bearer abc.def", "https://u:p@host/x"}, []string{"curl", "-H", "Authorization: Bearer [hidden]", "https://[hidden]@host/x"}},
		{[]string{"agent", `{"api_key": "a b", "x": 1}`}, []string{"agent", `{"api_key": [hidden], "x": 1}`}},
		{[]string{"agent", "hunter2!"}, []string{"agent", "[hidden]"}},
		{[]string{"agent", "x-hunter2!-y"}, []string{"agent", "x-[hidden]-y"}},
		{[]string{"agent", "sk-proj-0123456789abcdefghij"}, []string{"agent", "[hidden]"}},
		{[]string{"/opt/a-long-directory-name/agent", "/var/lib/a-long-directory-name"}, []string{"/opt/a-long-directory-name/agent", "/var/lib/a-long-directory-name"}},
		{nil, nil},
	} {
		was := slices.Clone(tt.argv)
		if got := config.HideInCommand(tt.argv, []string{"hunter2!", "v"}); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.argv, got)
		}
		if !slices.Equal(was, tt.argv) {
			t.Errorf("%q was changed to %q", was, tt.argv)
		}
	}
}

// A value of .env never comes through, wherever a command has it.
func FuzzHideInCommand(f *testing.F) {
	f.Add("agent --api-key abcdef", "abcdef")
	f.Add("sh -c 'TOKEN=secret1 x'", "secret1")
	f.Add("agent https://u:hunter2@h/", "hunter2")
	f.Fuzz(func(t *testing.T, line, secret string) {
		const least = 6
		argv := append([]string{"program"}, strings.Split(line, " ")...)
		shown := strings.Join(config.HideInCommand(argv, []string{secret}), "\x00")
		if len(secret) >= least && !strings.Contains(secret, " ") && strings.Contains(shown, secret) &&
			!strings.Contains(config.Hidden, secret) && !strings.Contains("program", secret) && !straddles(shown, secret) {
			t.Errorf("%q shows %q: %q", line, secret, shown)
		}
	})
}

// straddles says that a text has the secret only where a placeholder has taken
// part in it.
func straddles(shown, secret string) bool {
	return !strings.Contains(strings.ReplaceAll(shown, config.Hidden, "\x01"), secret)
}
