package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hermes/internal/fault"
)

// newRootCmd builds the command tree. Cobra parses and completes; errors are
// rendered by us alone.
func newRootCmd(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "hermes",
		Short: "Run and supervise a fleet of agent gateways",
		Long: "hermes runs and supervises a fleet of agent gateways, one per profile.\n\n" +
			"Every agent comes back exactly as you left it, or one line says why not and what to type.",
		Args: e.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			e.settle(cmd)
			if cmd.Flags().Changed("home") && e.flags.home == "" { // of a variable that is not set
				return usage(cmd, "--home is empty")
			}
			return nil
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s", err)
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&e.flags.profile, "profile", "p", "", "the profile to act on (default: the one of HERMES_HOME, else \"default\")")
	flags.StringVar(&e.flags.home, "home", "", "the home directory (default: $HERMES_HOME, else ~/.hermes)")
	root.AddCommand(
		newUpCmd(e),
		newInitCmd(e),
		newEngineCmd(e),
		newKeeperCmd(e),
		newSetupCmd(e),
		newProfileCmd(e),
		newGatewayCmd(e),
		newStatusCmd(e),
		newWhyCmd(e),
		newEventsCmd(e),
		newPortCmd(e),
		newHealthCmd(e),
		newBootCmd(e),
		newDoctorCmd(e),
		newDashboardCmd(e),
		newCompletionCmd(e),
		newVersionCmd(e),
	)
	root.InitDefaultHelpCmd()
	e.completeArguments(root)
	return root
}

// newGroup is a command that only holds others.
func newGroup(e *env, use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  e.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "%s needs a command: %s", cmd.CommandPath(), strings.Join(childNames(cmd), ", "))
		},
	}
	cmd.AddCommand(children...)
	return cmd
}

// noSuchCommand is the check of a command that takes no arguments itself: the
// word it got was meant to be a command.
func (e *env) noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := fault.New(fault.Usage, "no such command: %s %s", cmd.CommandPath(), args[0])
	if near := nearest(cmd, args[0]); near != "" {
		return f.WithHint("%s %s", cmd.CommandPath(), near)
	}
	return f.WithHint("%s --help", cmd.CommandPath())
}

// nearest is the command that was probably meant, "" for none: one the word is
// the beginning of, else one it resembles.
func nearest(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2 // letters; cobra's own default
	near := cmd.SuggestionsFor(word)
	for _, name := range near {
		if strings.HasPrefix(name, word) {
			return name
		}
	}
	if len(near) > 0 {
		return near[0]
	}
	return ""
}

func childNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// usage is a wrong command line.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return fault.New(fault.Usage, format, args...).WithHint("%s --help", cmd.CommandPath())
}

// takes checks the number of a command's arguments and names what is missing.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(cmd, "%s needs %s", cmd.CommandPath(), what)
		case most >= 0 && len(args) > most:
			return usage(cmd, "%s does not take %s", cmd.CommandPath(), fmt.Sprintf("%q", args[most]))
		}
		return nil
	}
}
