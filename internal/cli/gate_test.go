package cli

import (
	"errors"
	"testing"

	"hermes/internal/config"
)

// with adds variables to the environment the gates see.
func with(t *testing.T, in runInputs, environ ...string) runInputs {
	t.Helper()
	s, err := config.FromEnviron(environ)
	if err != nil {
		t.Fatal(err)
	}
	in.Settings = s
	return in
}

// none of the gates decides, so a container's supervisor redirects.
func undecided() runInputs {
	return runInputs{
		Profile: "coder",
		Detect:  func() (supervision, error) { return supervisionContainer, nil },
	}
}

// mustNotDetect fails the test when a gate lets the detection run.
func mustNotDetect(t *testing.T, in runInputs) runInputs {
	in.Detect = func() (supervision, error) {
		t.Error("a supervisor was looked for, though the gate decides before that")
		return supervisionContainer, nil
	}
	return in
}

func wantMode(t *testing.T, in runInputs, want mode) {
	t.Helper()
	got, err := runMode(in)
	if err != nil || got != want {
		t.Errorf("flag %v, no_supervise %v, child %q, s6 child %v: mode %d, %v, want %d",
			in.NoSupervise, in.Settings.NoSupervise, in.Settings.SupervisedChild, in.Settings.S6SupervisedChild, got, err, want)
	}
}

// The gates.

func TestGateNoSuperviseFlag(t *testing.T) {
	in := mustNotDetect(t, undecided())
	in.NoSupervise = true
	wantMode(t, in, foreground)
}

func TestGateNoSuperviseVariable(t *testing.T) {
	for _, v := range []string{"1", "true", "yes", "TRUE", "Yes", "tRuE"} {
		in := with(t, mustNotDetect(t, undecided()), "HERMES_GATEWAY_NO_SUPERVISE="+v)
		wantMode(t, in, foreground)
	}
}

func TestGateSupervisedChildNamesThisProfile(t *testing.T) {
	in := with(t, mustNotDetect(t, undecided()), "HERMES_SUPERVISED_CHILD=coder")
	wantMode(t, in, child)
}

func TestGateS6SupervisedChild(t *testing.T) {
	for _, v := range []string{"1", "0", "anything"} {
		in := with(t, mustNotDetect(t, undecided()), "HERMES_S6_SUPERVISED_CHILD="+v)
		wantMode(t, in, child)
	}
}

// What is no reason to stay in the foreground.

func TestNoSuperviseVariableIsStrict(t *testing.T) {
	for _, v := range []string{"", "0", "false", "no", "off", "on", "2", "yess", " 1", "y", "t"} {
		in := with(t, undecided(), "HERMES_GATEWAY_NO_SUPERVISE="+v)
		wantMode(t, in, redirected)
	}
}

// A tool that a gateway starts inherits both variables; for another profile's
// gateway they say nothing.
func TestSupervisedChildOfAnotherProfileIsNoChild(t *testing.T) {
	in := with(t, undecided(), "HERMES_SUPERVISED_CHILD=writer", "HERMES_S6_SUPERVISED_CHILD=1")
	wantMode(t, in, redirected)
}

// The order.

func TestOptOutWinsOverChild(t *testing.T) {
	own := []string{"HERMES_SUPERVISED_CHILD=coder", "HERMES_S6_SUPERVISED_CHILD=1"}
	in := with(t, mustNotDetect(t, undecided()), own...)
	in.NoSupervise = true
	wantMode(t, in, foreground)
	in = with(t, mustNotDetect(t, undecided()), append(own, "HERMES_GATEWAY_NO_SUPERVISE=1")...)
	wantMode(t, in, foreground)
}

// The paths behind the gates.

func TestPathContainerSupervisorRedirects(t *testing.T) {
	wantMode(t, undecided(), redirected)
}

func TestPathNoSupervisorIsForeground(t *testing.T) {
	in := undecided()
	in.Detect = func() (supervision, error) { return supervisionNone, nil }
	wantMode(t, in, foreground)
}

func TestPathHostSupervisorIsForeground(t *testing.T) {
	in := undecided()
	in.Detect = func() (supervision, error) { return supervisionHost, nil }
	wantMode(t, in, foreground)
}

func TestPathHostSupervisorThatRunsItRefuses(t *testing.T) {
	in := undecided()
	in.Detect = func() (supervision, error) { return supervisionHostRuns, nil }
	wantMode(t, in, refused)
}

func TestPathDetectionFails(t *testing.T) {
	in := undecided()
	silent := errors.New("the supervisor does not answer")
	in.Detect = func() (supervision, error) { return 0, silent }
	if got, err := runMode(in); got != 0 || !errors.Is(err, silent) {
		t.Errorf("got %d, %v: a supervisor that does not answer is not none", got, err)
	}
}

// Every combination gives the mode its first closed gate says.
func TestRunModeExhaustive(t *testing.T) {
	outs := map[supervision]mode{
		supervisionNone: foreground, supervisionContainer: redirected,
		supervisionHost: foreground, supervisionHostRuns: refused,
	}
	for _, flag := range []bool{false, true} {
		for _, env := range []string{"", "0", "1"} {
			for _, own := range []string{"", "coder", "writer"} {
				for _, s6 := range []string{"", "1"} {
					for found, want := range outs {
						switch {
						case flag || env == "1":
							want = foreground
						case own == "coder", own == "" && s6 == "1":
							want = child
						}
						in := with(t, undecided(), "HERMES_GATEWAY_NO_SUPERVISE="+env,
							"HERMES_SUPERVISED_CHILD="+own, "HERMES_S6_SUPERVISED_CHILD="+s6)
						in.NoSupervise = flag
						in.Detect = func() (supervision, error) { return found, nil }
						wantMode(t, in, want)
					}
				}
			}
		}
	}
}
