package s6fleet

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/capability"
	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/s6"
	"hermes/internal/store"
	"hermes/internal/stray"
)

// Options is what a fleet is made of.
type Options struct {
	Home     *store.Home
	Scandir  s6.Scandir
	Settings config.Settings
	// Self is the hermes binary, Environ what gateways inherit, as far as this
	// process knows.
	Self    string
	Environ []string
	Manager string // for people: "s6 (container supervisor)"
	Version string
	Logger  *slog.Logger
}

// Fleet is a home under s6. Nothing of it is resident: it is what the files of
// the home and of s6 say when it is asked, and every command does its own work.
// A command about a slot has the slot's lock while it tells s6; another one
// about the same slot comes after it, whichever process it is in.
type Fleet struct {
	o       Options
	home    *store.Home
	scandir s6.Scandir
}

// New makes a fleet of what there is.
func New(o Options) *Fleet { return &Fleet{o: o, home: o.Home, scandir: o.Scandir} }

// Fleet is the state of everything.
func (f *Fleet) Fleet(ctx context.Context) (api.Fleet, error) {
	rows, err := f.rows()
	if err != nil {
		return api.Fleet{}, err
	}
	return api.Fleet{
		Manager: f.o.Manager, Engine: string(capability.S6), Home: f.home.Path(), Version: f.o.Version,
		Gateways: rows, Dashboard: f.dashboard(), Notices: f.notices(ctx, rows),
	}, nil
}

// rows are the gateways of all profiles.
func (f *Fleet) rows() ([]api.Gateway, error) {
	scan, err := f.home.Scan()
	if err != nil {
		return nil, err
	}
	rows := make([]api.Gateway, len(scan.Entries))
	inParallel(len(rows), func(i int) {
		p, err := f.home.Profile(scan.Entries[i].Name)
		if err != nil {
			rows[i] = unreadable(scan.Entries[i].Name, err)
			return
		}
		defer p.Close()
		rows[i] = f.look(p).row()
	})
	if slices.ContainsFunc(rows, func(g api.Gateway) bool { return g.Port == 0 }) {
		ports, _ := census.Ports(f.home, f.o.Settings) // a clash is told by the start it prevents
		for i := range rows {
			if rows[i].Port == 0 {
				rows[i].Port = ports[profile.Name(rows[i].Profile)]
			}
		}
	}
	return rows, nil
}

// unreadable is a row for a profile that cannot be looked at.
func unreadable(name profile.Name, err error) api.Gateway {
	return api.Gateway{
		Profile: string(name), Slot: name.Slot(), Reason: err.Error(),
		State: string(profile.StateStopped), Health: string(profile.HealthUnknown),
	}
}

// inParallel calls f for 0 to n-1: most of the time goes to the kernel.
func inParallel(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// open opens a profile; one that is not there is fault.GatewayNotRegistered.
func (f *Fleet) open(name profile.Name) (*store.Profile, error) { return f.home.Profile(name) }

// Gateway is the state of one.
func (f *Fleet) Gateway(_ context.Context, name profile.Name) (api.Gateway, error) {
	p, err := f.open(name)
	if err != nil {
		return api.Gateway{}, err
	}
	defer p.Close()
	g := f.look(p).row()
	if g.Port == 0 {
		ports, _ := census.Ports(f.home, f.o.Settings) // as in rows
		g.Port = ports[name]
	}
	return g, nil
}

// Live says whether s6 is at work: somebody is process 1, and it is s6-svscan
// where this fleet was found, so what is left to see is its directory.
func (f *Fleet) Live(context.Context) api.Health {
	if _, err := f.scandir.List(); err != nil {
		return api.Health{Conditions: []api.Condition{{
			Code: string(fault.CodeOf(err)), Message: "cannot look at s6's slots: " + err.Error(), Hint: "ls -ld " + f.scandir.Dir,
		}}}
	}
	return api.Health{OK: true}
}

// Ready says whether every gateway that is wanted is ready, alone, and why not.
func (f *Fleet) Ready(ctx context.Context) api.Health {
	h := f.Live(ctx)
	rows, err := f.rows()
	if err != nil {
		h.Conditions = append(h.Conditions, api.Condition{Code: string(fault.CodeOf(err)), Message: err.Error()})
	}
	for i := range rows {
		g := &rows[i]
		if !g.Down() {
			continue
		}
		message := g.Slot + " is " + g.State
		if g.Reason != "" {
			message += ": " + g.Reason
		}
		h.Conditions = append(h.Conditions, api.Condition{
			Profile: g.Profile, Code: "gateway_" + g.State, Message: message, Hint: "hermes why " + g.Profile,
		})
	}
	for _, n := range f.notices(ctx, rows) {
		if n.Code == noticeCopy {
			h.Conditions = append(h.Conditions, api.Condition{Code: n.Code, Message: n.Message, Hint: n.Hint})
		}
	}
	h.OK = len(h.Conditions) == 0
	return h
}

// Plan is what a boot would do now.
func (f *Fleet) Plan(context.Context) ([]string, error) {
	home, err := store.OpenReadOnly(f.home.Path())
	if err != nil {
		return nil, err
	}
	defer home.Close()
	return census.Plan(home, nil)
}

// lineage marks the processes of this home's gateways, as run does.
func (f *Fleet) lineage() string { return stray.LineageOf(f.home.Path()) }

// helper looks at processes that root may not look at in a container.
func (f *Fleet) helper() s6.Helper {
	h := s6.Helper{Path: f.o.Self}
	var st unix.Stat_t
	if unix.Stat(f.scandir.Dir, &st) == nil { // whose s6-svscan it is
		h.UID, h.GID = st.Uid, st.Gid
	}
	return h
}

// slotDir is the directory of a slot, whether there is one or not.
func (f *Fleet) slotDir(slot string) string { return filepath.Join(f.scandir.Dir, slot) }

// registered says whether there is a slot of that name.
func (f *Fleet) registered(slot string) bool {
	_, err := os.Stat(f.slotDir(slot))
	return err == nil
}

// lockPause is how long to wait for a lock before it is tried again.
const lockPause = 5 * time.Millisecond

// lock takes the lock of a slot, or with "" that of the scan directory, for
// whoever makes and removes slots. It is the directory itself, so it leaves
// nothing and needs no right to write. A slot that is not there any more when
// its turn has come is fault.GatewayNotRegistered. It may be released twice.
func (f *Fleet) lock(ctx context.Context, slot string) (release func(), err error) {
	dir := f.slotDir(slot)
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, f.notLocked(slot, err)
		}
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(fd, dir) {
			return sync.OnceFunc(func() { unix.Close(fd) }), nil
		}
		unix.Close(fd)
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, f.notLocked(slot, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sameFile says whether a path still leads to what was opened.
func sameFile(fd int, path string) bool {
	var opened, now unix.Stat_t
	return unix.Fstat(fd, &opened) == nil && unix.Stat(path, &now) == nil && opened.Ino == now.Ino && opened.Dev == now.Dev
}

func (f *Fleet) notLocked(slot string, err error) error {
	name, ok := profile.FromSlot(slot)
	switch {
	case errors.Is(err, fs.ErrNotExist) && ok:
		return fault.NotRegistered(string(name))
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.SupervisorDenied, err, "cannot look at slot '%s'", slot).WithHint("do it as uid 0")
	}
	return err
}
