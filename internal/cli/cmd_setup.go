package cli

import (
	"context"
	"errors"
	"os/signal"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/gateway"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// setup is one `hermes setup`.
type setup struct {
	*env
	at place

	// Flags.
	provider, baseURL, model string
	keyName                  string // the variable in .env
	keyEnv                   string // the variable here that holds the key
	keyStdin                 bool

	ask *dialogue // nil: nobody to ask
}

func newSetupCmd(e *env) *cobra.Command {
	s := &setup{env: e}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set a profile up: which model answers, and the key for it",
		Long: "Say which model a profile's gateway talks to: the provider and the model go into config.yaml, the key into .env\n" +
			"(mode 0600). Whatever else is in these files stays there, with its comments. Nothing is written before everything\n" +
			"is answered and found to be right, and an interrupted setup has changed nothing.\n\n" +
			"On a terminal it asks for what the flags do not say; the key is not shown. Elsewhere the flags say it all, what\n" +
			"they leave out stays as it is, and the key comes from stdin or from a variable, never from the command line:\n\n" +
			"  hermes setup --provider openai --model gpt-4o-mini --key-stdin < key\n\n" +
			"A provider is openai, openrouter, echo (answers by itself, for a try), or any other name with the --base-url of\n" +
			"an OpenAI-compatible server.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 { // perhaps the key: it is not repeated
				return usage(cmd, "%s takes no arguments; a key comes from stdin (--key-stdin) or from a variable (--key-env)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The terminal is put back in order whatever ends the asking.
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
			defer stop()
			return s.do(ctx, cmd)
		},
	}
	cmd.SetFlagErrorFunc(setupFlagError)
	flags := cmd.Flags()
	flags.StringVar(&s.provider, "provider", "", "openai, openrouter, echo, or another name with --base-url")
	flags.StringVar(&s.baseURL, "base-url", "", "where the provider's API is: https://host/v1")
	flags.StringVar(&s.model, "model", "", "the model's name, as the provider calls it")
	flags.BoolVar(&s.keyStdin, "key-stdin", false, "read the key from stdin")
	flags.StringVar(&s.keyEnv, "key-env", "", "take the key from this variable of the environment")
	flags.StringVar(&s.keyName, "key-name", "", "the variable in .env that gets the key (default: the provider's own)")
	_ = cmd.RegisterFlagCompletionFunc("provider", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return providerNames(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// setupFlagError repeats no value: it may be the key.
func setupFlagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		return usage(cmd, "unknown flag: --%s", unknown.GetSpecifiedName())
	}
	if empty, ok := errors.AsType[*pflag.ValueRequiredError](err); ok && empty.GetSpecifiedShortnames() == "" {
		return usage(cmd, "flag needs a value: --%s", empty.GetSpecifiedName())
	}
	return usage(cmd, "a flag of %s is wrong; it is not repeated here, it may hold a key", cmd.CommandPath())
}

// The provider that is offered first, and the name of one that has no other.
const (
	firstProvider = "openai"
	ownServer     = "custom"
	ownKeyName    = "CUSTOM_API_KEY"
)

func providerNames() []string {
	var names []string
	for _, p := range gateway.Providers() {
		names = append(names, p.Name)
	}
	return names
}

// known is the provider of that name, if it needs no address.
func known(name string) (gateway.Known, bool) {
	for _, p := range gateway.Providers() {
		if p.Name == name {
			return p, true
		}
	}
	return gateway.Known{}, false
}

func (s *setup) do(ctx context.Context, cmd *cobra.Command) error {
	at, err := s.place()
	if err != nil {
		return err
	}
	s.at = at
	before, err := s.look()
	if err != nil {
		return err
	}
	terminal := isTerminal(s.in)
	switch {
	case s.keyStdin && s.keyEnv != "":
		return usage(cmd, "--key-stdin and --key-env exclude each other")
	case terminal:
		s.ask = newDialogue(s.env)
	case cmd.Flags().NFlag() == s.ownFlags(cmd):
		return fault.New(fault.Usage, "cannot ask: stdin is no terminal, and no flag says what to set up").
			WithHint("%s setup --provider openai --model NAME --key-stdin < FILE, or in Docker: docker run -it … setup", s.command(at.profile))
	}
	to, err := s.decide(ctx, cmd, before)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := s.write(to)
	if err != nil {
		return err
	}
	s.report(ctx, path, to, before)
	return nil
}

// ownFlags is how many of the flags that were said are every command's.
func (s *setup) ownFlags(cmd *cobra.Command) (n int) {
	for _, name := range []string{"profile", "home"} {
		if cmd.Flags().Changed(name) {
			n++
		}
	}
	return n
}

// found is what a profile says before it is set up.
type found struct {
	model   config.Model
	dotenv  map[string]string
	foreign bool // another program answers than the built-in gateway
}

// look reads the profile, and finds what would keep it from being written
// before anybody has been asked anything. The default profile need not be there.
func (s *setup) look() (found, error) {
	none := found{foreign: s.settings.GatewayCommand != nil}
	home, err := store.OpenReadOnly(s.at.home)
	if err != nil {
		if errors.Is(err, unix.ENOENT) && s.at.profile == profile.Default {
			return none, nil
		}
		return none, err
	}
	defer home.Close()
	p, err := home.Profile(s.at.profile)
	if err != nil {
		return none, err
	}
	defer p.Close()
	if err := p.CheckRevisable(); err != nil {
		return none, err
	}
	file, err := p.Config()
	if err != nil {
		return none, s.notYet(err)
	}
	text, err := p.ConfigText()
	if err != nil {
		return none, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return none, s.notYet(err)
	}
	f := found{model: file.Model, dotenv: dotenv, foreign: none.foreign || file.Gateway.Command != nil}
	if file.Gateway.Command != nil {
		f.model = config.ModelOf(text)
	}
	return f, nil
}

// notYet is about a file that was wrong before.
func (s *setup) notYet(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.InvalidConfig {
		return f.WithHint("correct the lines named above, then: %s setup", s.command(s.at.profile))
	}
	return err
}

// write makes the home if there is none, and changes the profile's files. It
// returns where they are.
func (s *setup) write(to target) (path string, err error) {
	home, err := store.Create(s.at.home)
	if err != nil {
		return "", err
	}
	defer home.Close()
	_, supervised := inOurContainer(s.at.home)
	if supervised || s.isInit || s.settings.Engine != config.EngineNative { // in a container: see config.Settings.Identity
		id := s.fleetIdentity(s.at.home, true)
		home.SetOwner(int(id.UID), int(id.GID))
	}
	if s.at.profile == profile.Default {
		if _, err := home.EnsureDefault(); err != nil {
			return "", err
		}
	}
	p, err := home.Profile(s.at.profile)
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.Path(), p.Revise(func(settings, secrets []byte) (store.Revision, error) {
		var r store.Revision
		var err error
		if r.Config, err = config.SetModel(p.Path()+"/config.yaml", settings, to.model); err != nil {
			return r, err
		}
		if to.key != "" {
			r.Dotenv, err = config.SetDotenv(p.Path()+"/.env", secrets, to.keyName, to.key)
		}
		return r, err
	})
}
