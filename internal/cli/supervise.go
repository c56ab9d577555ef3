package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/keeper"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/runtimedir"
	"hermes/internal/store"
)

// superviseRequest is what `up` and `init` ask a supervisor for.
type superviseRequest struct {
	home     string
	engine   engineFlags
	takeOver bool
	// zeroOnStop: the main program is our heartbeat, and being told to stop is
	// no failure of it.
	zeroOnStop bool
}

// supervise makes this process the keeper of a home and returns its exit
// status once everything is down.
func (e *env) supervise(s superviseRequest) (int, error) {
	home, err := store.Create(s.home)
	if err != nil {
		return 0, err
	}
	err = e.checkRequest(home, s)
	s.home = home.Path()
	home.Close()
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	rec := lease.Self(e.now())
	rec.Manager = s.engine.manager
	earlier, _, _ := lease.Read(s.home) // none, or torn: nothing is known of it
	held, err := lease.Take(s.home, rec, lease.TakeOptions{TakeOver: s.takeOver})
	if err != nil {
		return 0, leaseFault(s.home, err)
	}
	runtime, listener, err := e.prepareRuntime(s.home, earlier, held)
	if err != nil {
		return 0, errors.Join(err, held.Release())
	}
	s.engine.home, s.engine.runtime = s.home, runtime
	id := e.fleetIdentity(s.home, s.engine.container)
	e.printBoot(s, id)
	code := keeper.Run(keeper.Options{
		Runtime:        runtime,
		EngineArgv:     append([]string{self}, s.engine.args()...),
		EngineEnv:      e.environ,
		Listener:       listener,
		Lease:          held.FD(),
		MainZeroOnStop: s.zeroOnStop,
		Stderr:         e.err,
	})
	if err := held.Release(); err != nil {
		fmt.Fprintf(e.err, "hermes: the lease was not released in order: %v\n", err)
	}
	return code, nil
}

// checkRequest refuses what an engine could only fail at again and again.
func (e *env) checkRequest(home *store.Home, s superviseRequest) error {
	if e.settings.Engine != config.EngineNative {
		return fault.New(fault.Usage, "cannot supervise with HERMES_ENGINE=%s: this hermes has the engine native only", e.settings.Engine).
			WithHint("unset HERMES_ENGINE")
	}
	if err := home.CheckWritable(); err != nil {
		return err
	}
	for _, n := range s.engine.wanted {
		p, err := home.Profile(n)
		switch {
		case err == nil:
			p.Close()
		case fault.CodeOf(err) != fault.GatewayNotRegistered:
			return err
		case n != profile.Default && !s.engine.create:
			return fault.NotRegistered(string(n)).WithHint("%s up --create %s", e.base(), n)
		}
	}
	return nil
}

// prepareRuntime finds the runtime directory, ends what an earlier supervisor
// of the home left running, binds the control socket and publishes its path.
func (e *env) prepareRuntime(home string, earlier lease.Record, held *lease.Lease) (dir string, listener int, err error) {
	candidates := runtimedir.Candidates(e.settings.RuntimeDir, e.settings.XDGRuntimeDir, os.Getuid())
	dir, err = runtimedir.Choose(home, candidates...)
	if err != nil {
		return "", -1, fault.Wrap(fault.RuntimeUnusable, err, "cannot supervise %s", home).
			WithHint("set HERMES_RUNTIME_DIR to a directory this user can write, on a local file system")
	}
	if _, err := runtimedir.Lock(dir); err != nil { // held until this process ends
		return "", -1, fault.Wrap(fault.HomeHeld, err, "cannot supervise %s", home).
			WithHint("end that supervisor first, or set HERMES_RUNTIME_DIR to another directory")
	}
	if err := e.sweep(home, earlier, dir); err != nil {
		return "", -1, err
	}
	listener, socket, err := runtimedir.Listen(dir)
	if err != nil {
		return "", -1, fault.Wrap(fault.RuntimeUnusable, err, "cannot supervise %s", home)
	}
	rec := held.Record()
	rec.Socket = socket
	if err := held.Update(rec); err != nil {
		return "", -1, fault.Wrap(fault.HomeUnusable, err, "cannot supervise %s", home)
	}
	return dir, listener, nil
}

// leaseFault renders a home that cannot be had.
func leaseFault(home string, err error) error {
	if h, ok := errors.AsType[*lease.HeldError](err); ok {
		f := fault.Wrap(fault.HomeHeld, err, "this home has a supervisor")
		if !h.Expires.IsZero() {
			return f.WithHint("wait until %s, or if that machine is gone for good add --take-over", h.Expires.Format(time.RFC3339))
		}
		return f.WithHint("%s", endHint(h.Record))
	}
	if errors.Is(err, fs.ErrPermission) {
		return fault.Wrap(fault.HomeUnusable, err, "cannot own the home").
			WithHint("as root: chown %d:%d %s", os.Geteuid(), os.Getegid(), filepath.Join(home, lease.File))
	}
	return fault.Wrap(fault.HomeUnusable, err, "cannot own the home")
}

// sweep ends what an earlier supervisor of the home left running, here and
// where it had its own runtime directory.
func (e *env) sweep(home string, earlier lease.Record, dir string) error {
	dirs := []string{dir}
	if self := lease.Self(e.now()); earlier.BootID != self.BootID || earlier.PIDNamespace != self.PIDNamespace {
		earlier.Socket = "" // what ran there ended with its machine or container
	}
	old, ok, err := runtimedir.Earlier(home, earlier.Socket)
	if err != nil {
		return fault.Wrap(fault.GatewayHeld, err, "cannot tell what an earlier supervisor of %s left running", home).
			WithHint("as uid %d: hermes --home %s up, and end it with Ctrl-C", earlier.UID, home)
	}
	if ok && old != dir {
		dirs = append(dirs, old)
	}
	for _, d := range dirs {
		swept, err := keeper.Sweep(d)
		for _, k := range swept {
			fmt.Fprintf(e.err, "hermes: ended what an earlier supervisor left running: %s (pid %v)\n", k.Slot, k.PIDs)
		}
		if err != nil {
			return fault.Wrap(fault.GatewayHeld, err, "cannot supervise %s", home).
				WithHint("end the process named, then try again")
		}
	}
	return nil
}

// endHint says how the holder of a home is ended. Its pid means nothing in
// another container or on another host.
func endHint(holder lease.Record) string {
	self := lease.Self(holder.Since)
	switch {
	case holder.BootID == self.BootID && holder.PIDNamespace == self.PIDNamespace:
		return fmt.Sprintf("use that one, or end it with: kill %d", holder.PID)
	case holder.Container != "":
		return "use that one, or end it with: docker stop " + holder.Container
	}
	return fmt.Sprintf("use that one, or end pid %d on host %s", holder.PID, holder.Host)
}

// fleetIdentity decides who gateways run as.
func (e *env) fleetIdentity(home string, container bool) config.Identity {
	at := config.Situation{
		CallerUID: uint32(os.Geteuid()), CallerGID: uint32(os.Getegid()),
		Container: container, Init: container,
	}
	var st unix.Stat_t
	if err := unix.Stat(home, &st); err == nil {
		at.HomeUID, at.HomeGID = st.Uid, st.Gid
	}
	return e.settings.Identity(at)
}

func (e *env) printBoot(s superviseRequest, id config.Identity) {
	fmt.Fprintf(e.err, "hermes %s: home %s, gateways run as uid %d gid %d (%s), engine native\n",
		e.build.Version, s.home, id.UID, id.GID, id.Source)
	if id.Warning != "" {
		fmt.Fprintf(e.err, "warning: %s\n", id.Warning)
	}
	if s.engine.container {
		warnForeignInit(e.err, "/etc/cont-init.d")
	}
}

// warnForeignInit names scripts of another init that do not run here.
func warnForeignInit(w io.Writer, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	fmt.Fprintf(w, "warning: scripts of another init in %s are not run: %s\nhint: run them from the container's command, or in an init container\n",
		dir, strings.Join(names, ", "))
}

// exitWith is the error of a command whose exit status another process chose.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return &exitError{code}
}
