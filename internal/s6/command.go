package s6

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hermes/internal/fault"
)

// Action is what a slot is told.
type Action string

// The actions, by their names in errors.
const (
	// Start: up, now and after the next start of s6-supervise.
	Start Action = "start"
	// Stop: down, now and after the next start of s6-supervise.
	Stop Action = "stop"
	// Restart: down and up again. One write, so that the slot comes back also
	// if who says it ends at once. Down is by -d, so that timeout-kill counts.
	Restart Action = "restart"
	// again: up without a word about later; it cuts the wait after an end short.
	again Action = "start again"
)

// option is how s6-svc is told. The large letters keep the file down.
func (a Action) option() string {
	switch a {
	case Start:
		return "-U"
	case Stop:
		return "-D"
	case Restart:
		return "-dU"
	case again:
		return "-u"
	}
	panic("internal error: s6 knows no action " + string(a))
}

// Deadlines of commands whose context has none, and of what they wait for.
const (
	// startTime is how long exec may take.
	startTime = 10 * time.Second
	// stopTime is added to what the slot allows run and finish.
	stopTime = 5 * time.Second
	// reviveTime: s6-svscan starts an s6-supervise again after one second.
	reviveTime = 3 * time.Second
	// finishTime is what finish may take where the slot does not say.
	finishTime = 5 * time.Second
)

// Send tells a slot something and does not wait until it is done. A slot whose
// s6-supervise has just died is told as soon as the next one listens.
func (d Scandir) Send(ctx context.Context, slot string, action Action) error {
	if err := d.lookFor(slot); err != nil {
		return err
	}
	began, pace := time.Now(), newPace()
	defer pace.stop()
	var unheard *CommandError
	for {
		e := d.Tools.run(ctx, "s6-svc", action.option(), "--", d.path(slot))
		if e == nil {
			return nil
		}
		if err := d.lookFor(slot); err != nil {
			return err // unregistered meanwhile
		}
		e.Service, e.Action = slot, string(action)
		if ctx.Err() != nil && e.ReturnCode == rcUnfinished { // the caller's time is over, not the tool's
			if unheard == nil {
				return d.cutOff(ctx, e, action)
			}
			e = unheard
		}
		if e.outcome() != notListening || time.Since(began) > reviveTime || !pace.wait(ctx) {
			return d.failed(e, filepath.Join(d.path(slot), superviseDir, controlFile))
		}
		unheard = e
	}
}

// Start starts a slot and keeps it up. It returns when a run was started since,
// which may have ended again: see the state. One that runs and is not being
// stopped is left alone.
func (d Scandir) Start(ctx context.Context, slot string) (State, error) {
	before, err := d.State(slot)
	if err != nil {
		return State{}, err
	}
	if err := d.Send(ctx, slot, Start); err != nil {
		return before, err
	}
	ctx, cancel := deadline(ctx, d.stopAllowance(slot)+startTime)
	defer cancel()
	return d.await(ctx, slot, Start, d.started(before, false))
}

// Stop stops a slot and keeps it down. It returns when neither run nor finish
// lives. How long they have before they are killed is the slot's timeout-kill
// and timeout-finish.
func (d Scandir) Stop(ctx context.Context, slot string) (State, error) {
	if err := d.Send(ctx, slot, Stop); err != nil {
		return State{}, err
	}
	ctx, cancel := deadline(ctx, d.stopAllowance(slot))
	defer cancel()
	return d.await(ctx, slot, Stop, func(_ context.Context, s State) (bool, error) {
		return s.Supervised() && s.Down() && !s.WantUp, nil
	})
}

// Restart ends a slot's run, if there is one, and starts another. It returns as
// [Scandir.Start] does.
func (d Scandir) Restart(ctx context.Context, slot string) (State, error) {
	before, err := d.State(slot)
	if err != nil {
		return State{}, err
	}
	if err := d.Send(ctx, slot, Restart); err != nil {
		return before, err
	}
	ctx, cancel := deadline(ctx, d.stopAllowance(slot)+startTime)
	defer cancel()
	return d.await(ctx, slot, Restart, d.started(before, true))
}

// started is the condition that a run was started after before was read. Where
// s6-supervise waits its second between two runs it is told not to.
func (d Scandir) started(before State, fresh bool) condition {
	told := false
	last := before
	return func(ctx context.Context, s State) (bool, error) {
		steady := s == last
		last = s
		if s.Supervisor != before.Supervisor { // what another one wrote tells nothing of this one
			before, told = State{Supervisor: s.Supervisor}, false
			if s.KeptDown { // it has not read the command yet, which removes the file
				before = s
			}
		}
		changed := s.PID != before.PID || !s.Since.Equal(before.Since)
		switch {
		case !s.Supervised():
			return false, nil
		case s.Up():
			return changed || !fresh && !before.Stopping(), nil
		case !s.Down():
			return false, nil
		case !s.WantUp:
			// It was started and is down for good: finish said so, or another
			// command. Between the steps of ours it looks so for a moment.
			return changed && steady, nil
		case !told:
			told = true
			return false, d.Send(ctx, s.Slot, again)
		}
		return false, nil
	}
}

// condition is what a command waits for.
type condition func(context.Context, State) (bool, error)

// await waits until a slot's state is as wanted.
func (d Scandir) await(ctx context.Context, slot string, action Action, done condition) (State, error) {
	pace := newPace()
	defer pace.stop()
	for {
		s, err := d.State(slot)
		if err != nil {
			return s, err
		}
		if ok, err := done(ctx, s); ok || err != nil {
			return s, err
		}
		if !pace.wait(ctx) {
			return s, d.late(ctx, s, action)
		}
	}
}

// late is the error for a slot that is not yet as it was told to be.
func (d Scandir) late(ctx context.Context, s State, action Action) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	f := fault.New(fault.GatewayTimeout, "cannot %s '%s' in time: it is %s", action, s.Slot, s.words())
	f.Err = ErrS6
	switch {
	case !s.Supervised():
		return f.WithHint("s6-svscanctl -a %s", d.Dir)
	case s.Up() && action != Start:
		return f.WithHint("s6-svc -k %s", d.path(s.Slot))
	}
	return f.WithHint("s6-svstat %s", d.path(s.Slot))
}

// cutOff is the error for a tool that had not ended when its caller's time was
// over.
func (d Scandir) cutOff(ctx context.Context, e *CommandError, action Action) error {
	s, err := d.State(e.Service)
	if err != nil {
		return err
	}
	err = d.late(ctx, s, action)
	if f, ok := errors.AsType[*fault.Error](err); ok {
		f.Err = e // which leads to ErrS6
	}
	return err
}

// words is the state for a person.
func (s State) words() string {
	switch {
	case !s.Supervised():
		return "without its s6-supervise"
	case s.Finishing:
		return "finishing (pid " + strconv.Itoa(s.PID) + ")"
	case s.Up():
		return "up (pid " + strconv.Itoa(s.PID) + ")"
	case s.WantUp:
		return "down, to be started"
	}
	return "down"
}

// stopAllowance is how long a stop may take by what the slot says.
func (d Scandir) stopAllowance(slot string) time.Duration {
	finish, ok := d.millis(slot, "timeout-finish")
	if !ok {
		finish = finishTime
	}
	kill, _ := d.millis(slot, "timeout-kill")
	return kill + finish + stopTime
}

// millis reads a number of milliseconds from a file of a slot.
func (d Scandir) millis(slot, file string) (time.Duration, bool) {
	b, err := readFile(filepath.Join(d.path(slot), file))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false
	}
	line, _, _ := strings.Cut(string(b), "\n")
	n, err := strconv.ParseUint(line, 10, 32)
	return time.Duration(n) * time.Millisecond, err == nil
}

// deadline gives a context that has none a deadline.
func deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// pace is the time between two looks: short at first, longer later.
type pace struct {
	timer *time.Timer
	next  time.Duration
}

const (
	firstLook = 500 * time.Microsecond
	lastLook  = 20 * time.Millisecond
)

func newPace() *pace {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &pace{t, firstLook}
}

// wait returns false if ctx ended.
func (p *pace) wait(ctx context.Context) bool {
	p.timer.Reset(p.next)
	p.next = min(2*p.next, lastLook)
	select {
	case <-ctx.Done():
		return false
	case <-p.timer.C:
		return true
	}
}

func (p *pace) stop() { p.timer.Stop() }
