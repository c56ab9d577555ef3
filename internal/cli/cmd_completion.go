package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hermes/internal/fault"
	"hermes/internal/store"
)

func newCompletionCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes hermes's commands, flags and profiles in a shell",
		Long: "Print a script for a shell, which then completes commands, flags and the names of profiles. Names are read from\n" +
			"the home's files: no supervisor is asked. To load it:\n\n" +
			"  bash        source <(hermes completion bash)      # needs the package bash-completion\n" +
			"  zsh         source <(hermes completion zsh)       # after compinit\n" +
			"  fish        hermes completion fish | source\n" +
			"  powershell  hermes completion powershell | Out-String | Invoke-Expression",
		Args:      takes(1, 1, "the name of a shell: bash, zsh, fish or powershell"),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			const descriptions = true
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.out, descriptions)
			case "zsh":
				return root.GenZshCompletion(e.out)
			case "fish":
				return root.GenFishCompletion(e.out, descriptions)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(e.out)
			}
			return fault.New(fault.Usage, "no completion for %q: there is one for bash, zsh, fish and powershell", args[0]).
				WithHint("%s completion bash", e.base())
		},
	}
}

// completionPatience is how long a shell waits for names: a home on a server
// that is gone must not hang a terminal.
const completionPatience = 300 * time.Millisecond

// completeArguments says what the arguments and flags of commands are.
func (e *env) completeArguments(root *cobra.Command) {
	one := func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return e.completeProfiles(nil), cobra.ShellCompDirectiveNoFileComp
	}
	many := func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return e.completeProfiles(args), cobra.ShellCompDirectiveNoFileComp
	}
	for path, complete := range map[string]cobra.CompletionFunc{
		"up": many, "why": one,
		"gateway start": many, "gateway stop": many, "gateway restart": many, "gateway status": one, "gateway logs": one,
		"profile delete": one, "profile rename": one, "profile show": one,
	} {
		if cmd, rest, err := root.Find(strings.Fields(path)); err == nil && len(rest) == 0 {
			cmd.ValidArgsFunction = complete
		}
	}
	_ = root.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return e.completeProfiles(nil), cobra.ShellCompDirectiveNoFileComp
	})
	_ = root.MarkPersistentFlagDirname("home")
}

// completeProfiles are the names of the home's profiles but those said already,
// as the files have them, as far as these can be read in time.
func (e *env) completeProfiles(said []string) []string {
	names := make(chan []string, 1)
	go func() { // ends with the process if the home hangs
		names <- e.profileNames()
	}()
	late := time.NewTimer(completionPatience)
	defer late.Stop()
	select {
	case <-late.C:
		return nil
	case all := <-names:
		return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(said, name) })
	}
}

// profileNames are the home's profiles, none where it cannot be read.
func (e *env) profileNames() []string {
	at, err := e.place()
	if err != nil {
		return nil
	}
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return nil
	}
	defer home.Close()
	scan, _ := home.Scan()
	names := make([]string, 0, len(scan.Entries))
	for _, entry := range scan.Entries {
		names = append(names, string(entry.Name))
	}
	return names
}
