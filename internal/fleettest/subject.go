package fleettest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/capability"
	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/server"
)

// deadline bounds every wait of the suite, far beyond what it should take.
const deadline = 30 * time.Second

// Fleet is all that package server asks of one.
type Fleet interface {
	server.Fleet
	server.Inspector
	server.Operator
	server.Profiles
}

// Subject is a fleet under test and the world it is in.
type Subject struct {
	Engine capability.Engine
	Home   string // its profiles are the suite's to make
	Fleet  Fleet
	Events server.Events // nil where the engine has none
	World  World
}

// Options are what a fleet is to be started with.
type Options struct {
	JSONLogs bool // HERMES_LOG_FORMAT=json
}

// World does to a fleet's processes what no fleet does.
type World interface {
	// Program says how the gateway's next runs behave. Real ones have it from
	// their config.yaml.
	Program(name profile.Name, p Program)
	// Alive are the pids of all living runs of a gateway, also of those its
	// fleet does not know.
	Alive(t *testing.T, name profile.Name) []int
	// Kill ends a gateway's run by SIGKILL.
	Kill(t *testing.T, name profile.Name)
	// Notify has a gateway say something to its supervisor, in the words of
	// sd_notify(3).
	Notify(t *testing.T, name profile.Name, words string)
	// Print has a gateway write a line to its stdout.
	Print(t *testing.T, name profile.Name, line string)
	// Replace ends by SIGKILL what supervises a gateway, and returns when the
	// next one is at work; s.Fleet is then a fleet that knows it.
	Replace(t *testing.T, s *Subject, name profile.Name)
	// Slots are the names of the slots there are with the engine itself.
	Slots(t *testing.T) []string
	// Stdout is what the gateways' output looks like to the container.
	Stdout() string
	// Real says that there are processes behind the runs.
	Real() bool
}

// Start makes a fleet over an empty home, and disposes of it with the test.
type Start func(t *testing.T, o Options) *Subject

// Program is how a gateway behaves.
type Program struct {
	Kind Kind
	Code int    // of Exits
	Says string // of Exits: its last line
	// Ready is gateway.ready, "" for the default.
	Ready string
}

// Kind is what a program does.
type Kind int

// The kinds.
const (
	Stays   Kind = iota // until a signal ends it
	Exits               // at once
	Deaf                // only SIGKILL ends it; it says so by a file "deaf"
	Missing             // there is no such program
	BuiltIn             // the built-in gateway: it says what [World.Notify] has it say
	Speaks              // the same, but for another command
	Serves              // listens on its port and answers 200 once there is a file "serve"
	Leaves              // starts a process of another session, its pid in a file "left", and stays
)

// lines are the section gateway of a program's config.yaml.
func (p Program) lines(t *testing.T) []string {
	t.Helper()
	sh := func(script string) string { return fmt.Sprintf("command: [/bin/sh, -c, %q]", script) }
	var lines []string
	switch p.Kind {
	case Stays:
		lines = append(lines, sh("exec sleep 1000"))
	case Exits:
		lines = append(lines, sh(fmt.Sprintf("echo '%s'; exit %d", p.Says, p.Code)))
	case Deaf:
		lines = append(lines, sh(`trap "" TERM; : >deaf; while :; do sleep 1; done`))
	case Missing:
		lines = append(lines, "command: [/no/such/program]")
	case BuiltIn:
	case Speaks, Serves:
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("command: [%q, %s, %s]", self, roleWord, map[Kind]string{Speaks: "speak", Serves: "serve"}[p.Kind]))
	case Leaves:
		lines = append(lines, sh(`setsid sh -c 'echo $$ >left; exec sleep 1000' & exec sleep 1000`))
	}
	if p.Ready != "" {
		lines = append(lines, "ready: "+p.Ready)
	}
	return lines
}

// suite is a subject with what the tests say in a word.
type suite struct {
	*Subject
	ctx context.Context
}

// configure says what a gateway is, with further lines of its config.yaml.
func (s suite) configure(t *testing.T, name profile.Name, p Program, more ...string) {
	t.Helper()
	s.World.Program(name, p)
	lines := p.lines(t)
	if p.Kind == Deaf {
		lines = append(lines, "stop_timeout: 1s")
	}
	text := "gateway:\n  " + strings.Join(append(lines, more...), "\n  ") + "\n"
	if err := os.WriteFile(s.path(name, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// path is a file of a profile.
func (s suite) path(name profile.Name, file string) string {
	if name == profile.Default {
		return filepath.Join(s.Home, file)
	}
	return filepath.Join(s.Home, "profiles", string(name), file)
}

// create makes a profile whose gateway is p.
func (s suite) create(t *testing.T, name profile.Name, p Program, more ...string) {
	t.Helper()
	made, err := s.Fleet.Create(s.ctx, name, "suite")
	if err != nil || made.Warning != "" {
		t.Fatalf("Create(%s): %+v, %v", name, made, err)
	}
	s.configure(t, name, p, more...)
}

// request is what the suite's commands are asked with.
func request() profile.Request { return profile.Request{By: "suite"} }

// start starts a gateway that is to come up.
func (s suite) start(t *testing.T, name profile.Name) api.Gateway {
	t.Helper()
	res, err := s.Fleet.Start(s.ctx, name, request())
	if err != nil || res.Error != nil {
		t.Fatalf("Start(%s): %+v, %v", name, res, err)
	}
	return res.Gateway
}

func (s suite) stop(t *testing.T, name profile.Name) api.Gateway {
	t.Helper()
	res, err := s.Fleet.Stop(s.ctx, name, request())
	if err != nil || res.Error != nil {
		t.Fatalf("Stop(%s): %+v, %v", name, res, err)
	}
	return res.Gateway
}

func (s suite) gateway(t *testing.T, name profile.Name) api.Gateway {
	t.Helper()
	g, err := s.Fleet.Gateway(s.ctx, name)
	if err != nil {
		t.Fatalf("Gateway(%s): %v", name, err)
	}
	return g
}

// is checks what is shown of a gateway.
func (s suite) is(t *testing.T, name profile.Name, state profile.State, intent profile.Intent) api.Gateway {
	t.Helper()
	g := s.gateway(t, name)
	if g.State != string(state) || g.Intent != string(intent) {
		t.Fatalf("%s is %s and meant %s (%s), want %s and %s", name, g.State, g.Intent, g.Reason, state, intent)
	}
	return g
}

// until waits for a gateway to be as met wants it.
func (s suite) until(t *testing.T, name profile.Name, what string, met func(api.Gateway) bool) api.Gateway {
	t.Helper()
	var g api.Gateway
	until(t, string(name)+" "+what, func() bool {
		g = s.gateway(t, name)
		return met(g)
	}, func() string { return fmt.Sprintf("it is %+v", g) })
	return g
}

func inState(state profile.State) func(api.Gateway) bool {
	return func(g api.Gateway) bool { return g.State == string(state) }
}

// until waits for something.
func until(t *testing.T, what string, met func() bool, is func() string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !met(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s: %s", deadline, what, is())
		}
	}
}

func nothing() string { return "it did not happen" }

// fails checks that an error is a fault of that code.
func fails(t *testing.T, what string, err error, want fault.Code) {
	t.Helper()
	_ = failure(t, what, err, want) // its words are of no interest
}

// failure is fails, and the fault.
func failure(t *testing.T, what string, err error, want fault.Code) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != want {
		t.Fatalf("%s: %v (%s), want %s", what, err, fault.CodeOf(err), want)
	}
	return f
}

// put makes a file of a profile.
func (s suite) put(t *testing.T, name profile.Name, file, content string) {
	t.Helper()
	if err := os.WriteFile(s.path(name, file), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
