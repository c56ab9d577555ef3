package supervisor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/supervisor"
)

// storm is a fleet to which everything happens.
type storm struct {
	*rig
	rnd    *rand.Rand
	names  []string
	wanted map[string]profile.Intent // what was acknowledged last
	past   []string
}

// TestStorm: operators, exits, failures, time and the death of supervisors in
// any order. No intent that was acknowledged is lost, what is unwanted is down,
// the fleet knows every run, and in the end nothing is stranded.
func TestStorm(t *testing.T) {
	rounds := 15
	if os.Getenv("HERMES_SOAK") != "" {
		rounds *= 60
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				s := &storm{rig: r, rnd: rand.New(rand.NewPCG(seed, 0)), wanted: map[string]profile.Intent{}}
				defer func() {
					if t.Failed() {
						t.Log(strings.Join(s.past, "\n"))
					}
				}()
				s.blow()
				s.calm()
			})
		})
	}
}

func (s *storm) blow() {
	s.options.Settings.StartParallel = 1 + s.rnd.IntN(4)
	for name, lines := range map[string][]string{
		"always": nil, "on-failure": {"restart: on-failure"}, "never": {"restart: never"},
		"unready": {"ready: notify", "start_timeout: 3s", "stop_timeout: 2s"}, "quiet": nil,
	} {
		s.profile(name, lines...)
		s.names = append(s.names, name)
		s.wanted[name] = profile.Stopped
	}
	slices.Sort(s.names)
	s.boot("quiet")
	s.wanted["quiet"] = profile.Running
	for range 60 {
		s.step()
		s.check()
	}
}

func (s *storm) step() {
	name := s.names[s.rnd.IntN(len(s.names))]
	note := func(format string, args ...any) { s.past = append(s.past, fmt.Sprintf(format, args...)) }
	switch n := s.rnd.IntN(12); n {
	case 0, 1, 2, 3, 4:
		s.command(name, note)
	case 5, 6:
		code := []int{0, 1, 75, 78}[s.rnd.IntN(4)]
		note("%s ends with %d", name, code)
		s.fake.End(slotOf(name), code)
	case 7:
		note("%s is killed", name)
		s.fake.Kill(slotOf(name), unix.SIGKILL)
	case 8:
		programs := []enginetest.Program{
			{},
			{Linger: 3 * time.Second},
			{Deaf: true},
			{Exit: true, Code: 1},
			{Hang: true},
			{Fail: &engine.SpawnError{Path: "/x", Stage: "exec", Errno: unix.EAGAIN}},
		}
		p := programs[s.rnd.IntN(len(programs))]
		note("%s becomes %+v", name, p)
		s.fake.Script(slotOf(name), p)
	case 9:
		d := []time.Duration{time.Millisecond, 100 * time.Millisecond, 3 * time.Second, time.Minute, time.Hour}[s.rnd.IntN(5)]
		note("%v pass", d)
		s.pass(d)
	case 10:
		note("the supervisor is killed")
		s.kill()
		if s.rnd.IntN(2) == 0 {
			note("%s is lost meanwhile", name)
			s.fake.Lose(slotOf(name))
		}
		s.comeBack()
	case 11:
		note("the supervisor is replaced")
		s.comeBack()
	}
	s.settle()
}

func (s *storm) command(name string, note func(string, ...any)) {
	if name == "quiet" {
		return
	}
	verb := s.rnd.IntN(3)
	a := []action{startIt, stopIt, restartIt}[verb]
	want := []profile.Intent{profile.Running, profile.Stopped, profile.Running}[verb]
	word := []string{"start", "stop", "restart"}[verb]
	if s.rnd.IntN(2) == 0 {
		note("%s %s, and wait", word, name)
		s.ask(a, name) // the intent is on disk when all wait
	} else {
		note("%s %s", word, name)
		request := supervisor.Request{NoWait: true, By: "tester"}
		result, err := a(s.fleet, context.Background(), profile.Name(name), request)
		if err != nil || result.Gateway.Intent != string(want) {
			s.t.Fatalf("%s %s: %+v, %v", word, name, result.Gateway, err)
		}
	}
	s.wanted[name] = want
}

// check is what holds at any time.
func (s *storm) check() {
	s.t.Helper()
	for _, name := range s.names {
		if got := s.intent(name).Intent; got != s.wanted[name] {
			s.t.Fatalf("%s: intent %s was acknowledged, %s is kept", name, s.wanted[name], got)
		}
		alive := s.lives(name) // and known
		g := s.gateway(name)
		if s.wanted[name] == profile.Stopped && g.State != "stopped" && g.State != "stopping" {
			s.t.Fatalf("%s is unwanted and %s", name, g.State)
		}
		if alive && (g.State == "stopped" || g.State == "parked" || g.State == "backoff") {
			s.t.Fatalf("%s lives and is %s", name, g.State)
		}
		if !alive && g.State == "running" {
			s.t.Fatalf("%s is dead and running", name)
		}
	}
}

// calm ends the storm: in time everything is as it is wanted.
func (s *storm) calm() {
	s.past = append(s.past, "calm")
	for _, name := range s.names {
		s.fake.Script(slotOf(name), enginetest.Program{})
	}
	s.pass(time.Hour)
	s.check()
	for _, name := range s.names {
		g := s.gateway(name)
		rests := g.State == "running" || g.State == "parked" || g.State == "stopped" && strings.HasPrefix(g.Reason, "ended by itself")
		switch {
		case s.wanted[name] == profile.Stopped && g.State != "stopped":
			s.t.Errorf("%s is unwanted and %s for an hour", name, g.State)
		case s.wanted[name] == profile.Running && name != "unready" && !rests:
			s.t.Errorf("%s is wanted and %s: %s", name, g.State, g.Reason)
		}
	}
	s.keepsNoExits()
	s.configure("unready")
	s.must(stopIt, "unready") // the run in hand was to be ready by notify
	s.must(startIt, s.names...)
	for _, name := range s.names {
		s.is(name, profile.StateRunning)
		seen := map[uint64]bool{}
		for _, e := range s.observed(name).Exits {
			if seen[e.Run] {
				s.t.Errorf("%s: run %d ended twice", name, e.Run)
			}
			seen[e.Run] = true
		}
	}
}
