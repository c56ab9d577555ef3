package condition

import (
	"fmt"
	"strings"
)

// Rule is one condition that can hold.
type Rule struct {
	Code    string // stable; codes are only ever added
	Level   Level
	When    string // for the reference page
	Lost    string // what it makes impossible, for the reference page
	Fixable bool
	holds   func(Facts) (message, hint string) // "" when it does not
}

// Codes that others act upon.
const (
	// HomeUnusable is a home that cannot be used, which the store explains.
	HomeUnusable = "home_unusable"
	// FilesOfOthers and SecretsReadable can be repaired.
	FilesOfOthers   = "files_of_others"
	SecretsReadable = "secrets_readable"
)

// Rules are all of them, the gravest first.
func Rules() []Rule {
	return append(append(fatal(), warnings()...), notes()...)
}

func fatal() []Rule {
	return []Rule{
		{
			Code: "no_setuid", Level: Fatal, holds: noSetUID,
			When: "root without CAP_SETUID or CAP_SETGID, and gateways are to run as another uid",
			Lost: "running gateways",
		},
		{
			Code: "no_chown", Level: Fatal, holds: noChown,
			When: "root without CAP_CHOWN, and gateways run as another uid",
			Lost: "giving that uid what hermes makes in the home: no gateway could read its own `.env`",
		},
		{
			Code: "home_closed", Level: Fatal, holds: homeClosed,
			When: "root without CAP_DAC_OVERRIDE, and a home of another uid",
			Lost: "reading and writing the home",
		},
		{
			Code: HomeUnusable, Level: Fatal, holds: homeUnusable,
			When: "the home is missing, is no directory, is mounted read-only, or is not writable for this uid",
			Lost: "keeping intents",
		},
		{
			Code: "runtime_unusable", Level: Fatal, holds: noRuntime,
			When: "no directory for the control socket: none of the candidates can be written",
			Lost: "supervising",
		},
		{
			Code: "pids_limit_too_small", Level: Fatal, holds: pidsTooSmall,
			When: fmt.Sprintf("the pids limit is below %d", LeastPIDs),
			Lost: "the keeper's and the engine's threads: either would be ended by the Go runtime",
		},
	}
}

func warnings() []Rule {
	return []Rule{
		{
			Code: "pids_limit_small", Level: Warning, holds: pidsSmall,
			When: fmt.Sprintf("the pids limit is below %d + %d per built-in gateway + %d per other gateway that is wanted running",
				LeastPIDs, builtInThreads, otherThreads),
			Lost: "starting the last gateways, or a `docker exec` beside them",
		},
		{
			Code: "processes_limit_small", Level: Warning, holds: processesSmall,
			When: "RLIMIT_NPROC (`--ulimit nproc`, `ulimit -u`) is below the same number, and hermes is not root",
			Lost: "the same; other processes of the uid count, too",
		},
		{
			Code: "open_files_small", Level: Warning, holds: filesSmall,
			When: fmt.Sprintf("RLIMIT_NOFILE is below %d + %d per gateway", ownFiles, gatewayFiles),
			Lost: "starting the last gateways",
		},
		{
			Code: "memory_limit_small", Level: Warning, holds: memorySmall,
			When: fmt.Sprintf("the memory limit is below %d MB + %d MB per built-in gateway", ownMemory>>20, builtInMemory>>20),
			Lost: "the kernel kills gateways, the largest first; each comes back",
		},
		{
			Code: "gateway_uid", Level: Warning, holds: gatewayUID,
			When: "HERMES_UID, PUID or their groups ask for what this uid cannot give, or nothing keeps gateways from running as root",
			Lost: "running gateways as that uid",
		},
		{
			Code: "home_full", Level: Warning, holds: homeFull,
			When: fmt.Sprintf("less than %d MB are free where the home is", littleSpace>>20),
			Lost: "writing intents and logs; gateways go on",
		},
		{
			Code: FilesOfOthers, Level: Warning, Fixable: true, holds: misowned,
			When: "in a container, a known file of a profile belongs to another uid than gateways run as",
			Lost: "a gateway may not be able to read or replace it; the next boot of a root container gives it back",
		},
		{
			Code: SecretsReadable, Level: Warning, Fixable: true, holds: exposed,
			When: "every user may read a profile's `.env`",
			Lost: "keeping its keys from other users",
		},
		{
			Code: "foreign_init", Level: Warning, holds: foreignInit,
			When: "there are scripts in `/etc/cont-init.d`",
			Lost: "running them",
		},
	}
}

func notes() []Rule {
	return []Rule{
		{
			Code: "no_kill", Level: Note, holds: noKill,
			When: "root without CAP_KILL, and gateways run as another uid",
			Lost: "signalling a gateway directly; a helper of its uid does it",
		},
		{
			Code: "runtime_elsewhere", Level: Note, holds: elsewhere,
			When: "the control socket is not in the first of its directories, for example because the root or `/run` is read-only",
			Lost: "nothing: clients read its path from the home's lease",
		},
		{
			Code: "home_remote", Level: Note, holds: homeRemote,
			When: "the home is on NFS, SMB, 9p, FUSE or another file system that other machines can write",
			Lost: "a lock that is free the instant its holder dies: a heartbeat takes its place",
		},
		{
			Code: "no_inotify", Level: Note, holds: noInotify,
			When: "inotify is not available: no instances are left, or a sandbox does not have it",
			Lost: "noticing a profile made by hand within a second",
		},
	}
}

// drops says whether gateways are given another identity than the supervisor's.
func (f Facts) drops() bool { return f.UID == 0 && (f.GatewayUID != 0 || f.GatewayGID != 0) }

// capHint adds, at once, every capability that is missing.
func (f Facts) capHint() string {
	uid := f.GatewayUID
	if f.Home.UID != 0 {
		uid = f.Home.UID
	}
	hint := "docker run … --cap-add " + strings.Join(f.dropped(needed).names(), " --cap-add ")
	if uid == 0 {
		return hint
	}
	return fmt.Sprintf("%s, or --user %d:%d on a home of that uid", hint, uid, uid)
}

func noSetUID(f Facts) (message, hint string) {
	missing := f.dropped(SetUID | SetGID)
	if missing == 0 || !f.drops() {
		return "", ""
	}
	return fmt.Sprintf("root without %s cannot run gateways as %d:%d", missing, f.GatewayUID, f.GatewayGID), f.capHint()
}

func homeClosed(f Facts) (message, hint string) {
	if !f.Home.Denied || f.dropped(DACOverride) == 0 || f.Home.UID == 0 {
		return "", ""
	}
	return fmt.Sprintf("root without %s cannot use %s, which belongs to uid %d", DACOverride, f.Home.Path, f.Home.UID), f.capHint()
}

func homeUnusable(f Facts) (message, hint string) {
	if closed, _ := homeClosed(f); f.Home.Trouble == nil || closed != "" {
		return "", ""
	}
	return f.Home.Trouble.Message, f.Home.Trouble.Hint
}

func noRuntime(f Facts) (message, hint string) {
	if f.Runtime.Dir != "" || len(f.Runtime.Refused) == 0 {
		return "", ""
	}
	return "there is no directory for the control socket: " + f.Runtime.reasons(),
		"set HERMES_RUNTIME_DIR to a directory this user can write, on a local file system"
}

func (r Runtime) reasons() string {
	var all []string
	for _, one := range r.Refused {
		all = append(all, one.Dir+": "+one.Reason)
	}
	return strings.Join(all, "; ")
}

func pidsTooSmall(f Facts) (message, hint string) {
	if f.Limits.PIDs == 0 || f.Limits.PIDs >= LeastPIDs {
		return "", ""
	}
	return fmt.Sprintf("the pids limit is %d and hermes alone needs %d processes and threads", f.Limits.PIDs, LeastPIDs),
		fmt.Sprintf("docker run … --pids-limit %d", round(f.Fleet.PIDs()))
}

func pidsSmall(f Facts) (message, hint string) {
	need := f.Fleet.PIDs()
	if f.Limits.PIDs < LeastPIDs || f.Limits.PIDs >= need {
		return "", ""
	}
	return fmt.Sprintf("the pids limit is %d and %s at least %d processes and threads, with hermes's own: starts and `docker exec` will fail with \"resource temporarily unavailable\"",
		f.Limits.PIDs, f.Fleet.needs(), need), fmt.Sprintf("docker run … --pids-limit %d", round(need))
}

func processesSmall(f Facts) (message, hint string) {
	need := f.Fleet.PIDs()
	if f.UID == 0 || f.Limits.Processes == 0 || f.Limits.Processes >= need {
		return "", ""
	}
	return fmt.Sprintf("uid %d may have %d processes and threads and %s at least %d, with hermes's own", f.UID, f.Limits.Processes, f.Fleet.needs(), need),
		fmt.Sprintf("docker run … --ulimit nproc=%d, or ulimit -u %[1]d", round(need))
}

func (f Fleet) needs() string {
	if f.Gateways == 1 {
		return "the gateway that is wanted running needs"
	}
	return fmt.Sprintf("the %d gateways that are wanted running need", f.Gateways)
}

func filesSmall(f Facts) (message, hint string) {
	need := f.Fleet.Files()
	if f.Limits.OpenFiles == 0 || f.Limits.OpenFiles >= need {
		return "", ""
	}
	return fmt.Sprintf("a process may have %d files open and %s %d", f.Limits.OpenFiles, f.Fleet.needs(), need),
		fmt.Sprintf("docker run … --ulimit nofile=%d, or ulimit -n %[1]d", round(need))
}

func memorySmall(f Facts) (message, hint string) {
	need := f.Fleet.Memory()
	if f.Limits.Memory == 0 || f.Limits.Memory >= need {
		return "", ""
	}
	return fmt.Sprintf("the memory limit is %d MB and %s about %d MB, with hermes's own", f.Limits.Memory>>20, f.Fleet.needs(), need>>20),
		fmt.Sprintf("docker run … --memory %dm", round(need>>20))
}

func noChown(f Facts) (message, hint string) {
	if !f.drops() || f.dropped(Chown) == 0 {
		return "", ""
	}
	return fmt.Sprintf("root without %s cannot give what it makes in the home to %d:%d", Chown, f.GatewayUID, f.GatewayGID), f.capHint()
}

func gatewayUID(f Facts) (message, hint string) { return f.IdentityWarning, "" }

// littleSpace is less than a boot of many profiles writes.
const littleSpace = 1 << 20

func homeFull(f Facts) (message, hint string) {
	if !f.Home.FreeKnown || f.Home.Free >= littleSpace {
		return "", ""
	}
	return fmt.Sprintf("%d kB are free in %s: intents cannot be written, and log lines will be lost", f.Home.Free>>10, f.Home.Path),
		"free some space: df -h " + f.Home.Path
}

func misowned(f Facts) (message, hint string) {
	if len(f.Home.Misowned) == 0 {
		return "", ""
	}
	return fmt.Sprintf("gateways run as %d:%d and %s", f.GatewayUID, f.GatewayGID, some(f.Home.Misowned, "belongs", "belong")+" to somebody else"),
		"as root: hermes doctor --fix"
}

func exposed(f Facts) (message, hint string) {
	if len(f.Home.Exposed) == 0 {
		return "", ""
	}
	return "every user may read " + some(f.Home.Exposed, "", ""), "hermes doctor --fix"
}

// some names the first of many: "a, b, c and 4 more belong".
func some(paths []string, one, many string) string {
	const most = 3
	verb := many
	if len(paths) == 1 {
		verb = one
	}
	text := strings.Join(paths[:min(most, len(paths))], ", ")
	if more := len(paths) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return strings.TrimSpace(text + " " + verb)
}

func foreignInit(f Facts) (message, hint string) {
	if len(f.ForeignInit) == 0 {
		return "", ""
	}
	return "scripts of another init in /etc/cont-init.d are not run: " + strings.Join(f.ForeignInit, ", "),
		"run them from the container's command, or in an init container"
}

func noKill(f Facts) (message, hint string) {
	if !f.drops() || f.dropped(Kill) == 0 {
		return "", ""
	}
	return fmt.Sprintf("root without %s cannot signal gateways of uid %d directly: a helper of that uid does it", Kill, f.GatewayUID), ""
}

func elsewhere(f Facts) (message, hint string) {
	if f.Runtime.Dir == "" || len(f.Runtime.Refused) == 0 {
		return "", ""
	}
	return fmt.Sprintf("the control socket is in %s (%s)", f.Runtime.Dir, f.Runtime.reasons()), ""
}

func homeRemote(f Facts) (message, hint string) {
	if !f.Home.Remote {
		return "", ""
	}
	return fmt.Sprintf("%s is on a network file system: a heartbeat takes the place of its lock, so after a crash another machine waits 3 min; "+
		"profiles made there by other machines are noticed within 30 s", f.Home.Path), ""
}

func noInotify(f Facts) (message, hint string) {
	if f.NoInotify == "" {
		return "", ""
	}
	return "there is no inotify (" + f.NoInotify + "): a profile made by hand is noticed within 30 s, and at each command", ""
}
