package s6fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// Start sets the intent running, starts the gateway and waits until it is
// ready or has failed.
func (f *Fleet) Start(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, f.start)
}

// Stop sets the intent stopped and waits until the gateway is down.
func (f *Fleet) Stop(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	result, err := f.operate(ctx, name, r, f.stop)
	if _, commanded := os.Stat(filepath.Join(f.slotDir(name.Slot()), dataDir, commandedFile)); err == nil && commanded == nil {
		result.Hints = append(result.Hints,
			`this container's command is "gateway run": it starts again at the next boot`)
	}
	return result, err
}

// Restart stops the gateway if it runs and waits until a new run is ready.
func (f *Fleet) Restart(ctx context.Context, name profile.Name, r profile.Request) (api.ActionResult, error) {
	return f.operate(ctx, name, r, f.restart)
}

// verb is what an operator does to one slot.
type verb func(ctx context.Context, p *store.Profile, r profile.Request) error

// operate does a verb to a profile's slot, which is made first where there is
// none: advice to register it is never given to who has the profile.
func (f *Fleet) operate(ctx context.Context, name profile.Name, r profile.Request, do verb) (api.ActionResult, error) {
	p, err := f.open(name)
	if err != nil {
		return api.ActionResult{}, err
	}
	defer p.Close()
	bounded := ctx
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	if !f.registered(name.Slot()) {
		err = f.meet(bounded, p)
	}
	if err == nil {
		err = do(bounded, p, r)
	}
	v := f.look(p)
	switch {
	case ctx.Err() != nil && err != nil:
		err = ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) && fault.CodeOf(err) == fault.Internal:
		err = v.late(r.Timeout)
	}
	return api.ActionResult{Gateway: v.row()}, err
}

// late is the error of a wait that was not long enough.
func (v view) late(after time.Duration) error {
	return fault.New(fault.GatewayTimeout, "%s is still %s after %s", v.slot, v.shown(), after).WithHint("%s", v.advice())
}

// want writes what an operator wants, durably, before it is acted upon. The
// caller has the slot's lock.
func (f *Fleet) want(p *store.Profile, want profile.Intent, by string, anew bool) error {
	intent, state, err := p.Intent()
	if state == store.Unreadable {
		return fault.Wrap(fault.Unreadable, err, "cannot change what is wanted of %s", p.Name().Slot()).
			WithHint("ls -l %s", p.Path())
	}
	if intent.Intent == want && !anew {
		return nil
	}
	return p.WriteIntent(profile.IntentRecord{
		Version: profile.IntentVersion, Intent: want,
		Generation: intent.Generation + 1, ChangedAt: time.Now().UTC(), ChangedBy: by,
	})
}

func (f *Fleet) start(ctx context.Context, p *store.Profile, r profile.Request) error {
	return f.up(ctx, p, r, s6.Start, f.scandir.Start)
}

func (f *Fleet) restart(ctx context.Context, p *store.Profile, r profile.Request) error {
	return f.up(ctx, p, r, s6.Restart, f.scandir.Restart)
}

// up has a slot come up by an action of s6, and waits until it is ready or has
// failed.
func (f *Fleet) up(ctx context.Context, p *store.Profile, r profile.Request, action s6.Action, do func(context.Context, string) (s6.State, error)) error {
	slot := p.Name().Slot()
	release, err := f.lock(ctx, slot)
	if err != nil {
		return err
	}
	defer release()
	goesOn := f.look(p).goesOn()
	if err := f.want(p, profile.Running, r.By, !goesOn); err != nil {
		return err
	}
	if action == s6.Restart && goesOn {
		if err := f.markRestart(slot); err != nil {
			return err
		}
	}
	if err := f.refreshGrace(p); err != nil {
		return err
	}
	if r.NoWait {
		return f.scandir.Send(ctx, slot, action)
	}
	began, err := do(ctx, slot)
	release() // it was told, and did it: how it goes on is the slot's own
	if err != nil {
		return err
	}
	return f.awaitReady(ctx, p, began, r.Timeout)
}

// goesOn says whether there is a run, or one is coming that nothing failed.
func (v view) goesOn() bool {
	s := v.shown()
	return s == profile.StateRunning || s == profile.StateStarting
}

// markRestart says that the end that comes was asked for.
func (f *Fleet) markRestart(slot string) error {
	err := os.WriteFile(filepath.Join(f.slotDir(slot), dataDir, restartingFile), nil, 0o644)
	if err != nil {
		return denied(err, "restart", slot)
	}
	return nil
}

// refreshGrace has the stop that comes use the grace that the configuration
// says now.
func (f *Fleet) refreshGrace(p *store.Profile) error {
	slot := p.Name().Slot()
	if err := refreshTimeoutKill(f.slotDir(slot), stopTimeout(p, f.o.Settings)); err != nil {
		return denied(err, "change", slot)
	}
	return nil
}

// denied is the error about a slot's file that this process may not write.
func denied(err error, do, slot string) error {
	if errors.Is(err, os.ErrPermission) {
		return fault.Wrap(fault.SupervisorDenied, err, "cannot %s '%s'", do, slot).WithHint("do it as uid 0")
	}
	return fmt.Errorf("cannot %s '%s': %w", do, slot, err)
}

// lookEvery is how often a slot that is waited for is looked at.
const lookEvery = 5 * time.Millisecond

// awaitReady waits until the run that was started is ready, or a later one, or
// none is coming. Without a timeout of the command's the gateway's own counts:
// nobody else is there to say that it takes too long.
func (f *Fleet) awaitReady(ctx context.Context, p *store.Profile, began s6.State, timeout time.Duration) error {
	patience := timeout
	if timeout == 0 {
		patience = f.startTimeout(p)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		v := f.look(p)
		if v.absent {
			return fault.NotRegistered(string(v.name))
		}
		switch v.shown() {
		case profile.StateRunning:
			if !v.state.Since.Before(began.Since) {
				return nil
			}
		case profile.StateStopped, profile.StateParked, profile.StateBackoff:
			return v.notUp()
		case profile.StateStarting, profile.StateStopping: // on its way
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return v.late(patience)
			}
			return ctx.Err()
		}
	}
}

// startTimeout is how long the profile's gateway may take to be ready.
func (f *Fleet) startTimeout(p *store.Profile) time.Duration {
	file, err := p.Config()
	if err != nil {
		file.Gateway = config.DefaultGateway()
	}
	return recipe.SetupOf(file.Gateway, false, f.o.Settings).StartTimeout
}

func (f *Fleet) stop(ctx context.Context, p *store.Profile, r profile.Request) error {
	slot := p.Name().Slot()
	release, err := f.lock(ctx, slot)
	if err != nil {
		return err
	}
	defer release()
	if err := f.want(p, profile.Stopped, r.By, false); err != nil {
		return err
	}
	if err := f.refreshGrace(p); err != nil {
		return err
	}
	if r.NoWait {
		return f.scandir.Send(ctx, slot, s6.Stop)
	}
	_, err = f.scandir.Stop(ctx, slot)
	return err
}

// All stops or restarts in parallel every gateway whose intent is running, or
// that runs all the same, and reports each as it ends. A restart leaves those
// alone whose intent is stopped.
func (f *Fleet) All(ctx context.Context, action string, r profile.Request, report func(api.ActionResult)) error {
	do, known := map[string]func(context.Context, profile.Name, profile.Request) (api.ActionResult, error){
		"stop": f.Stop, "restart": f.Restart,
	}[action]
	if !known {
		return fault.New(fault.Usage, "cannot %s all gateways: only stop and restart apply to all", action)
	}
	rows, err := f.rows()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards report
	for _, g := range rows {
		if g.Intent != string(profile.Running) && (action != "stop" || g.State == string(profile.StateStopped)) {
			continue
		}
		wg.Go(func() {
			name := profile.Name(g.Profile)
			result, err := do(ctx, name, r)
			if err != nil {
				result.Gateway.Profile, result.Gateway.Slot = g.Profile, g.Slot
				result.Error = wireError(err)
			}
			mu.Lock()
			defer mu.Unlock()
			report(result)
		})
	}
	wg.Wait()
	return nil
}

// wireError is an error as one line of a stream carries it.
func wireError(err error) *api.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return &api.Error{Code: string(f.Code), Message: f.Msg, Hint: f.Hint}
	}
	return &api.Error{Code: string(fault.Internal), Message: fmt.Sprintf("internal error: %v", err)}
}
