package launch

import (
	"strconv"
	"strings"
)

// DashboardInput is all that decides how the dashboard is run.
type DashboardInput struct {
	// Home is the home, absolute; the dashboard starts in it.
	Home string
	// Self is the absolute path of the hermes binary.
	Self string
	// Environ is the environment of the supervisor as "key=value".
	Environ []string
	// UserName and UserHome, Notify, NotifyFD and SlotID are as in [Input].
	UserName, UserHome, Notify, SlotID string
	NotifyFD                           int
}

// Dashboard decides how to run the dashboard: as who types `hermes dashboard`
// in the supervisor's environment, for the supervisor's home.
func Dashboard(in DashboardInput) Command {
	env := make(map[string]string, len(in.Environ)+8)
	for _, kv := range in.Environ {
		if k, _, ok := strings.Cut(kv, "="); ok && k != "" {
			env[k] = kv
		}
	}
	for _, k := range notInherited() {
		delete(env, k)
	}
	for _, k := range []string{EnvProfile, EnvChild, EnvS6Child} { // of a gateway that started the supervisor
		delete(env, k)
	}
	own := map[string]string{EnvHome: in.Home, EnvNotify: in.Notify, EnvSlotID: in.SlotID}
	if in.NotifyFD != 0 {
		own[EnvNotifyFD] = strconv.Itoa(in.NotifyFD)
	}
	if in.UserHome != "" {
		own["HOME"] = in.UserHome
	}
	if in.UserName != "" {
		own["USER"], own["LOGNAME"] = in.UserName, in.UserName
	}
	overlay(env, own)
	return Command{
		Path: in.Self, Argv: []string{"hermes", "dashboard"}, Env: flatten(env), Dir: in.Home, BuiltIn: true,
	}
}
