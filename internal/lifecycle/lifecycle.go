// Package lifecycle is the life of one slot as a table of state × event.
//
// The table is complete: every cell says which state follows and what is to be
// done, and "nothing" is written out. It is pure; the supervisor feeds it
// events, one at a time per slot, and carries the actions out. Timers are
// events like any other.
//
//	           Start            Admitted           Spawned            Ready
//	Stopped ──────────▶ Queued ──────────▶ Spawning ───────▶ Starting ──────▶ Running
//	   ▲                  ▲  ▲                │ SpawnFailed     │  │ StartTimeout │ exits
//	   │ exits            │  │ RetryDue       ▼                 │  ▼              ▼
//	Stopping ◀─ Stop ─────┼──┴───────────── Backoff ◀───────────┼─ Aborting    again: Queued
//	                      │ Start                               │              failed: Backoff
//	                   Parked ◀──── ExitedConfig, Refused ──────┘              config: Parked
//
// No state is a dead end: each is left by a timer, by the runner's answer, or,
// for Stopped and Parked alone, by an operator. TestNothingIsStranded holds
// the table to that.
package lifecycle

import "hermes/internal/profile"

// State is the fine-grained state of a slot; [State.Visible] is what people see.
type State uint8

// The states.
const (
	Stopped  State = iota // no run, none wanted (or it ended by itself)
	Queued                // waiting for the start gate
	Spawning              // the runner was asked for a run and has not answered
	Starting              // it runs, and is not ready yet
	Running               // it is ready
	Stopping              // it was told to stop
	Aborting              // it was not ready in time and was told to stop
	Backoff               // it failed; the retry timer is armed
	Parked                // only an operator brings it back
	numStates
)

// Event is something that happened to a slot.
type Event uint8

// The events. Exited is split by what the restart policy makes of the exit.
const (
	Start        Event = iota // it is wanted up
	Stop                      // it is wanted down, or everything shuts down
	Restart                   // a new run is wanted
	Admitted                  // the start gate let it through
	Refused                   // it cannot start as it is configured
	Spawned                   // the runner started it
	SpawnFailed               // the runner could not
	Ready                     // it is ready
	StartTimeout              // it was not ready in time
	ExitedAgain               // its run ended; the next follows at once
	ExitedFailed              // its run ended in a failure
	ExitedConfig              // its run ended saying its configuration is wrong
	ExitedDone                // its run ended and that is fine
	RetryDue                  // the backoff is over
	GraceExpired              // it was told to stop and has not
	numEvents
)

// Action is something to be done by the supervisor, in the order given.
type Action uint8

// The actions.
const (
	Enqueue      Action = iota + 1 // ask the start gate for a token
	Withdraw                       // leave the gate, or give its token back
	Spawn                          // ask the runner for a run
	Watch                          // arm the start timeout, watch for readiness
	Settle                         // feed Start if it is still wanted up
	Signal                         // stop signal to the group; arm the grace timer
	Kill                           // SIGKILL to the group; arm the grace timer again
	CountFailure                   // one more failure in a row; arm the retry timer
	CancelRetry                    // disarm the retry timer
)

// Cell is one entry of the table.
type Cell struct {
	To State
	Do []Action
}

// Next looks an event up. It is total: every state and event below their
// bounds has a cell.
func Next(s State, e Event) Cell { return table()[s][e] }

// Visible is the state as people see it.
func (s State) Visible() profile.State {
	return [numStates]profile.State{
		Stopped:  profile.StateStopped,
		Queued:   profile.StateStarting,
		Spawning: profile.StateStarting,
		Starting: profile.StateStarting,
		Running:  profile.StateRunning,
		Stopping: profile.StateStopping,
		Aborting: profile.StateStopping,
		Backoff:  profile.StateBackoff,
		Parked:   profile.StateParked,
	}[s]
}

// HasRun reports whether a run exists, or may exist, in this state.
func (s State) HasRun() bool {
	switch s {
	case Spawning, Starting, Running, Stopping, Aborting:
		return true
	default:
		return false
	}
}

func (s State) String() string {
	return [numStates]string{"stopped", "queued", "spawning", "starting", "running", "stopping", "aborting", "backoff", "parked"}[s]
}

func (e Event) String() string {
	return [numEvents]string{
		"start", "stop", "restart", "admitted", "refused", "spawned", "spawn-failed", "ready", "start-timeout",
		"exited-again", "exited-failed", "exited-config", "exited-done", "retry-due", "grace-expired",
	}[e]
}
