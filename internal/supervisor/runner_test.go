package supervisor_test

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/supervisor"
	"hermes/internal/testkit"
)

// specOf is a run that somebody else had the runner start.
func specOf(name string, generation uint64) engine.Spec {
	return engine.Spec{Slot: slotOf(name), Generation: generation, Path: "/bin/true", Argv: []string{"true"}}
}

func bootRequest() supervisor.BootRequest { return supervisor.BootRequest{By: "hermes up"} }

// slow is a runner that takes its time.
type slow struct {
	*enginetest.Fake
	spawn, kill time.Duration
}

func (s slow) Spawn(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	select {
	case <-time.After(s.spawn):
		return s.Fake.Spawn(ctx, spec)
	case <-ctx.Done():
		return engine.Run{Log: -1, Notify: -1}, ctx.Err()
	}
}

func (s slow) Signal(ctx context.Context, slot string, generation uint64, sig unix.Signal, group bool) error {
	if sig != unix.SIGKILL {
		return s.Fake.Signal(ctx, slot, generation, sig, group)
	}
	time.AfterFunc(s.kill, func() { _ = s.Fake.Signal(context.Background(), slot, generation, sig, group) })
	return nil
}

// aged is a runner whose runs were started some time before they were.
type aged struct {
	*enginetest.Fake
	age time.Duration
}

func (a aged) List(ctx context.Context) ([]engine.Run, error) {
	runs, err := a.Fake.List(ctx)
	for i := range runs {
		runs[i].Started = runs[i].Started.Add(-a.age)
	}
	return runs, err
}

// stillborn is a runner whose runs have ended by the time it says so.
type stillborn struct{ *enginetest.Fake }

func (s stillborn) Spawn(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	run, err := s.Fake.Spawn(ctx, spec)
	if err == nil {
		run.Exit = &engine.Exit{Code: 1, At: time.Now()}
	}
	return run, err
}

// unavailable leaves a test out; see testkit.
func unavailable(t *testing.T, why string) { testkit.Unavailable(t, "%s", why) }

// immortal is a runner whose runs no signal ends.
type immortal struct{ *enginetest.Fake }

func (immortal) Signal(context.Context, string, uint64, unix.Signal, bool) error { return nil }

// asOurselves is a runner whose runs have our own pid.
type asOurselves struct{ *enginetest.Fake }

func (a asOurselves) Spawn(ctx context.Context, s engine.Spec) (engine.Run, error) {
	run, err := a.Fake.Spawn(ctx, s)
	run.PID = os.Getpid()
	return run, err
}
