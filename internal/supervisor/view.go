package supervisor

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/lifecycle"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/recipe"
)

// view is what a slot shows of itself; it is never changed once published.
type view struct {
	gateway api.Gateway
	exits   []profile.Exit // oldest first; only ever appended to
	ready   config.Ready

	host        string // it was told to serve on
	stopTimeout time.Duration
}

// publish shows the state as it is now, in the loop.
func (s *slot) publish() {
	g := api.Gateway{
		Profile: string(s.name), Slot: s.service.slotName(),
		Intent: string(s.intent.Intent), IntentBy: s.intent.ChangedBy,
		State: string(s.state.Visible()), Health: string(s.health()),
		Restarts: s.last.Restarts, Port: s.last.Port, Reason: s.reason, Hint: s.hint(),
		Failures: s.last.Failures,
	}
	if !s.intent.ChangedAt.IsZero() {
		g.IntentAt = new(s.intent.ChangedAt)
	}
	g.Since = new(s.since.UTC())
	if s.run != nil {
		g.PID, g.Status = s.run.PID, s.run.status
		g.StartedAt = new(s.run.Started.UTC())
		if !s.run.readyAt.IsZero() {
			g.ReadyAt = new(s.run.readyAt.UTC())
		}
	}
	if s.state == lifecycle.Backoff {
		g.NextRetryAt = new(s.last.NextRetryAt.UTC())
	}
	if e, ok := s.last.LastExit(); ok {
		g.LastExit = new(wireExit(e))
	}
	s.shown.Store(&view{gateway: g, exits: s.last.Exits, ready: s.setup.ready, host: s.setup.host, stopTimeout: s.setup.stopTimeout})
	s.tell() // afterwards: who knows an event finds no older view
}

// health is what is known of the run's condition.
func (s *slot) health() profile.Health {
	switch s.state {
	case lifecycle.Running:
		return s.run.health
	case lifecycle.Queued, lifecycle.Spawning, lifecycle.Starting:
		return profile.HealthUnready
	case lifecycle.Stopping, lifecycle.Aborting:
		return profile.HealthDraining
	default:
		return profile.HealthUnknown
	}
}

func wireExit(e profile.Exit) api.Exit {
	w := api.Exit{Signal: e.Signal, At: e.At.UTC(), Started: e.Started.UTC(), Reason: e.Reason, Asked: e.Asked}
	if e.Code >= 0 {
		w.Code = new(e.Code)
	}
	for _, x := range e.Strays {
		w.Strays = append(w.Strays, api.Stray(x))
	}
	w.MoreStrays = e.MoreStrays
	return w
}

// gateway is the published view completed by what is read when asked.
func (s *slot) gateway() api.Gateway {
	v := s.shown.Load()
	g := v.gateway
	s.journal.showLoss(&g)
	if g.PID == 0 {
		return g
	}
	g.MemoryBytes = residentBytes(g.PID)
	if g.State == string(profile.StateRunning) && v.ready.Kind != config.ReadyNotify && g.Health == string(profile.HealthUnknown) {
		g.Health = string(s.reportedHealth(g.PID))
	}
	return g
}

// residentBytes is a process's resident memory from statm, which unlike
// smaps_rollup is readable whatever its uid; 0 if it is gone. It is asked for
// each row of a status, so it goes without what package os does beyond.
func residentBytes(pid int) int64 {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	var buf [128]byte
	n, err := unix.Read(fd, buf[:])
	unix.Close(fd)
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(buf[:n], []byte(" ")) // all of the address space
	resident, _, _ := bytes.Cut(rest, []byte(" "))
	pages, err := strconv.ParseInt(string(resident), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Fleet is the state of everything.
func (f *Fleet) Fleet(context.Context) (api.Fleet, error) {
	f.rescanIfBlind()
	last := f.events.Last()
	slots := f.slots()
	f.noteLoss(f.everySlot())
	f.noteEvents()
	f.noteOrphans()
	out := api.Fleet{
		Manager: f.options.Manager, Engine: "native", Home: f.home.Path(),
		Gateways: make([]api.Gateway, len(slots)), Notices: f.notices.list(),
		Dashboard: f.Dashboard(),
		KeeperPID: f.options.KeeperPID, EnginePID: os.Getpid(), Version: f.options.Version,
		EngineRestarts: f.options.EngineRestarts, LastEvent: last,
	}
	inParallel(len(slots), func(i int) { out.Gateways[i] = slots[i].gateway() })
	return out, nil
}

// Gateway is the state of one.
func (f *Fleet) Gateway(ctx context.Context, name profile.Name) (api.Gateway, error) {
	s, err := f.lookup(ctx, name)
	if err != nil {
		return api.Gateway{}, err
	}
	return s.gateway(), nil
}

const (
	whyExits = 5
	whyLines = 10
)

// Why explains one gateway: its past, its words and what comes next.
func (f *Fleet) Why(ctx context.Context, name profile.Name) (api.Why, error) {
	s, err := f.lookup(ctx, name)
	if err != nil {
		return api.Why{}, err
	}
	w := api.Why{Gateway: s.gateway(), Exits: []api.Exit{}, Log: []string{}}
	exits := s.shown.Load().exits
	for _, e := range slices.Backward(exits) {
		if len(w.Exits) < whyExits {
			w.Exits = append(w.Exits, wireExit(e))
		}
	}
	if lines, err := logfile.Tail(f.logDir(name), whyLines); err == nil {
		for _, l := range lines {
			w.Log = append(w.Log, clean(l))
		}
	}
	w.Next, w.Hint = recipe.Next(w.Gateway, time.Now())
	return w, nil
}

// Live says whether the supervisor works. That it answers is the answer.
func (f *Fleet) Live(context.Context) api.Health { return api.Health{OK: true} }

// Ready says whether every gateway that is wanted is ready, and why not.
func (f *Fleet) Ready(context.Context) api.Health {
	h := api.Health{OK: true}
	for _, s := range f.slots() {
		g := &s.shown.Load().gateway
		if g.Intent != string(profile.Running) || g.State == string(profile.StateRunning) {
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
	h.OK = len(h.Conditions) == 0
	return h
}
