package supervisor_test

import (
	"testing"

	"hermes/internal/engine"
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
