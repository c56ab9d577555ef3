package cli

import "github.com/spf13/cobra"

func newVersionCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show which hermes this is",
		Args:  takes(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			b := e.build
			if asJSON {
				return e.json(b)
			}
			e.printf("hermes %s\n", b.Version)
			if b.Revision != "" {
				changed := ""
				if b.Modified {
					changed = ", with local changes"
				}
				e.printf("revision %s of %s%s\n", b.Revision, b.Time, changed)
			}
			e.printf("%s %s\n", b.Go, b.Platform)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
