// Package app is the composition root of the engine: it puts the parts
// together, starts them in order, and takes them apart in reverse.
//
// # Usage
//
// The keeper starts `hermes engine`, which calls [Run] with what it inherited.
// Run returns when the keeper said to shut down and everything is down, when
// ctx ends (the engine is being replaced: every gateway lives on), or with an
// [OrphanedError] when the keeper is gone.
//
// # Failure
//
// Nothing here needs to be orderly. An engine that is killed is started again
// by the keeper and finds every run, every unread byte and every exit there.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/engine"
	"hermes/internal/engine/native"
	"hermes/internal/event"
	"hermes/internal/lease"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/server"
	"hermes/internal/store"
	"hermes/internal/stray"
	"hermes/internal/supervisor"
	"hermes/internal/wire"
)

// Options is what an engine is started with.
type Options struct {
	Home     string
	Runtime  string
	Settings config.Settings
	Environ  []string
	Self     string // the hermes binary
	Manager  string // for people
	Version  string
	// Container says that the home is a container's: who owns its files is
	// then hermes's business.
	Container bool
	// Identity is who gateways run as.
	Identity config.Identity
	// Wanted are profiles whose intent becomes running, Create makes those
	// that do not exist.
	Wanted []profile.Name
	Create bool
	By     string
	// Main is the container's main program, nil for none; Commands is what it
	// means for gateways.
	Main     []string
	MainPath string
	Commands []reconcile.Command
	// OwnDashboard: the main program is the dashboard, and no second one runs.
	OwnDashboard bool
	// Conn, Listener and Lease are descriptors inherited from the keeper.
	Conn, Listener, Lease int
	Stdout                *os.File // gateways' output, prefixed
	Stderr                io.Writer
	// Address makes a hint lead to this home from where people type.
	Address func(hint string) string
}

// bootedFile in the runtime directory holds the stamp of the keeper whose boot
// was carried out: an engine that finds its own keeper's is a replacement.
const bootedFile = "booted"

// Graces of an orderly end. The keeper carries the stops out itself if the
// engine does not finish.
const (
	shutdownSlack = 2 * time.Second // beyond the longest grace
	leaveGrace    = 2 * time.Second // for what is being written
	keeperGrace   = time.Second     // for an answer of the keeper's
	serverGrace   = time.Second
	teeGrace      = time.Second
)

// Run is the engine. See the package's documentation for when it returns.
func Run(ctx context.Context, o Options) error {
	// Whoever reads stderr may have gone or stopped reading: that costs words.
	words := logfile.NewTee(o.Stderr, logfile.Plain)
	defer closeTee(words) //nolint:errcheck // there is nowhere left to say it
	o.Stderr = words
	a := &app{Options: o}
	a.log = slog.New(slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{ReplaceAttr: dropTime}))
	defer a.cleanUp()
	if err := a.assemble(); err != nil {
		return err
	}
	booted := make(chan struct{})
	a.unwatch = a.beWatched(booted)
	err := a.serve(ctx, sync.OnceFunc(func() { close(booted) }))
	if errors.Is(err, engine.ErrGone) {
		estate := a.runner.Bequeath()
		estate.Stopping = a.stopping
		return &OrphanedError{Estate: estate}
	}
	return err
}

// OrphanedError says that the keeper is gone and its gateways live on: whoever
// called Run is to take its place.
type OrphanedError struct {
	Estate *wire.Estate // without listener and lease; its descriptors are the caller's
}

func (e *OrphanedError) Error() string {
	return fmt.Sprintf("the keeper is gone and left %d runs", len(e.Estate.Runs))
}

// app is the engine while it runs.
type app struct {
	Options
	log     *slog.Logger
	runner  *native.Runner
	lease   *lease.Lease
	home    *store.Home
	tee     *logfile.Tee
	events  *event.Log
	fleet   *supervisor.Fleet
	server  *server.Server
	cleanup []cleanup

	unwatch  func() // ends what serves those who watch
	stopping bool   // everything is being stopped
}

// cleanup is a named step of the way back.
type cleanup struct {
	name string
	do   func() error
}

func (a *app) onExit(name string, do func() error) {
	a.cleanup = append(a.cleanup, cleanup{name, do})
}

// cleanUp takes everything apart, last made first; a step that fails skips
// none.
func (a *app) cleanUp() {
	for _, c := range slices.Backward(a.cleanup) {
		if err := c.do(); err != nil {
			a.log.Warn("not closed", "what", c.name, "error", err)
		}
	}
}

// assemble makes every part; none is at work yet.
func (a *app) assemble() error {
	var err error
	if a.runner, err = native.Dial(a.Conn); err != nil {
		return fmt.Errorf("cannot reach the keeper: %w", err)
	}
	a.onExit("keeper", func() error { a.runner.Close(); return nil })
	a.lease = lease.Adopt(a.Lease, a.Home)
	if a.home, err = store.Open(a.Home); err != nil {
		return err
	}
	a.onExit("home", a.home.Close)
	if os.Getuid() == 0 {
		a.home.SetOwner(int(a.Identity.UID), int(a.Identity.GID))
	}
	a.events = event.Open(a.eventOptions())
	a.onExit("events", func() error { a.events.Close(); return nil })
	format := logfile.Plain
	if a.Settings.LogFormat == config.LogJSON {
		format = logfile.JSON
	}
	a.tee = logfile.NewTee(a.Stdout, format)
	a.onExit("stdout", func() error { return closeTee(a.tee) })
	restarts, err := countEngine(a.Runtime, a.runner.Keeper().Stamp)
	if err != nil {
		a.log.Warn("engine restarts not counted", "error", err)
	}
	a.fleet = supervisor.New(a.fleetOptions(restarts))
	a.unwatch = func() {}
	a.onExit("watching", func() error { a.unwatch(); return nil }) // after the fleet: first up, last down
	a.onExit("fleet", func() error { a.leave(); return nil })
	socket := os.NewFile(uintptr(a.Listener), "control socket")
	listener, err := net.FileListener(socket) // of a duplicate
	_ = socket.Close()
	if err != nil {
		return fmt.Errorf("cannot listen on the control socket: %w", err)
	}
	a.server = server.New(server.Options{
		Listener: listener, Fleet: a.fleet, Inspector: a.fleet, Operator: a.fleet, Profiles: a.fleet, Planner: a.fleet,
		Events:  a.events,
		Allowed: a.allowed(), UID: a.Identity.UID, Container: a.lease.Record().Container,
		Drain: serverGrace, Logger: a.log,
	})
	return nil
}

func (a *app) eventOptions() event.Options {
	o := event.Options{Home: a.Home}
	if os.Getuid() == 0 {
		o.Owner = &event.Owner{UID: int(a.Identity.UID), GID: int(a.Identity.GID)}
	}
	return o
}

// closeTee writes what is pending, if that is possible soon.
func closeTee(t *logfile.Tee) error {
	ctx, cancel := context.WithTimeout(context.Background(), teeGrace)
	defer cancel()
	return t.Close(ctx)
}

func (a *app) fleetOptions(restarts int) supervisor.Options {
	o := supervisor.Options{
		Home: a.home, Runner: a.runner, Settings: a.Settings, Logger: a.log,
		Runtime: a.Runtime, Keeper: a.runner.Keeper().Stamp, KeeperPID: a.runner.Keeper().PID, EngineRestarts: restarts,
		Manager: a.Manager, Version: a.Version, Self: a.Self, Environ: a.Environ,
		Tee: a.tee, Events: a.events, Commands: a.Commands, Lineage: stray.LineageOf(a.Home),
		Dashboard: a.Settings.Dashboard && !a.OwnDashboard,
	}
	o.Credential, o.UserName, o.UserHome = a.credential()
	return o
}

// credential is what gateways are given, nil where they keep the engine's.
func (a *app) credential() (c *engine.Credential, name, home string) {
	uid, gid := a.Identity.UID, a.Identity.GID
	if u, err := user.LookupId(strconv.Itoa(int(uid))); err == nil {
		name, home = u.Username, u.HomeDir
	}
	if os.Getuid() != 0 || uid == 0 && gid == 0 {
		return nil, name, home
	}
	if a.Container || home == "" {
		home = a.Home
	}
	return &engine.Credential{UID: uid, GID: gid, Groups: []uint32{gid}}, name, home
}

// allowed are the uids that may use the control API: root, the engine's own,
// the home's owner and that of the gateways.
func (a *app) allowed() func(uid uint32) bool {
	uids := []uint32{uint32(os.Getuid()), a.Identity.UID}
	if owner, _, err := a.home.Owner(); err == nil {
		uids = append(uids, owner)
	}
	return server.AllowUIDs(uids...)
}

// serve boots, then does what it is told until it is told to end.
func (a *app) serve(ctx context.Context, booted func()) error {
	returning, err := a.boot(ctx)
	if err != nil {
		return err
	}
	booted()
	// A service manager may tell everybody to end, the keeper and its engine: to
	// leave is the wish of ctx, to stop the keeper's, and once a shutdown has
	// begun every part is needed for it.
	leave := ctx.Done()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	ended := make(chan error, 2) // of what an engine is nothing without
	parts.Go(func() { ended <- a.server.Run(ctx) })
	parts.Go(func() { a.report(ctx, "profile watch", a.fleet.Watch(ctx)) })
	parts.Go(func() { a.report(ctx, "lease", a.beat(ctx)) })
	defer parts.Wait()
	defer cancel()
	if err := a.startMain(ctx); err != nil {
		return a.giveUp(err)
	}
	parts.Go(func() {
		if !returning {
			a.announce(ctx)
		}
		settle(ctx)
	})
	asked := make(chan struct{})
	parts.Go(func() { ended <- a.fleet.Run(ctx, sync.OnceFunc(func() { close(asked) })) })
	select {
	case <-asked:
		return a.shutdown()
	case <-leave:
		a.log.Info("engine leaves, gateways stay")
		return nil
	case err := <-ended:
		return err
	}
}

func (a *app) report(ctx context.Context, part string, err error) {
	if err != nil && ctx.Err() == nil {
		a.log.Error("part of the engine ended", "part", part, "error", err)
	}
}

// boot brings the fleet to where it is to be, the first time under this keeper
// with all that belongs to a boot.
func (a *app) boot(ctx context.Context) (returning bool, err error) {
	marker := filepath.Join(a.Runtime, bootedFile)
	stamp := a.runner.Keeper().Stamp
	if known, err := os.ReadFile(marker); err == nil && string(known) == stamp {
		a.log.Info("engine is back")
		return true, a.fleet.Boot(ctx, supervisor.BootRequest{Returning: true})
	}
	if err := census.Prepare(a.home, census.Preparation{Wanted: a.Wanted, Create: a.Create, Owner: a.Identity, Container: a.Container, Log: a.log}); err != nil {
		return false, err
	}
	if err := a.fleet.Boot(ctx, supervisor.BootRequest{Wanted: a.Wanted, By: a.By}); err != nil {
		return false, err
	}
	if err := os.WriteFile(marker, []byte(stamp), 0o600); err != nil {
		return false, fmt.Errorf("cannot mark the boot as done: %w", err)
	}
	return false, nil
}

// startMain starts the container's main program, once in the keeper's life.
func (a *app) startMain(ctx context.Context) error {
	if len(a.Main) == 0 {
		return nil
	}
	spec := engine.Spec{
		Slot: "main", Generation: 1, Main: true,
		Path: a.MainPath, Argv: a.Main, Env: a.Environ,
		Plan: engine.Plan{Grace: a.Settings.StopTimeout},
	}
	spec.Credential, _, _ = a.credential()
	_, err := a.runner.Spawn(ctx, spec)
	return err
}

// beat keeps the lease of a home on a remote file system.
func (a *app) beat(ctx context.Context) error {
	if !a.lease.Remote() {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(lease.BeatEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if err := a.lease.Beat(now); err != nil {
				a.log.Error("lease not renewed", "error", err)
			}
		}
	}
}

// The exit codes of a shell that cannot run its command.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// giveUp ends everything if it was the main program that could not be run:
// another engine could not run it either.
func (a *app) giveUp(err error) error {
	spawn, ok := errors.AsType[*engine.SpawnError](err)
	if !ok {
		return err
	}
	fmt.Fprintf(a.Stderr, "✗ %v\n", spawn)
	code := exitNotExecutable
	if errors.Is(spawn, os.ErrNotExist) {
		code = exitNotFound
	}
	return a.stopAll(code)
}

// shutdown stops everything because the keeper says so.
func (a *app) shutdown() error {
	a.stopping = true
	ctx, cancel := context.WithTimeout(context.Background(), keeperGrace)
	defer cancel()
	if err := a.runner.AckShutdown(ctx); err != nil {
		return err
	}
	return a.stopAll(0)
}

// stopAll stops every gateway and tells the keeper that all is down.
func (a *app) stopAll(code int) error {
	a.stopping = true
	grace := a.fleet.LongestGrace() + shutdownSlack
	a.log.Info("shutting down", "grace", grace.String())
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	go func() { // nothing can be stopped without a keeper
		select {
		case <-a.runner.Gone():
			cancel()
		case <-ctx.Done():
		}
	}()
	a.fleet.Shutdown(ctx)
	select {
	case <-a.runner.Gone():
		return engine.ErrGone // what runs is left to who takes the keeper's place
	default:
	}
	a.leave()
	last, cancel := context.WithTimeout(context.Background(), keeperGrace)
	defer cancel()
	return a.runner.Exit(last, code)
}

// leave lets go of the fleet.
func (a *app) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveGrace)
	defer cancel()
	a.fleet.Leave(ctx)
}

// dropTime leaves the time to whatever reads our stderr.
func dropTime(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) == 0 && attr.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attr
}
