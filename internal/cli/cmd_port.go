package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hermes/api"
)

func newPortCmd(e *env) *cobra.Command {
	return newGroup(e, "port", "See which gateway has which port", newPortListCmd(e))
}

// portUse is what a gateway does with a port, on the wire.
type portUse struct {
	Port    int    `json:"port,omitempty"` // 0: none until it starts, or it needs none
	Profile string `json:"profile"`
	State   string `json:"state"`
	// Shared are the other gateways that have the same port: one at a time can
	// run.
	Shared []string `json:"shared,omitempty"`
}

func newPortListCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the ports of the gateways",
		Long: "List the ports of the gateways, those of stopped ones included: a port stays with its profile. In a container\n" +
			"these are the ports to publish. A profile says which port it wants by API_SERVER_PORT in its .env or by gateway.port.",
		Args: takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			fleet, err := e.fleet(cmd.Context(), at)
			if err != nil {
				return err
			}
			uses := portUses(fleet.Gateways)
			if asJSON {
				return e.json(struct {
					Ports []portUse `json:"ports"`
				}{uses})
			}
			e.portTable(uses)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// portUses are the ports of gateways, by number, those without one last.
func portUses(gateways []api.Gateway) []portUse {
	owners := map[int][]string{}
	for _, g := range gateways {
		owners[g.Port] = append(owners[g.Port], g.Profile)
	}
	uses := make([]portUse, 0, len(gateways))
	for _, g := range gateways {
		u := portUse{Port: g.Port, Profile: g.Profile, State: g.State}
		for _, other := range owners[g.Port] {
			if g.Port != 0 && other != g.Profile {
				u.Shared = append(u.Shared, other)
			}
		}
		uses = append(uses, u)
	}
	slices.SortStableFunc(uses, func(a, b portUse) int {
		if (a.Port == 0) != (b.Port == 0) {
			return cmp.Compare(b.Port, a.Port)
		}
		return cmp.Compare(a.Port, b.Port)
	})
	return uses
}

func (e *env) portTable(uses []portUse) {
	rows := make([][]string, 0, len(uses))
	for _, u := range uses {
		rows = append(rows, []string{number(u.Port), u.Profile, u.State, strings.Join(u.Shared, ", ")})
	}
	table(e.out, []string{"PORT", "PROFILE", "STATE", "SHARED WITH"}, rows)
}
