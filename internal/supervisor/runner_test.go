package supervisor_test

import (
	"context"
	"os"
	"testing"

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
