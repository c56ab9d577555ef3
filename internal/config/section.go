package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"hermes/internal/profile"
)

// gatewayKeys are the settings of `gateway:`.
func gatewayKeys() []string {
	return []string{"command", "env", "port", "host", "restart", "ready", "start_timeout", "stop_timeout", "logs"}
}

// futureGatewayKeys are settings that will mean something and do not yet: to
// ignore one of them would run a gateway without the limit it was given.
func futureGatewayKeys() []string { return []string{"user", "memory_limit"} }

// originalGatewayKeys are the settings the original hermes-agent keeps under
// `gateway:`, from its sources of 2026.
func originalGatewayKeys() []string {
	return []string{
		"adapters", "always_log_local", "api_server", "auto_multiplex_migration", "default_reset_policy", "discord",
		"email", "filter_silence_narration", "group_sessions_per_user", "loop_watchdog", "loop_watchdog_max_strikes",
		"loop_watchdog_probe_interval_s", "loop_watchdog_probe_timeout_s", "matrix", "max_concurrent_sessions",
		"multiplex_profile_allowlist", "multiplex_profiles", "platforms", "profile_routes", "quick_commands",
		"reset_by_platform", "reset_by_type", "reset_triggers", "respawn_storm", "room_link_url", "session_reset",
		"session_store_max_age_days", "sessions_dir", "signal", "slack", "streaming", "stt", "stt_echo_transcripts",
		"stt_enabled", "systemd_watchdog_seconds", "telegram", "thread_sessions_per_user", "topic_routes",
		"unauthorized_dm_behavior", "unauthorized_dm_decline_message", "webhook", "whatsapp", "write_sessions_json",
	}
}

// modelKeys are the settings of `model:`. `default` and `model` are the
// original's words for the name.
func modelKeys() []string {
	return []string{"provider", "base_url", "name", "api_key_env", "default", "model"}
}

// originalModelKeys are the settings the original keeps under `model:`.
func originalModelKeys() []string {
	return []string{
		"api_mode", "auth_mode", "context_length", "default_headers", "entra", "extra_body", "extra_headers",
		"fallback", "key_cmd", "max_tokens", "ollama_num_ctx", "openai_runtime", "session_affinity_header",
		"streaming", "supports_vision",
	}
}

// ownVariables are set by hermes for every gateway, whatever a file says.
func ownVariables() []string {
	return []string{
		"HERMES_HOME", "HERMES_PROFILE", "HERMES_S6_SUPERVISED_CHILD", "HERMES_SUPERVISED_CHILD",
		"HERMES_SLOT_ID", "HERMES_NOTIFY_FD", "NOTIFY_SOCKET", "PORT", portVariable,
	}
}

func (r *reader) gateway(n *yaml.Node, f *File) {
	g := &f.Gateway
	r.mapping(n, "gateway", func(key string, k, v *yaml.Node) {
		if slices.Contains(gatewayKeys(), key) {
			f.Said = append(f.Said, key)
		}
		switch name := "gateway." + key; key {
		case "command":
			g.Command = r.command(v)
		case "env":
			g.Env = r.env(v)
		case "port":
			read(r, v, name, parsePort, &g.Port)
		case "host":
			r.host(v, name, &g.Host)
		case "restart":
			r.restart(v, name, &g.Restart)
		case "ready":
			r.ready(v, name, &g.Ready)
		case "start_timeout":
			read(r, v, name, parseTimeout, &g.StartTimeout)
		case "stop_timeout":
			read(r, v, name, parseTimeout, &g.StopTimeout)
		case "logs":
			r.logs(v, &g.Logs)
		default:
			switch {
			case slices.Contains(futureGatewayKeys(), key):
				r.errorf(k, "gateway.%s is not built yet: remove the line", key)
			case slices.Contains(originalGatewayKeys(), key):
				r.ignore(key, k)
			default:
				r.unknown(k, "gateway", key, gatewayKeys())
			}
		}
	})
}

// read stores a parsed scalar in to, or reports why it cannot.
func read[T int | int64 | time.Duration](r *reader, n *yaml.Node, key string, parse func(string) (T, error), to *T) {
	text, ok := r.scalar(n, key)
	if !ok {
		return
	}
	value, err := parse(text)
	if err != nil {
		r.errorf(n, "%s: %v", key, err)
		return
	}
	*to = value
}

func (r *reader) command(n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode {
		text, ok := r.scalar(n, "gateway.command")
		if !ok {
			return nil
		}
		words, err := Words(text)
		if err != nil {
			r.errorf(n, "gateway.command: %v", err)
		}
		return words
	}
	var words []string
	for _, item := range n.Content {
		word, ok := r.scalar(follow(item), "a word of gateway.command")
		if !ok {
			return nil
		}
		words = append(words, word)
	}
	if len(words) == 0 || words[0] == "" {
		r.errorf(n, "gateway.command is empty")
		return nil
	}
	return words
}

func (r *reader) env(n *yaml.Node) map[string]string {
	env := map[string]string{}
	r.mapping(n, "gateway.env", func(key string, k, v *yaml.Node) {
		switch {
		case !isVariable(key):
			r.errorf(k, "gateway.env: %q cannot be the name of a variable", clip(key))
		case key == "PORT" || key == portVariable:
			r.errorf(k, "gateway.env.%s: the port is said with gateway.port", key)
		case slices.Contains(ownVariables(), key):
			r.errorf(k, "gateway.env.%s: hermes sets this variable itself", key)
		default:
			if text, ok := r.scalar(v, "gateway.env."+key); ok {
				env[key] = text
			}
		}
	})
	return env
}

func (r *reader) host(n *yaml.Node, key string, to *string) {
	text, ok := r.scalar(n, key)
	if !ok {
		return
	}
	if _, err := netip.ParseAddr(text); err != nil && !isHostName(text) {
		r.errorf(n, "%s: %q is neither an address nor a host name", key, clip(text))
		return
	}
	*to = text
}

func (r *reader) restart(n *yaml.Node, key string, to *profile.Restart) {
	text, ok := r.scalar(n, key)
	if !ok {
		return
	}
	switch p := profile.Restart(text); p {
	case profile.RestartAlways, profile.RestartOnFailure, profile.RestartNever:
		*to = p
	default:
		r.errorf(n, "%s: %q is not one of %s, %s, %s", key, clip(text),
			profile.RestartAlways, profile.RestartOnFailure, profile.RestartNever)
	}
}

func (r *reader) ready(n *yaml.Node, key string, to *Ready) {
	text, ok := r.scalar(n, key)
	if !ok {
		return
	}
	if path, http := strings.CutPrefix(text, "http:"); http {
		if u, err := url.Parse(path); err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
			r.errorf(n, "%s: %q needs a path after http:, such as http:/health", key, clip(text))
			return
		}
		*to = Ready{Kind: ReadyHTTP, Path: path}
		return
	}
	switch kind := ReadyKind(text); kind {
	case ReadyNotify, ReadyExec:
		*to = Ready{Kind: kind}
	default:
		r.errorf(n, "%s: %q is not one of notify, exec, http:/<path>", key, clip(text))
	}
}

func (r *reader) logs(n *yaml.Node, l *Logs) {
	r.mapping(n, "gateway.logs", func(key string, k, v *yaml.Node) {
		switch key {
		case "max_size":
			read(r, v, "gateway.logs.max_size", parseSize, &l.MaxSize)
			if l.MaxSize < minLogSize || l.MaxSize > maxLogSize {
				r.errorf(v, "gateway.logs.max_size: not between %d and %d bytes", minLogSize, maxLogSize)
			}
		case "max_files":
			read(r, v, "gateway.logs.max_files", strconv.Atoi, &l.MaxFiles)
			if l.MaxFiles < 1 || l.MaxFiles > maxLogFiles {
				r.errorf(v, "gateway.logs.max_files: not between 1 and %d", maxLogFiles)
			}
		default:
			r.unknown(k, "gateway.logs", key, []string{"max_size", "max_files"})
		}
	})
}

func (r *reader) model(n *yaml.Node, m *Model) {
	if n.Kind == yaml.ScalarNode && !isNull(n) { // the original's short form
		m.Name = n.Value
		return
	}
	var original string
	r.mapping(n, "model", func(key string, k, v *yaml.Node) {
		switch name := "model." + key; key {
		case "provider":
			m.Provider, _ = r.scalar(v, name)
		case "name":
			m.Name, _ = r.scalar(v, name)
		case "default", "model":
			original, _ = r.scalar(v, name)
		case "base_url":
			r.baseURL(v, name, &m.BaseURL)
		case "api_key_env":
			r.keyVariable(v, name, &m.APIKeyEnv)
		case "api_key":
			r.errorf(k, "model.api_key: a secret does not belong here: put it into .env and name its variable with model.api_key_env")
		default:
			if slices.Contains(originalModelKeys(), key) {
				r.ignore(key, k)
			} else {
				r.unknown(k, "model", key, modelKeys())
			}
		}
	})
	if m.Name == "" {
		m.Name = original
	}
}

func (r *reader) baseURL(n *yaml.Node, key string, to *string) {
	text, ok := r.scalar(n, key)
	if !ok || text == "" { // the original writes "" for the provider's own
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		r.errorf(n, "%s is not a URL of the form https://host/path", key)
	case u.User != nil:
		r.errorf(n, "%s contains a password: put it into .env and name its variable with model.api_key_env", key)
	default:
		*to = text
	}
}

func (r *reader) keyVariable(n *yaml.Node, key string, to *string) {
	text, ok := r.scalar(n, key)
	if !ok {
		return
	}
	if !isVariable(text) {
		// It may be the key itself, put in the wrong place: do not repeat it.
		r.errorf(n, "%s must be the name of a variable in .env, not the key itself", key)
		return
	}
	*to = text
}
