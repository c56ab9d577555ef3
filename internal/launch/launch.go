// Package launch says how a gateway is run: which program, with which
// arguments, in which environment and directory. The supervisor and the
// foreground `gateway run` both ask it, so a gateway meets the same world
// however it is started.
//
// [Build] is a function of its input but for one thing: it looks the program
// up in the file system, because a command that is not there deserves a better
// answer than the kernel's. Nothing passes through a shell.
package launch

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/stray"
)

// Names of the variables every gateway gets. They win over the container's
// environment, the profile's .env and its gateway.env.
const (
	EnvHome     = "HERMES_HOME"             // the profile's directory
	EnvProfile  = "HERMES_PROFILE"          // the profile's name
	EnvChild    = "HERMES_SUPERVISED_CHILD" // the same: "this profile's gateway is me"
	EnvS6Child  = "HERMES_S6_SUPERVISED_CHILD"
	EnvPort     = "PORT"
	EnvAPIPort  = "API_SERVER_PORT"
	EnvNotify   = "NOTIFY_SOCKET"
	EnvNotifyFD = "HERMES_NOTIFY_FD" // of the built-in gateway alone
	EnvSlotID   = stray.Variable
)

// Input is all that decides how a gateway is run. Environ, Command and Self
// are required.
type Input struct {
	Profile profile.Name
	// Dir is the profile's directory, absolute; the gateway starts in it.
	Dir string
	// Environ is the container's environment as "key=value".
	Environ []string
	// Dotenv is the profile's .env; it wins over Environ.
	Dotenv map[string]string
	// Env is gateway.env of config.yaml; it wins over Dotenv.
	Env map[string]string
	// Command is gateway.command of config.yaml, FleetCommand
	// HERMES_GATEWAY_COMMAND, both split into words; the first that is not
	// empty wins, else Self is the built-in gateway. "{profile}" in a word of
	// FleetCommand stands for the profile's name.
	Command, FleetCommand []string
	// Self is the absolute path of the hermes binary.
	Self string
	// Port is the gateway's port; 0 leaves what Dotenv and Env say.
	Port int
	// UserName and UserHome describe the uid the gateway runs as; empty leaves
	// USER and LOGNAME, or HOME, as they are.
	UserName, UserHome string
	// Notify is the path of the readiness socket, "" without a supervisor.
	Notify string
	// NotifyFD is the descriptor on which the built-in gateway says that it is
	// ready, 0 for none.
	NotifyFD int
	// SlotID is the [stray.Mark] of the run, "" without a supervisor.
	SlotID string
}

// Command is what to exec.
type Command struct {
	Path string   // absolute
	Argv []string // Argv[0] is the word the operator wrote
	Env  []string // sorted "key=value", each key once
	Dir  string
	// BuiltIn is true for the built-in gateway, which reports its readiness.
	BuiltIn bool
}

// Build decides how to run a gateway. The error is a *fault.Error: the program
// is missing, or cannot be executed, or a word or a value has a NUL byte.
func Build(in Input) (Command, error) {
	env := environment(in)
	argv, origin := in.argv()
	if err := in.checkBytes(env, argv, origin); err != nil {
		return Command{}, err
	}
	if in.NotifyFD != 0 && origin == builtIn {
		env[EnvNotifyFD] = EnvNotifyFD + "=" + strconv.Itoa(in.NotifyFD)
	}
	cmd := Command{Argv: argv, Env: flatten(env), Dir: in.Dir, BuiltIn: origin == builtIn}
	if cmd.BuiltIn {
		cmd.Path = in.Self
		return cmd, nil
	}
	path, err := lookup(argv[0], in.Dir, strings.TrimPrefix(env["PATH"], "PATH="))
	if err != nil {
		return Command{}, in.lookupFault(argv[0], origin, err)
	}
	cmd.Path = path
	return cmd, nil
}

// origin is where a gateway's command was written.
type origin int

const (
	builtIn  origin = iota
	ofConfig        // gateway.command
	ofFleet         // HERMES_GATEWAY_COMMAND
)

func (in Input) argv() ([]string, origin) {
	switch {
	case len(in.Command) > 0:
		return slices.Clone(in.Command), ofConfig
	case len(in.FleetCommand) > 0:
		return config.ExpandCommand(in.FleetCommand, in.Profile), ofFleet
	}
	// Not the binary's own name: as "init", an image's entry point, it would be
	// the container's init once more.
	argv := []string{"hermes"}
	if in.Profile != profile.Default {
		argv = append(argv, "-p", string(in.Profile))
	}
	return append(argv, "gateway", "run", "--replace"), builtIn
}

// environment merges the layers, later ones over earlier ones. Its values are
// whole "key=value" words: most are the container's, shared by all gateways.
func environment(in Input) map[string]string {
	env := make(map[string]string, len(in.Environ)+len(in.Dotenv)+16)
	for _, kv := range in.Environ {
		if k, _, ok := strings.Cut(kv, "="); ok && k != "" {
			env[k] = kv
		}
	}
	for _, k := range notInherited() {
		delete(env, k)
	}
	if in.Profile != profile.Default {
		delete(env, EnvAPIPort) // a container-wide port is for default only
		delete(env, EnvPort)
	}
	overlay(env, in.Dotenv)
	overlay(env, in.Env)
	for _, k := range ownOnly() {
		delete(env, k)
	}
	maps.DeleteFunc(env, func(k, _ string) bool { return config.IsDashboardSecret(k) })
	overlay(env, in.own())
	return env
}

func overlay(env, layer map[string]string) {
	for k, v := range layer {
		env[k] = k + "=" + v
	}
}

// own are the variables of section "Environment": hermes says them, nobody else.
func (in Input) own() map[string]string {
	own := map[string]string{
		EnvHome:    in.Dir,
		EnvProfile: string(in.Profile),
		EnvChild:   string(in.Profile),
		EnvS6Child: "1",
	}
	if in.UserHome != "" {
		own["HOME"] = in.UserHome
	}
	if in.UserName != "" {
		own["USER"], own["LOGNAME"] = in.UserName, in.UserName
	}
	if in.Port != 0 {
		port := strconv.Itoa(in.Port)
		own[EnvPort], own[EnvAPIPort] = port, port
	}
	if in.Notify != "" {
		own[EnvNotify] = in.Notify
	}
	if in.SlotID != "" {
		own[EnvSlotID] = in.SlotID
	}
	return own
}

// notInherited belong to the process that started hermes: the protocols of
// sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) are spoken with
// one process, and a gateway that answered them would answer for hermes.
func notInherited() []string {
	return []string{"WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "PWD", "OLDPWD"}
}

// ownOnly would lie about this run if an outer layer could set them.
func ownOnly() []string { return []string{EnvNotify, EnvNotifyFD, EnvSlotID} }

// checkBytes refuses what exec would answer with a bare EINVAL. The value is
// not shown: it may be a secret.
func (in Input) checkBytes(env map[string]string, argv []string, from origin) error {
	var bad []string
	for k, kv := range env {
		if strings.IndexByte(kv, 0) >= 0 {
			bad = append(bad, k)
		}
	}
	if len(bad) > 0 {
		k := slices.Min(bad)
		return fault.New(fault.InvalidConfig, "cannot run %s: the value of %q contains a NUL byte", in.Profile.Slot(), k).
			WithHint("correct %s in %s", k, filepath.Join(in.Dir, ".env"))
	}
	for _, w := range argv {
		if strings.ContainsRune(w, 0) {
			return fault.New(fault.InvalidConfig, "cannot run %s: its command contains a NUL byte", in.Profile.Slot()).
				WithHint("correct %s", in.where(from))
		}
	}
	return nil
}

// where is the place an operator edits to change the command.
func (in Input) where(from origin) string {
	if from == ofFleet {
		return "HERMES_GATEWAY_COMMAND"
	}
	return "gateway.command in " + filepath.Join(in.Dir, "config.yaml")
}

func flatten(env map[string]string) []string { return slices.Sorted(maps.Values(env)) }
