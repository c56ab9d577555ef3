package gateway

import (
	"context"
	"slices"
	"strings"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// provider answers chats. The context ends with the client, or with the
// gateway; an error is an *apiError unless the context is done.
type provider interface {
	complete(ctx context.Context, c *chat) ([]byte, error)
	// stream sends the events of an answer without the [DONE] after them. It
	// stops at the first error of send, and returns it.
	stream(ctx context.Context, c *chat, send sender) error
}

// sender passes an event on; more says that another one follows at once. The
// event's data is the provider's again when it returns.
type sender func(e event, more bool) error

// providerEcho is the one provider that asks nobody.
const providerEcho = "echo"

// defaultKeyVariable holds the key of a provider about which nothing else is
// said, as with OpenAI's own clients.
const defaultKeyVariable = "OPENAI_API_KEY"

// endpoint is where a provider is, and what holds its key.
type endpoint struct {
	url         string
	keyVariable string
	needsKey    bool
}

// endpoints are the providers that need no model.base_url.
func endpoints() map[string]endpoint {
	return map[string]endpoint{
		"openai":     {"https://api.openai.com/v1", "OPENAI_API_KEY", true},
		"openrouter": {"https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", true},
	}
}

// Known is a provider that needs no model.base_url.
type Known struct {
	Name string
	// KeyVariable is the variable that holds its key unless model.api_key_env
	// names another one; "" for the one that asks nobody and needs no key.
	KeyVariable string
}

// Providers are the providers that need no model.base_url, by name.
func Providers() []Known {
	all := []Known{{Name: providerEcho}}
	for name, e := range endpoints() {
		all = append(all, Known{Name: name, KeyVariable: e.keyVariable})
	}
	slices.SortFunc(all, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// endpointOf is what model: says. A server of one's own may need no key; one
// that is named is needed.
func endpointOf(m config.Model) endpoint {
	e, ok := endpoints()[m.Provider]
	if !ok {
		e = endpoint{keyVariable: defaultKeyVariable, needsKey: m.BaseURL == ""}
	}
	if m.BaseURL != "" {
		e.url = m.BaseURL
	}
	if m.APIKeyEnv != "" {
		e.keyVariable, e.needsKey = m.APIKeyEnv, true
	}
	return e
}

// choose finds the provider, or says what is missing for one. What is missing
// is no error: the gateway runs, and says so to whoever asks. The error is
// about a value that is there and cannot be right.
func (s *settings) choose(m config.Model, environ []string) error {
	if m.Provider == providerEcho {
		s.provider = echo{soul: s.soul}
		return nil
	}
	e := endpointOf(m)
	key := strings.TrimSpace(lookup(environ, e.keyVariable))
	if s.fix = s.missing(m, e, key); s.fix != "" {
		return nil
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.InvalidConfig, "cannot start %s: %s has characters no key has", s.profile.Slot(), e.keyVariable).
			WithHint("correct %s in %s", e.keyVariable, s.dotenvFile)
	}
	u, err := newUpstream(e.url, m.Name, config.Secret(key), s.soul)
	if err != nil {
		return fault.New(fault.InvalidConfig, "cannot start %s: model.base_url is no URL", s.profile.Slot()).
			WithHint("correct model.base_url in %s", s.configFile)
	}
	u.keyFix = s.fixOf("correct " + e.keyVariable + " in " + s.dotenvFile)
	s.provider = u
	return nil
}

// missing is what to do before there can be a provider, "" for nothing.
func (s *settings) missing(m config.Model, e endpoint, key string) string {
	var keys, steps []string
	if e.url == "" {
		keys = append(keys, "model.base_url")
	}
	if m.Name == "" {
		keys = append(keys, "model.name")
	}
	if len(keys) > 0 {
		steps = append(steps, "set "+strings.Join(keys, " and ")+" in "+s.configFile)
	}
	if key == "" && e.needsKey {
		steps = append(steps, "put the provider's key into "+e.keyVariable+" in "+s.dotenvFile)
	}
	if len(steps) == 0 {
		return ""
	}
	return s.fixOf(strings.Join(steps, " and "))
}

// fixOf completes what is to be done by the command that makes it count.
func (s *settings) fixOf(what string) string {
	return what + ", then type: " + hermes(s.profile) + " gateway restart"
}
