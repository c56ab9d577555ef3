package cli

import (
	"context"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
)

func newProfileCmd(e *env) *cobra.Command {
	return newGroup(e, "profile", "Create, delete, rename and show profiles",
		newProfileCreateCmd(e),
		newProfileDeleteCmd(e),
		newProfileRenameCmd(e),
		newProfileListCmd(e),
		newProfileShowCmd(e),
	)
}

// supervisorOf is a client of the home's supervisor, nil where there is none.
func (e *env) supervisorOf(at place) (*client.Client, error) {
	c, err := e.find(at.home)
	if client.IsNoSupervisor(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.By = "cli"
	return c, nil
}

func newProfileCreateCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "create NAME",
		Short: "Create a profile; its gateway is down until you start it",
		Long: "Create a profile with a persona (SOUL.md), a config.yaml of comments and an empty .env.\n" +
			"Its gateway is down until you start it.",
		Args: takes(1, 1, "the name of the new profile"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			name, err := profile.ParseNew(args[0])
			if err != nil {
				return err
			}
			return e.createProfile(cmd.Context(), at, name)
		},
	}
}

func (e *env) createProfile(ctx context.Context, at place, name profile.Name) error {
	c, err := e.supervisorOf(at)
	if err != nil {
		return err
	}
	var made api.Profile
	hint := e.startHint([]profile.Name{name})
	if c != nil {
		made, err = c.CreateProfile(ctx, string(name))
		hint = e.command(name) + " gateway start"
	} else {
		made, err = createAlone(at, name)
	}
	if err != nil {
		return err
	}
	e.printf("✓ created profile '%s' in %s\n", name, made.Path)
	if made.Warning != "" {
		e.note("! %s\n", lines(made.Warning))
	}
	e.note("hint: %s\n", hint)
	return nil
}

func createAlone(at place, name profile.Name) (api.Profile, error) {
	home, err := store.Create(at.home)
	if err != nil {
		return api.Profile{}, err
	}
	defer home.Close()
	path, err := home.CreateProfile(name)
	return api.Profile{Name: string(name), Path: path}, err
}

func newProfileRenameCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME NEW",
		Short: "Rename a profile; it keeps its intent and its port",
		Args:  takes(2, 2, "the profile's name and the new one"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			from, err := profile.Parse(args[0])
			if err != nil {
				return err
			}
			to, err := profile.ParseNew(args[1])
			if err != nil {
				return err
			}
			if err := renameProfile(cmd.Context(), at, from, to, e); err != nil {
				return err
			}
			e.printf("✓ renamed profile '%s' to '%s'\n", from, to)
			return nil
		},
	}
}

func renameProfile(ctx context.Context, at place, from, to profile.Name, e *env) error {
	c, err := e.supervisorOf(at)
	if err != nil {
		return err
	}
	if c != nil {
		renamed, err := c.RenameProfile(ctx, string(from), string(to))
		if renamed.Warning != "" {
			e.note("! %s\n", lines(renamed.Warning))
		}
		return err
	}
	home, err := store.Open(at.home)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := e.checkIdle(home, from, "rename"); err != nil {
		return err
	}
	return home.RenameProfile(from, to)
}

func newProfileListCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the profiles",
		Args:  takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			all, err := e.profiles(cmd.Context(), at)
			if err != nil {
				return err
			}
			if asJSON {
				return e.json(api.ProfileList{Profiles: all})
			}
			var rows [][]string
			for _, p := range all {
				rows = append(rows, []string{p.Name, number(p.Port), p.Path})
			}
			table(e.out, []string{"PROFILE", "PORT", "PATH"}, rows)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newProfileShowCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show one profile",
		Args:  takes(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			names, err := at.names(args)
			if err != nil {
				return err
			}
			all, err := e.profiles(cmd.Context(), at)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(p api.Profile) bool { return p.Name == string(names[0]) })
			if i < 0 {
				return fault.NotRegistered(string(names[0]))
			}
			if asJSON {
				return e.json(all[i])
			}
			e.printf("profile: %s\npath: %s\n", all[i].Name, all[i].Path)
			if all[i].Port > 0 {
				e.printf("port: %s\n", strconv.Itoa(all[i].Port))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// profiles lists the home's profiles.
func (e *env) profiles(ctx context.Context, at place) ([]api.Profile, error) {
	c, err := e.supervisorOf(at)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return c.ListProfiles(ctx)
	}
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	scan, err := home.Scan()
	if err != nil {
		return nil, err
	}
	for _, s := range scan.Skipped {
		e.note("! profiles/%s is skipped: %s\n", oneLine(s.Name), oneLine(s.Reason))
	}
	plan := ports(home, e.settings)
	all := make([]api.Profile, 0, len(scan.Entries))
	for _, entry := range scan.Entries {
		all = append(all, api.Profile{Name: string(entry.Name), Path: entry.Path, Port: plan[entry.Name]})
	}
	return all, nil
}
