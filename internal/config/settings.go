package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"hermes/internal/profile"
)

// DefaultStopTimeout is the grace between SIGTERM and SIGKILL: two seconds
// less than the ten `docker stop` allows for everything.
const DefaultStopTimeout = 8 * time.Second

// The forms gateway output takes on the container's stdout.
const (
	LogPlain = "plain" // "[coder] line"
	LogJSON  = "json"
)

// The engines.
const (
	EngineNative = "native"
	EngineS6     = "s6"
)

// Settings is what the environment of a process says. An empty variable counts
// as one that is not set: that is what compose files make of `${PUID:-}`.
type Settings struct {
	// Home is the absolute path of the home: $HERMES_HOME, else ~/.hermes; ""
	// when neither HERMES_HOME nor HOME is set. A HERMES_HOME of the form
	// <home>/profiles/<name> is split into Home and Profile.
	Home    string
	HomeSet bool         // HERMES_HOME is set
	Profile profile.Name // from HERMES_HOME's form, else ""

	RuntimeDir    string // $HERMES_RUNTIME_DIR
	XDGRuntimeDir string // $XDG_RUNTIME_DIR

	UID, GID IDSetting // HERMES_UID or PUID, HERMES_GID or PGID

	Engine         string        // $HERMES_ENGINE: EngineNative (default) or EngineS6
	StartParallel  int           // $HERMES_START_PARALLEL, default 2 × cores
	StopTimeout    time.Duration // $HERMES_STOP_TIMEOUT, default DefaultStopTimeout
	LogFormat      string        // $HERMES_LOG_FORMAT: LogPlain (default) or LogJSON
	GatewayCommand []string      // $HERMES_GATEWAY_COMMAND in words, see [ExpandCommand]

	// NoSupervise is HERMES_GATEWAY_NO_SUPERVISE ∈ {1, true, yes}, any case.
	NoSupervise bool
	// SupervisedChild is $HERMES_SUPERVISED_CHILD: the profile whose supervised
	// gateway this process is part of.
	SupervisedChild string
	// S6SupervisedChild says that HERMES_S6_SUPERVISED_CHILD has a value.
	S6SupervisedChild bool

	// HTTPAddr is $HERMES_HTTP_ADDR, host:port or :port: where the engine tells
	// how the fleet is; "" for nowhere.
	HTTPAddr string

	// Dashboard is HERMES_DASHBOARD ∈ {1, true, yes}, any case. See
	// [DashboardFrom] for the rest of it.
	Dashboard bool

	// APIServerHost, APIServerPort and APIServerKey are the variables of that
	// name; said for a whole container, the port is meant for the default
	// profile alone. The port is 0 when not said.
	APIServerHost string
	APIServerPort int
	APIServerKey  Secret
	NotifySocket  string // $NOTIFY_SOCKET
	// NotifyFD is $HERMES_NOTIFY_FD, a descriptor on which a newline says that
	// this process is ready; 0 for none.
	NotifyFD int
}

// IDSetting is a user or group id somebody asked for.
type IDSetting struct {
	ID       uint32
	Variable string // which variable said it; "" when none did
}

// Set reports whether the id was said at all.
func (s IDSetting) Set() bool { return s.Variable != "" }

// maxParallel bounds HERMES_START_PARALLEL: beyond it the gate is none.
const maxParallel = 4096

// maxNotifyFD bounds HERMES_NOTIFY_FD.
const maxNotifyFD = 1024

// maxTimeout bounds every timeout: a longer one is a mistyped unit.
const maxTimeout = 24 * time.Hour

// maxID is the largest user id; 2^32-1 means "do not change" to chown(2).
const maxID = 1<<32 - 2

// FromEnviron reads the settings from an environment of the form of
// [os.Environ]. The error lists every wrong variable; the settings are usable
// beside it, with the defaults in the place of what was wrong.
func FromEnviron(environ []string) (Settings, error) {
	e := newEnvironment(environ)
	s := Settings{
		RuntimeDir:        e.path("HERMES_RUNTIME_DIR"),
		XDGRuntimeDir:     e.path("XDG_RUNTIME_DIR"),
		UID:               e.id("HERMES_UID", "PUID"),
		GID:               e.id("HERMES_GID", "PGID"),
		Engine:            e.word("HERMES_ENGINE", EngineNative, EngineS6),
		StartParallel:     e.integer("HERMES_START_PARALLEL", 2*runtime.GOMAXPROCS(0), maxParallel),
		StopTimeout:       e.timeout("HERMES_STOP_TIMEOUT", DefaultStopTimeout),
		LogFormat:         e.word("HERMES_LOG_FORMAT", LogPlain, LogJSON),
		GatewayCommand:    e.command("HERMES_GATEWAY_COMMAND"),
		NoSupervise:       Truthy(e.values["HERMES_GATEWAY_NO_SUPERVISE"]),
		SupervisedChild:   e.values["HERMES_SUPERVISED_CHILD"],
		S6SupervisedChild: e.values["HERMES_S6_SUPERVISED_CHILD"] != "",
		HTTPAddr:          e.address("HERMES_HTTP_ADDR"),
		Dashboard:         Truthy(e.values["HERMES_DASHBOARD"]),
		APIServerHost:     e.values["API_SERVER_HOST"],
		APIServerPort:     e.integer("API_SERVER_PORT", 0, maxPort),
		APIServerKey:      Secret(e.values["API_SERVER_KEY"]),
		NotifySocket:      e.values["NOTIFY_SOCKET"],
		NotifyFD:          e.integer("HERMES_NOTIFY_FD", 0, maxNotifyFD),
	}
	if home := e.path("HERMES_HOME"); home != "" {
		s.HomeSet = true
		s.Home, s.Profile = SplitHome(home)
	} else if user := e.values["HOME"]; filepath.IsAbs(user) {
		s.Home = filepath.Join(user, ".hermes")
	}
	return s, e.problems.fault("correct the variables named above")
}

// SplitHome splits the path of a profile's directory, <home>/profiles/<name>,
// into the home and the name. Any other path is a home: n is "".
func SplitHome(path string) (home string, n profile.Name) {
	path = filepath.Clean(path)
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	if filepath.Base(dir) != "profiles" {
		return path, ""
	}
	n, err := profile.ParseNew(base)
	if err != nil {
		return path, ""
	}
	return filepath.Dir(dir), n
}

// Truthy reports whether s says yes: 1, true or yes in any case, and nothing
// else, as the original has it.
func Truthy(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes":
		return true
	}
	return false
}

// environment looks variables up and collects what is wrong with them.
type environment struct {
	values   map[string]string
	problems problems
}

func newEnvironment(environ []string) environment {
	e := environment{values: make(map[string]string, len(environ))}
	for _, entry := range environ {
		k, v, _ := strings.Cut(entry, "=")
		if _, seen := e.values[k]; !seen { // as os.Getenv: the first counts
			e.values[k] = v
		}
	}
	return e
}

func (e *environment) text(key, fallback string) string {
	if v := e.values[key]; v != "" {
		return v
	}
	return fallback
}

// path is an absolute path; a relative one is taken from the working directory.
func (e *environment) path(key string) string {
	v := e.values[key]
	switch {
	case v == "":
		return ""
	case strings.HasPrefix(v, "~"):
		e.problems.add("%s: %q starts with ~, which only a shell expands", key, clip(v))
		return ""
	case filepath.IsAbs(v):
		return filepath.Clean(v)
	}
	wd, err := os.Getwd()
	if err != nil {
		e.problems.add("%s: %q is relative and the working directory is unknown: %v", key, clip(v), err)
		return ""
	}
	return filepath.Join(wd, v)
}

// word is one of the allowed words, the first of which is the default.
func (e *environment) word(key string, allowed ...string) string {
	v := e.text(key, allowed[0])
	for _, w := range allowed {
		if strings.EqualFold(v, w) {
			return w
		}
	}
	e.problems.add("%s: %q is not one of %s", key, clip(v), strings.Join(allowed, ", "))
	return allowed[0]
}

func (e *environment) integer(key string, fallback, limit int) int {
	v := e.values[key]
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > limit {
		e.problems.add("%s: %q is not a number from 1 to %d", key, clip(v), limit)
		return fallback
	}
	return n
}

// address is host:port or :port. Whether the host is one of this machine's is
// for the kernel to say.
func (e *environment) address(key string) string {
	v := e.values[key]
	if v == "" {
		return ""
	}
	if err := checkAddress(v); err != nil {
		e.problems.add("%s: %v", key, err)
		return ""
	}
	return v
}

func (e *environment) timeout(key string, fallback time.Duration) time.Duration {
	v := e.values[key]
	if v == "" {
		return fallback
	}
	d, err := parseTimeout(v)
	if err != nil {
		e.problems.add("%s: %v", key, err)
		return fallback
	}
	return d
}

func (e *environment) command(key string) []string {
	v := e.values[key]
	if v == "" {
		return nil
	}
	words, err := Words(v)
	if err != nil {
		e.problems.add("%s: %v", key, err)
		return nil
	}
	return words
}

// id is the number in the first of the variables that is set.
func (e *environment) id(keys ...string) IDSetting {
	for _, key := range keys {
		v := e.values[key]
		if v == "" {
			continue
		}
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || n > maxID {
			e.problems.add("%s: %q is not a numeric id", key, clip(v))
			return IDSetting{}
		}
		return IDSetting{ID: uint32(n), Variable: key}
	}
	return IDSetting{}
}

// BeyondLoopback reports whether a server bound to host can be reached from
// other machines: anything but a loopback address and localhost. No host at
// all is the default, which is loopback.
func BeyondLoopback(host string) bool {
	if host == "" || strings.EqualFold(host, "localhost") {
		return false
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err != nil || !address.Unmap().IsLoopback()
}
