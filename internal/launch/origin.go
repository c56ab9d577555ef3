package launch

import (
	"maps"
	"slices"
	"strings"
)

// Variable is one of a gateway's environment, and who says it.
type Variable struct {
	Name, Value string
	From        Source
}

// Source is who says a variable.
type Source string

// The sources, each of which wins over those before it.
const (
	FromEnviron Source = "environment" // the container's, or that of `hermes up`
	FromDotenv  Source = ".env"
	FromConfig  Source = "gateway.env"
	FromHermes  Source = "hermes"
)

// Environment is what [Build] gives a gateway, by name, with who says it.
func Environment(in Input) []Variable {
	env := environment(in)
	own := in.own()
	all := make([]Variable, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		_, value, _ := strings.Cut(env[name], "=")
		v := Variable{Name: name, Value: value, From: FromEnviron}
		for _, layer := range []struct {
			vars map[string]string
			from Source
		}{{in.Dotenv, FromDotenv}, {in.Env, FromConfig}, {own, FromHermes}} {
			if _, ok := layer.vars[name]; ok {
				v.From = layer.from
			}
		}
		all = append(all, v)
	}
	return all
}

// Argv is the command that [Build] runs, and what said it: "gateway.command",
// "HERMES_GATEWAY_COMMAND" or "built in".
func Argv(in Input) (argv []string, said string) {
	argv, from := in.argv()
	switch from {
	case ofConfig:
		return argv, "gateway.command"
	case ofFleet:
		return argv, "HERMES_GATEWAY_COMMAND"
	case builtIn:
	}
	return argv, "built in"
}
