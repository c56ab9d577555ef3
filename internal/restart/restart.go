// Package restart decides what follows the end of a run: nothing, another run
// at once, another run later, or none until an operator says so.
//
// It is pure: the history and the time come in, a verdict comes out.
package restart

import (
	"time"

	"hermes/internal/profile"
)

// The numbers of the backoff. They are part of the contract with operators:
// docs/reference/files.md states them.
const (
	// HealthyAfter is how long a run must have been ready to count as healthy.
	HealthyAfter = 10 * time.Second
	// First is the backoff after one failure; it doubles up to Longest.
	First   = 250 * time.Millisecond
	Longest = 5 * time.Minute
	// Jitter spreads a delay by ± this share, so that a fleet that failed
	// together does not retry together.
	Jitter = 0.25
	// AskedLimit restarts that a gateway asked for (exit 75) are granted at
	// once within AskedWindow; more count as crashes.
	AskedLimit  = 3
	AskedWindow = time.Minute
)

// Verdict is what follows the end of a run.
type Verdict uint8

// The verdicts.
const (
	Again   Verdict = iota + 1 // at once
	Backoff                    // after Delay; it was a failure
	Park                       // not until an operator says start
	Stay                       // it ended by itself, and that is fine
)

// Decide judges the run that ended with last. history holds the exits before
// it, oldest first.
func Decide(p profile.Restart, history []profile.Exit, last profile.Exit) Verdict {
	switch {
	case last.Code == profile.ExitConfig:
		return Park
	case p == profile.RestartNever, p == profile.RestartOnFailure && last.Code == 0:
		return Stay
	case last.Code == profile.ExitTempFail:
		if askedRecently(history, last.At) < AskedLimit {
			return Again
		}
		return Backoff
	case last.Healthy:
		return Again
	}
	return Backoff
}

// askedRecently counts the exits 75 within the window that ends at now. One
// after a stop asked for nothing: the gateway only kept its habit.
func askedRecently(history []profile.Exit, now time.Time) int {
	n := 0
	for _, e := range history {
		if e.Code == profile.ExitTempFail && !e.Asked && now.Sub(e.At) < AskedWindow {
			n++
		}
	}
	return n
}

// Delay is the backoff after that many failures in a row. spread in [0,1)
// places it within the jitter.
func Delay(failures int, spread float64) time.Duration {
	d := First
	for i := 1; i < failures && d < Longest; i++ {
		d *= 2
	}
	d = min(d, Longest)
	return time.Duration(float64(d) * (1 - Jitter + 2*Jitter*spread))
}

// LongestDelay bounds what [Delay] can return; a retry time on record beyond
// it comes from a clock that was wrong.
func LongestDelay() time.Duration { return Delay(64, 1) }
