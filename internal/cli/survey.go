package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"hermes/internal/condition"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/machine"
	"hermes/internal/profile"
	"hermes/internal/runtimedir"
	"hermes/internal/store"
)

// foreignInitDir is where images for another init have their scripts.
const foreignInitDir = "/etc/cont-init.d"

// survey gathers what conditions are derived from: of the home at path, and of
// the process pid that supervises it, or would. Where the socket is and what
// only a closer look finds is added by the callers.
func (e *env) survey(path string, pid int, container bool, wanted []profile.Name) condition.Facts {
	who, err := machine.Look(pid)
	if err != nil { // no /proc: only this process's ids are known
		who = machine.Process{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Caps: ^condition.Capabilities(0)}
	}
	id := e.identityUnder(path, who, container)
	f := condition.Facts{
		UID: who.UID, Caps: who.Caps,
		GatewayUID: id.UID, GatewayGID: id.GID, IdentityWarning: id.Warning,
		Home: condition.Home{Path: path}, Limits: machine.Limits(pid), NoInotify: machine.NoInotify(),
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil {
		f.Home.UID, f.Home.GID = st.Uid, st.Gid
		f.Home.Remote, _ = lease.Remote(path)
		f.Home.Free, f.Home.FreeKnown = machine.Free(path)
	}
	if container {
		f.ForeignInit = entries(foreignInitDir)
	}
	f.Fleet = e.countFleet(path, f.Limits, wanted)
	return f
}

// identityUnder is who gateways run as under a supervisor that is that process.
func (e *env) identityUnder(home string, who machine.Process, container bool) config.Identity {
	at := config.Situation{CallerUID: who.UID, CallerGID: who.GID, Container: container, Init: container}
	var st unix.Stat_t
	if err := unix.Stat(home, &st); err == nil {
		at.HomeUID, at.HomeGID = st.Uid, st.Gid
	}
	return e.settings.Identity(at)
}

// fleetIdentity is who gateways run as under this process.
func (e *env) fleetIdentity(home string, container bool) config.Identity {
	return e.identityUnder(home, machine.Process{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}, container)
}

// entries are the names in a directory; one that is not there has none.
func entries(dir string) (names []string) {
	all, _ := os.ReadDir(dir)
	for _, entry := range all {
		names = append(names, entry.Name())
	}
	return names
}

// countFleet counts the gateways that are wanted running. Their files are read
// only where a limit might be too small for them: most boots have none.
func (e *env) countFleet(path string, limits condition.Limits, wanted []profile.Name) (fleet condition.Fleet) {
	home, err := store.OpenReadOnly(path)
	if err != nil {
		return fleet // reported as the home's own trouble
	}
	defer home.Close()
	scan, err := home.Scan()
	if err != nil || limits.Suffice(condition.Fleet{Gateways: len(scan.Entries), BuiltIn: len(scan.Entries)}) {
		return fleet
	}
	for _, entry := range scan.Entries {
		p, err := home.Profile(entry.Name)
		if err != nil {
			continue // it cannot be started either
		}
		intent, _, _ := p.Intent()
		if intent.Intent == profile.Running || slices.Contains(wanted, entry.Name) {
			fleet.Gateways++
			if file, err := p.Config(); err == nil && len(file.Gateway.Command) == 0 && len(e.settings.GatewayCommand) == 0 {
				fleet.BuiltIn++
			}
		}
		_ = p.Close()
	}
	return fleet
}

// withTrouble adds why the home cannot be used, as the store found.
func withTrouble(f condition.Facts, trouble error) condition.Facts {
	if t, ok := errors.AsType[*fault.Error](trouble); ok {
		f.Home.Trouble = &condition.Trouble{Message: t.Msg, Hint: t.Hint}
		f.Home.Denied = errors.Is(trouble, fs.ErrPermission)
	}
	return f
}

// withRuntime adds where the socket is, and what was tried before. To a user
// who has a runtime directory of his own /run is no loss.
func (e *env) withRuntime(f condition.Facts, dir string, refused []runtimedir.Attempt) condition.Facts {
	f.Runtime.Dir = dir
	for _, a := range refused {
		if f.UID != 0 && e.settings.XDGRuntimeDir != "" && a.Dir == runtimedir.System {
			continue
		}
		reason := a.Err.Error()
		if errno, ok := errors.AsType[unix.Errno](a.Err); ok {
			reason = errno.Error()
		}
		f.Runtime.Refused = append(f.Runtime.Refused, condition.Refused{Dir: a.Dir, Reason: reason})
	}
	return f
}

// candidates are the directories this process may have its socket in.
func (e *env) candidates() []string {
	return runtimedir.Candidates(e.settings.RuntimeDir, e.settings.XDGRuntimeDir, os.Getuid())
}

// betterThan are the candidates that come before the one dir is in.
func (e *env) betterThan(dir string) []string {
	all := e.candidates()
	if i := slices.Index(all, filepath.Dir(dir)); i >= 0 {
		return all[:i]
	}
	return nil
}

// refusal is why nothing can be supervised under these conditions, nil if
// nothing is in the way. What the store said of the home is said as it was.
func refusal(all []condition.Condition, trouble error) error {
	var grave *fault.Error
	for _, c := range all {
		switch {
		case c.Level != condition.Fatal:
		case c.Code == condition.HomeUnusable:
			return trouble
		case grave == nil:
			grave = fault.New(fault.Code(c.Code), "%s", c.Message).WithHint("%s", c.Hint)
		default:
			grave.Msg += "\n" + c.Message
		}
	}
	if grave == nil {
		return nil
	}
	return grave
}

// printConditions tells at boot, once, what does not work as it might.
func (e *env) printConditions(all []condition.Condition) {
	for _, c := range all {
		e.note("%s: %s (%s)\n", c.Level, c.Message, c.Code)
		if c.Hint != "" {
			e.note("hint: %s\n", c.Hint)
		}
	}
}
