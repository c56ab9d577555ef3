package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Hidden stands for what may be a secret where a configuration is shown.
const Hidden = "[hidden]"

// MayShow says whether the value of a variable may be shown to people. Nobody
// can tell a secret by its looks, so only what is known to be none is shown:
// variables of the system and of hermes, and switches.
func MayShow(name, value string) bool {
	if slices.Contains(harmless(), name) || strings.HasPrefix(name, "LC_") {
		return !hasUserInfo(value)
	}
	return slices.Contains(switches(), strings.ToLower(value)) && !secretName(name)
}

// harmless are variables that hold no secret, whoever set them.
func harmless() []string {
	return []string{
		"API_SERVER_HOST", "API_SERVER_PORT", "GODEBUG", "GOMAXPROCS", "HERMES_DASHBOARD", "HERMES_DASHBOARD_HOST",
		"HERMES_DASHBOARD_PORT", "HERMES_ENGINE", "HERMES_GATEWAY_NO_SUPERVISE", "HERMES_GID", "HERMES_HOME",
		"HERMES_LOG_FORMAT", "HERMES_NOTIFY_FD", "HERMES_PROFILE", "HERMES_RUNTIME_DIR", "HERMES_S6_SUPERVISED_CHILD", "HERMES_START_PARALLEL",
		"HERMES_STOP_TIMEOUT", "HERMES_SUPERVISED_CHILD", "HERMES_UID", "HOME", "HOSTNAME", "LANG", "LANGUAGE", "LOGNAME",
		"NODE_ENV", "NOTIFY_SOCKET", "PATH", "PGID", "PORT", "PUID", "PYTHONUNBUFFERED", "SHELL", "SHLVL", "TERM", "TMPDIR",
		"TZ", "USER", "XDG_RUNTIME_DIR",
	}
}

// switches are values too common to be a secret.
func switches() []string {
	return []string{"", "0", "1", "true", "false", "yes", "no", "on", "off", "debug", "info", "warn", "warning", "error", "trace"}
}

// secretName says that a name sounds like a secret's.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"key", "token", "secret", "pass", "pwd", "pin", "cred", "auth", "cookie", "session", "private"},
		func(word string) bool { return strings.Contains(name, word) })
}

// hasUserInfo says that a value is an address with somebody's name in it.
func hasUserInfo(value string) bool {
	u, err := url.Parse(value)
	return err == nil && u.User != nil
}

// leastSecret is the length from which a value of .env is looked for in a
// command: shorter ones are words of any text.
const leastSecret = 6

// HideInCommand is a command for people: what is one of the secrets, follows an
// option that sounds like one, or looks as if it came from a machine, is
// [Hidden].
func HideInCommand(argv, secrets []string) []string {
	shown := slices.Clone(argv)
	assigned := regexp.MustCompile(`(?i)([\w.-]*(?:key|token|secret|pass|pwd|cred|auth|bearer|cookie)[\w.-]*["']?\s*(?:=|:|\s)\s*(?:bearer\s+|basic\s+)?)("[^"]*"?|'[^']*'?|[^\s"'&;|]+)`)
	userInfo := regexp.MustCompile(`(://)[^/@\s]+@`)
	random := regexp.MustCompile(`[A-Za-z0-9_+=-]{20,}`)
	next := false
	for i, word := range shown {
		if i == 0 {
			continue // the program
		}
		wasNext := next
		option := strings.HasPrefix(word, "-")
		next = option && !strings.Contains(word, "=") && secretName(word)
		if wasNext && !option {
			shown[i] = Hidden
			continue
		}
		for _, s := range secrets {
			if len(s) >= leastSecret {
				word = strings.ReplaceAll(word, s, Hidden)
			}
		}
		word = assigned.ReplaceAllString(word, "${1}"+Hidden)
		word = userInfo.ReplaceAllString(word, "${1}"+Hidden+"@")
		shown[i] = random.ReplaceAllStringFunc(word, func(s string) string {
			if isRandom(s) {
				return Hidden
			}
			return s
		})
	}
	return shown
}

// isRandom says that a long word has letters and several digits, as what a
// machine made has.
func isRandom(s string) bool {
	const fewDigits = 3
	digits := len(s) - len(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s))
	return digits >= fewDigits && digits < len(s)
}
