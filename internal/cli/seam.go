package cli

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/client"
	"hermes/internal/dashboard"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/s6"
	"hermes/internal/s6fleet"
	"hermes/internal/s6init"
	"hermes/internal/server"
	"hermes/internal/store"
)

// seam is where commands reach a fleet. Under the engine native that is another
// process. Under s6 there is none: the control API is then served here, by the
// process of the command, over the files of the home and of s6.
type seam struct {
	root string // of /proc and /run, "" but for tests

	mu     sync.Mutex // guards what follows
	fleets map[string]*ownFleet
}

// ownFleet is a fleet under s6 whose control API this process serves.
type ownFleet struct {
	pipe *server.Pipe
	end  func()
}

// find is a client of whoever supervises a home: what every command asks, with
// the errors of [client.Find].
func (e *env) find(home string) (*client.Client, error) {
	rec, status, err := lease.Read(home)
	if err != nil || status != lease.Held || rec.Manager != s6init.Manager || !sameContainer(rec) {
		return client.Find(home)
	}
	dir, err := e.awaitS6()
	if err != nil {
		// Held, so nothing else may take it for a home without a supervisor.
		return nil, fault.Wrap(fault.NoAnswer, err, "%s holds %s and cannot be asked", s6init.Manager, home).
			WithHint("ls -ld %s %s", s6.BaseDir, s6.ScanDir)
	}
	own, err := e.ownFleet(home, dir, rec.Container)
	if err != nil {
		return nil, err
	}
	return client.Over(own.pipe.Dial), nil
}

// arriving is how long process 1, which holds the home, may take to become
// s6-svscan: a boot is in between.
const (
	arriving     = 5 * time.Second
	arrivingLook = 10 * time.Millisecond
)

// awaitS6 finds the s6 that is process 1, or is about to be.
func (e *env) awaitS6() (s6.Scandir, error) {
	late := time.NewTimer(arriving)
	defer late.Stop()
	look := time.NewTicker(arrivingLook)
	defer look.Stop()
	for {
		dir, err := s6.Detect(e.seam.root)
		if err == nil {
			return dir, nil
		}
		select {
		case <-look.C:
		case <-late.C:
			return dir, err
		}
	}
}

// connector is a dashboard's Connect: whoever supervises the home is looked for
// anew for every request.
func (e *env) connector(home string) func(by string) (dashboard.Control, error) {
	return func(by string) (dashboard.Control, error) {
		c, err := e.find(home)
		if err != nil {
			return nil, err
		}
		c.By = by
		return c, nil
	}
}

// ownFleet serves the control API of a home under s6, once, until leave.
func (e *env) ownFleet(path string, dir s6.Scandir, container string) (*ownFleet, error) {
	e.seam.mu.Lock()
	defer e.seam.mu.Unlock()
	if own := e.seam.fleets[path]; own != nil {
		return own, nil
	}
	home, err := store.Open(path)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		home.Close()
		return nil, err
	}
	var as unix.Stat_t // who gateways run as
	if err := unix.Stat(dir.Dir, &as); err != nil {
		home.Close()
		return nil, err
	}
	if os.Geteuid() == 0 {
		home.SetOwner(int(as.Uid), int(as.Gid))
	}
	owner, _, err := home.Owner()
	if err != nil {
		home.Close()
		return nil, err
	}
	fleet := s6fleet.New(s6fleet.Options{
		Home: home, Scandir: dir, Settings: e.settings, Self: self, Environ: e.environ,
		Manager: s6init.Manager, Version: e.build.Version,
	})
	pipe := server.NewPipe()
	srv := server.New(server.Options{
		Listener: pipe, Fleet: fleet, Inspector: fleet, Operator: fleet, Profiles: fleet, Planner: fleet,
		// Whose the files are is what decides; who may not is told before one is met.
		Allowed: server.AllowUIDs(as.Uid, owner), UID: as.Uid, Container: container, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Run(ctx) })
	own := &ownFleet{pipe: pipe, end: func() {
		cancel()
		running.Wait()
		home.Close()
	}}
	if e.seam.fleets == nil {
		e.seam.fleets = map[string]*ownFleet{}
	}
	e.seam.fleets[path] = own
	return own, nil
}

// leave ends what is served here. What was begun is done first, for a moment.
func (s *seam) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, own := range s.fleets {
		own.end()
		delete(s.fleets, path)
	}
}
