package cli

import (
	"path/filepath"
	"strings"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// place is where a command acts.
type place struct {
	home    string // absolute
	profile profile.Name
	// chosen is true when -p named the profile.
	chosen bool
}

// place finds the home and the profile: -p, else a home that is a profile's
// directory, else default.
func (e *env) place() (place, error) {
	if e.settingsErr != nil {
		return place{}, e.settingsErr
	}
	at := place{home: e.settings.Home, profile: e.settings.Profile}
	if e.flags.home != "" {
		abs, err := filepath.Abs(e.flags.home)
		if err != nil {
			return place{}, fault.Wrap(fault.HomeUnusable, err, "cannot find the home %q", e.flags.home)
		}
		at.home, at.profile = config.SplitHome(abs)
	}
	if at.home == "" {
		return place{}, fault.New(fault.HomeUnusable, "cannot find the home: neither HERMES_HOME nor HOME is set").
			WithHint("export HERMES_HOME=/path/of/the/home, or pass --home")
	}
	if at.profile == "" {
		at.profile = profile.Default
	}
	if e.flags.profile != "" {
		name, err := profile.Parse(e.flags.profile)
		if err != nil {
			return place{}, err
		}
		at.profile, at.chosen = name, true
	}
	return at, nil
}

// names are the profiles a command with positional names acts on: those names,
// else the one of the place. A name said twice counts once.
func (at place) names(args []string) ([]profile.Name, error) {
	if len(args) == 0 {
		return []profile.Name{at.profile}, nil
	}
	names := make([]profile.Name, 0, len(args))
	seen := make(map[profile.Name]bool, len(args))
	for _, arg := range args {
		name, err := profile.Parse(arg)
		if err != nil {
			return nil, err
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// command is how a hint addresses hermes for a profile: with the flags that
// are needed to reach the same home and profile again, and no others.
func (e *env) command(name profile.Name) string {
	words := e.base()
	unsaid := profile.Default
	if e.flags.home == "" && e.settings.Profile != "" {
		unsaid = e.settings.Profile
	}
	if name != unsaid {
		words += " -p " + string(name)
	}
	return words
}

// address makes a hint that comes from where --home is not known lead to the
// home it is about, unless that is where the command goes anyway.
func (e *env) address(hint string) string {
	if e.flags.home == "" || strings.HasSuffix(hint, " --help") {
		return hint
	}
	if abs, err := filepath.Abs(e.flags.home); err == nil && abs == e.settings.Home && e.settings.Profile == "" {
		return hint
	}
	const word = "hermes "
	out := ""
	for {
		before, after, found := strings.Cut(hint, word)
		if !found {
			return out + hint
		}
		out += before
		if isWordEnd(before) && !strings.HasPrefix(after, "--home ") {
			out += e.base() + " "
		} else {
			out += word
		}
		hint = after
	}
}

// isWordEnd says whether a command may begin after s.
func isWordEnd(s string) bool { return s == "" || s[len(s)-1] == ' ' || s[len(s)-1] == '`' }

// base is command for the home alone.
func (e *env) base() string {
	if e.flags.home != "" {
		return "hermes --home " + e.flags.home
	}
	return "hermes"
}
