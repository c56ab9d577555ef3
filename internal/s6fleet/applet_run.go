package s6fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/launch"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/store"
	"hermes/internal/stray"
)

// run becomes the gateway, or the dashboard. A start that is refused is on
// record before this returns: with the code by which finish knows whether it is
// tried again.
func (a Applet) run() (code int, err error) {
	d, err := readSlot(a.Dir)
	if err != nil {
		return fault.ExitConfig, fmt.Errorf("cannot run %s: %w", a.Dir, err)
	}
	if err := errors.Join(standardInput(), unix.Dup3(1, 2, 0)); err != nil {
		return fault.ExitFailed, fmt.Errorf("cannot run %s: %w", d.slot, err)
	}
	home, err := store.Open(d.home)
	if err != nil {
		return refusal(err), err
	}
	defer home.Close()
	var p *store.Profile
	if d.profile != "" {
		if p, err = home.Profile(d.profile); err != nil {
			return refusal(err), err
		}
		defer p.Close()
	}
	restarted := os.Remove(filepath.Join(a.Dir, dataDir, restartingFile)) == nil
	last := a.begin(d, p, restarted)
	cmd, ready, err := a.recipe(d, home, p, &last)
	if err == nil {
		last.State, last.Reason, last.Hint = profile.StateStarting, "", ""
		if ready {
			last.State = profile.StateRunning
		}
		if err := d.record(p, a.Dir, last); err != nil {
			fmt.Fprintf(a.Stderr, "! its start is not on record: %v\n", err) // a full disk keeps no gateway down
		}
		err = a.become(cmd, ready)
	}
	a.refused(d, p, last, err)
	return refusal(err), err
}

// refusal is the exit code for a start that was refused: 78 for what does not
// mend itself.
func refusal(err error) int {
	switch fault.CodeOf(err) {
	case fault.InvalidConfig, fault.Unreadable, fault.GatewayNotRegistered:
		return fault.ExitConfig
	default:
		return fault.ExitFailed
	}
}

// begin is the observation of the run that begins.
func (a Applet) begin(d slotData, p *store.Profile, restarted bool) profile.Supervision {
	last := d.observation(p, a.Dir)
	generation := last.IntentGeneration
	if p != nil {
		intent, _, _ := p.Intent()
		generation = intent.Generation
	}
	if last.IntentGeneration != generation || restarted {
		last.IntentGeneration, last.Restarts, last.Failures = generation, 0, 0
	} else if last.Run != 0 {
		last.Restarts++
	}
	last.Run = max(last.Run+1, uint64(a.Now().UnixNano()))
	last.Ended, last.Restarting, last.Health = false, false, ""
	last.ReadyAt, last.NextRetryAt = time.Time{}, time.Time{}
	return last
}

// recipe is what the slot executes. ready: it does not say itself when it is.
func (a Applet) recipe(d slotData, home *store.Home, p *store.Profile, last *profile.Supervision) (cmd launch.Command, ready bool, err error) {
	mark := stray.Mark{Slot: d.slot, Generation: last.Run, Lineage: stray.LineageOf(d.home)}.String()
	name, dir := owner(d.home)
	fd := a.notificationFD()
	if p == nil {
		return launch.Dashboard(launch.DashboardInput{
			Home: d.home, Self: a.Self, Environ: a.Environ, UserName: name, UserHome: dir, NotifyFD: fd, SlotID: mark,
		}), fd == 0, nil
	}
	if at := a.Settings; config.BeyondLoopback(at.APIServerHost) && at.APIServerKey == "" {
		// One that serves other machines needs a key; one in .env would win over
		// the container's.
		if _, err := p.EnsureAPIKey(); err != nil {
			fmt.Fprintf(a.Stderr, "! no API key written: %v\n", err)
		}
	}
	how, err := recipe.Of(context.Background(), p, recipe.Input{
		Settings: a.Settings, Environ: a.Environ, Self: a.Self, UserName: name, UserHome: dir,
		NotifyFD: fd, SlotID: mark,
		Config: (*store.Profile).Config,
		Port: func(n profile.Name, g config.Gateway, dotenv map[string]string) (int, error) {
			explicit, err := config.ExplicitPort(n, a.Settings, g, dotenv)
			if err != nil || explicit != 0 {
				return explicit, err
			}
			switch {
			case n == profile.Default:
				return port.Default, nil
			case last.Port != 0:
				return last.Port, nil
			}
			all, _ := census.Ports(home, a.Settings) // a clash is no reason to be down
			return all[n], nil
		},
	})
	if err != nil {
		return launch.Command{}, false, err
	}
	last.Port = how.Port
	if err := refreshTimeoutKill(a.Dir, how.StopTimeout); err != nil {
		fmt.Fprintf(a.Stderr, "! its grace is the one of its last boot: %v\n", err)
	}
	return how.Command, !how.BuiltIn || fd == 0, nil
}

// notificationFD is where s6-supervise listens for a newline, 0 if it does not.
func (a Applet) notificationFD() int {
	var st unix.Stat_t
	if unix.Fstat(NotificationFD, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 0
	}
	if _, err := os.Stat(filepath.Join(a.Dir, "notification-fd")); err != nil {
		return 0
	}
	return NotificationFD
}

// become executes the command in this process's place, with no descriptor but
// the standard ones and, where the command speaks itself, the one for readiness.
func (a Applet) become(cmd launch.Command, ready bool) error {
	keep := uint(NotificationFD)
	switch {
	case !ready:
		keep++
	case a.notificationFD() != 0:
		if _, err := unix.Write(NotificationFD, []byte("\n")); err != nil {
			return fmt.Errorf("cannot say that it is ready: %w", err)
		}
	}
	err := unix.CloseRange(keep, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		err = nil
	}
	err = errors.Join(err, os.Chdir(cmd.Dir))
	if err == nil {
		err = unix.Exec(cmd.Path, cmd.Argv, cmd.Env)
	}
	return fault.Wrap(fault.GatewayFailed, err, "cannot execute %s", cmd.Path)
}

// refused files a start that did not become a run.
func (a Applet) refused(d slotData, p *store.Profile, last profile.Supervision, err error) {
	last.State, last.Reason, last.Hint = profile.StateBackoff, err.Error(), ""
	if f, ok := errors.AsType[*fault.Error](err); ok {
		last.Hint = f.Hint
		last.Reason = cmp.Or(f.Msg, last.Reason)
	}
	if refusal(err) == fault.ExitConfig {
		last.State = profile.StateParked
	} else {
		last.Failures++
	}
	now := a.Now()
	last.AddExit(profile.Exit{Run: last.Run, Code: -1, Started: now, At: now, Reason: last.Reason})
	if err := d.record(p, a.Dir, last); err != nil {
		fmt.Fprintf(a.Stderr, "! its failure is not on record: %v\n", err)
	}
}
