package cli

import (
	"cmp"
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"hermes/client"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// target is what a profile is to say.
type target struct {
	model   config.Model
	keyName string        // the variable of the key, "" where none is needed
	key     config.Secret // "": leave the one there is
}

// maxKey is the longest key that is taken. A terminal passes lines of up to
// 4,095 characters; nobody gives out such keys.
const maxKey = 4000

// decide puts together what the flags say, what is answered and what is there.
// What is there counts for its own provider alone: an address or a key of one
// is never used with another.
func (s *setup) decide(ctx context.Context, cmd *cobra.Command, before found) (target, error) {
	var to target
	old := before.model
	provider, err := s.choose(ctx, s.provider, "Provider ("+strings.Join(append(providerNames(), "or another name"), ", ")+")",
		cmp.Or(old.Provider, s.anonymous(old)), checkProvider)
	if err != nil {
		return to, err
	}
	if provider != old.Provider && (old.Provider != "" || provider != ownServer) {
		old = config.Model{}
	}
	to.model = config.Model{Provider: provider, BaseURL: cmp.Or(s.baseURL, old.BaseURL), Name: cmp.Or(s.model, old.Name), APIKeyEnv: cmp.Or(s.keyName, old.APIKeyEnv)}
	p, isKnown := known(provider)
	if !isKnown {
		to.model.BaseURL, err = s.choose(ctx, s.baseURL, "Address of its API, https://host/v1", old.BaseURL, checkURL)
	}
	if err != nil {
		return to, err
	}
	if isKnown && p.KeyVariable == "" { // it asks nobody
		to.model.BaseURL = s.baseURL
		return to, s.needless(cmd, provider)
	}
	to.model.Name, err = s.choose(ctx, s.model, "Model", cmp.Or(old.Name, firstModel(provider)), checkName)
	if err != nil {
		return to, err
	}
	if s.keyName == "API_SERVER_KEY" { // which lets clients in
		return to, usage(cmd, "--key-name API_SERVER_KEY is the key of the gateway's own clients, not the provider's")
	}
	to.keyName = cmp.Or(to.model.APIKeyEnv, p.KeyVariable, ownKeyName)
	if err := (config.Model{APIKeyEnv: to.keyName}).Check(); err != nil {
		return to, usage(cmd, "--key-name is no name of a variable; it is not repeated here, it may be a key")
	}
	if to.key, err = s.readKey(ctx, cmd, to.keyName, before, isKnown); err != nil {
		return to, err
	}
	if isKnown || to.key != "" || s.has(before, to.keyName) {
		to.model.APIKeyEnv = to.keyName
	} else { // a server of one's own that needs none
		to.model.APIKeyEnv, to.keyName = s.keyName, s.keyName
	}
	return to, to.model.Check()
}

// anonymous is what a provider without a name is called.
func (s *setup) anonymous(old config.Model) string {
	if old.BaseURL != "" || s.baseURL != "" {
		return ownServer
	}
	if s.ask == nil {
		return ""
	}
	return firstProvider
}

// firstModel is offered where nothing was said.
func firstModel(provider string) string {
	switch provider {
	case "openai":
		return "gpt-4o-mini"
	case "openrouter":
		return "openai/gpt-4o-mini"
	}
	return ""
}

// needless refuses a key nobody will ask for.
func (s *setup) needless(cmd *cobra.Command, provider string) error {
	if s.keyStdin || s.keyEnv != "" || s.keyName != "" {
		return usage(cmd, "provider %s needs no key", provider)
	}
	return nil
}

// choose is what was said, else the answer, else what there was; where nobody
// can be asked and nothing was, what is missing is an error.
func (s *setup) choose(ctx context.Context, said, question, old string, check func(string) error) (string, error) {
	if said != "" {
		return said, check(said)
	}
	if s.ask == nil {
		if err := check(old); err != nil {
			f := fault.New(fault.Usage, "%s", err.Error())
			return "", f.WithHint("%s setup --help", s.command(s.at.profile))
		}
		return old, nil
	}
	return s.ask.line(ctx, question, old, check)
}

func checkProvider(name string) error {
	if name == "" {
		return fault.New(fault.Usage, "a provider is needed: --provider")
	}
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-_.", r)
	}
	if strings.ContainsFunc(name, odd) {
		return fault.New(fault.Usage, "the name of a provider has letters, digits, -, _ and . only")
	}
	return nil
}

func checkURL(url string) error {
	if url == "" {
		return fault.New(fault.Usage, "that provider is not known, so its address is needed: --base-url https://host/v1")
	}
	return config.Model{BaseURL: url}.Check()
}

func checkName(name string) error {
	if name == "" {
		return fault.New(fault.Usage, "the name of a model is needed: --model")
	}
	return config.Model{Name: name}.Check()
}

// checkKey says what is wrong with a key, without repeating it. What the
// gateway would refuse is refused here.
func checkKey(key string) error {
	if len(key) > maxKey {
		return fault.New(fault.Usage, "the key is longer than %d characters", maxKey)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.Usage, "the key has characters no key has: blanks, line breaks or letters beyond ASCII")
	}
	if _, err := config.SetDotenv("", nil, "KEY", config.Secret(key)); err != nil {
		return fault.New(fault.Usage, "the key has quotes that a .env cannot hold")
	}
	return nil
}

// has says whether the key is known without a new one.
func (s *setup) has(before found, name string) bool {
	if before.dotenv[name] != "" {
		return true
	}
	return s.variable(name) != ""
}

// variable is a variable of this process.
func (s *setup) variable(name string) string {
	for _, kv := range s.environ {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// readKey is the new key, "" to leave what there is.
func (s *setup) readKey(ctx context.Context, cmd *cobra.Command, name string, before found, needed bool) (config.Secret, error) {
	switch {
	case s.keyEnv != "":
		if (config.Model{APIKeyEnv: s.keyEnv}).Check() != nil {
			return "", usage(cmd, "--key-env is no name of a variable; it is not repeated here, it may be a key")
		}
		key := strings.TrimSpace(s.variable(s.keyEnv))
		if key == "" {
			return "", fault.New(fault.Usage, "there is no key in the variable %s: it is not set, or empty", s.keyEnv).
				WithHint("export %s, or use --key-stdin", s.keyEnv)
		}
		return config.Secret(key), checkKey(key)
	case s.keyStdin && s.ask == nil:
		data, err := io.ReadAll(io.LimitReader(s.in, maxKey+1))
		if err != nil {
			return "", fault.Wrap(fault.Internal, err, "cannot read the key from stdin")
		}
		key := strings.TrimSpace(string(data))
		if key == "" {
			return "", fault.New(fault.Usage, "there is no key on stdin").WithHint("%s setup … --key-stdin < FILE", s.command(s.at.profile))
		}
		return config.Secret(key), checkKey(key)
	case s.ask == nil:
		return "", nil
	}
	question := "Key for " + name + " (not shown; Enter for none)"
	switch {
	case before.dotenv[name] != "":
		question = "Key for " + name + " (not shown; Enter keeps the one in .env)"
	case s.variable(name) != "":
		question = "Key for " + name + " (not shown; Enter uses the one of the environment)"
	case needed:
		question = "Key for " + name + " (not shown; Enter if the environment will have it)"
	}
	key, err := s.ask.secret(ctx, question, checkKey)
	return config.Secret(key), err
}

// report says what was done, what is still missing, and what to type next.
func (s *setup) report(ctx context.Context, path string, to target, before found) {
	what := to.model.Provider
	if to.model.Name != "" {
		what += ", " + to.model.Name
	}
	if to.model.BaseURL != "" {
		what += ", at " + to.model.BaseURL
	}
	s.printf("✓ set up profile '%s' in %s: %s\n", s.at.profile, path, oneLine(what))
	switch {
	case to.key != "":
		s.printf("✓ the key is %s in %s/.env\n", to.keyName, path)
	case to.keyName != "" && !s.has(before, to.keyName):
		s.note("! there is no key yet: neither %s/.env nor this environment has %s, and the gateway needs it\n", path, to.keyName)
	}
	if before.foreign {
		s.note("! another program answers for this profile than the built-in gateway, which alone reads model:; see gateway.command and HERMES_GATEWAY_COMMAND\n")
	}
	s.note("hint: %s\n", s.next(ctx))
}

// next is the command that makes the settings count, here and now.
func (s *setup) next(ctx context.Context) string {
	name := s.at.profile
	c, err := s.find(s.at.home)
	if client.IsNoSupervisor(err) {
		return s.nextAlone()
	}
	verb := "start"
	if err == nil {
		verb, err = s.nextVerb(ctx, c)
	}
	command := s.command(name) + " gateway " + verb
	if holder, status, _ := lease.Read(s.at.home); err != nil && status == lease.Held && holder.Container != "" && !sameContainer(holder) {
		flag := ""
		if name != profile.Default {
			flag = "-p " + string(name) + " "
		}
		return "docker exec " + holder.Container + " hermes " + flag + "gateway restart"
	}
	return command
}

// nextVerb is what a supervisor is to do; the error says that it cannot be asked.
func (s *setup) nextVerb(ctx context.Context, c *client.Client) (string, error) {
	g, err := c.Gateway(ctx, string(s.at.profile))
	switch {
	case err == nil && occupied(g):
		return "restart", nil
	case err == nil || codeOf(err) == fault.GatewayNotRegistered:
		return "start", nil // one without a slot gets it, and starts
	}
	return "restart", err
}

// nextAlone is next where nothing supervises.
func (s *setup) nextAlone() string {
	home, err := store.OpenReadOnly(s.at.home)
	if err == nil {
		defer home.Close()
		if p, err := home.Profile(s.at.profile); err == nil {
			defer p.Close()
			if _, err := holderOf(p); err == nil { // one in the foreground
				if inContainer("") {
					host, _ := os.Hostname()
					return "docker restart " + host
				}
				return s.command(s.at.profile) + " gateway run --replace"
			}
		}
	}
	return s.startHint([]profile.Name{s.at.profile})
}
