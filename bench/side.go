package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The sides, in the order of the table.
const (
	bareLoop = "loop"
	s6Bare   = "s6"
	s6Logged = "s6log"
	runit    = "runit"
	ours     = "hermes"
)

func sideNames() []string { return []string{bareLoop, s6Bare, s6Logged, runit, ours} }

// peers are the sides that hermes is compared with.
func peers() []string { return []string{s6Bare, s6Logged, runit} }

func onlyOurs(who string) bool { return who == bareLoop || who == ours }

// needs are the programs of a side and the Debian package that has them.
func needs(who string) (programs []string, pkg string) {
	switch who {
	case s6Bare, s6Logged:
		return []string{"s6-svscan", "s6-svscanctl", "s6-svc", "s6-svstat", "s6-log", "sh"}, "s6"
	case runit:
		return []string{"runsvdir", "runsv", "sv", "svlogd", "sh"}, "runit"
	}
	return nil, ""
}

// missing says what a side lacks on this machine, nil if nothing.
func missing(who string) error {
	programs, pkg := needs(who)
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s needs %s, which is not here: apt-get install --no-install-recommends %s, or leave it out with -who", who, p, pkg)
		}
	}
	return nil
}

// place is where one fleet of one side lives, and the programs it is made of.
type place struct {
	dir    string // all of its files
	marks  string // a file per service: when each of its lives began
	child  string // the service
	loop   string // the bare fork loop
	hermes string
	n      int // services at boot
	most   int // services ever
}

// side is one supervisor: how its services are laid out, and what to type. The
// commands are argument lists; nil is what it cannot do.
type side struct {
	argv   []string // in the foreground, its services with it
	env    []string
	ends   syscall.Signal // to it: end everything
	lay    func(service string, boot bool) error
	laid   func() error                                  // before boot, when all is laid out
	added  func(service string, supervisor int) []string // tells it that one more was laid out
	stop   func(service string) []string
	start  func(service string) []string
	status func(services []string) []string
	bare   func(verb, service string) []string // the same as stop, start and status, by the least program there can be
	limit  int                                 // services it can have, 0: any number
	pause  time.Duration                       // before one more is added, or it would not be looked for at once
}

// newSide makes the side called who, with nothing laid out yet.
func newSide(who string, p place) (side, error) {
	switch who {
	case bareLoop:
		return newLoop(p), nil
	case s6Bare:
		return newS6(p, false)
	case s6Logged:
		return newS6(p, true)
	case runit:
		return newRunit(p)
	case ours:
		return newHermes(p)
	}
	return side{}, fmt.Errorf("no side is called %q", who)
}

func newLoop(p place) side {
	return side{
		argv: []string{p.loop, p.child, p.marks, strconv.Itoa(p.n)},
		env:  os.Environ(),
		ends: syscall.SIGTERM,
		lay:  func(string, bool) error { return nil },
	}
}

// newS6: s6-svscan alone, or with an s6-log for each service as the original
// sets it up. ./run is the service itself: no shell is between the two.
func newS6(p place, logged bool) (side, error) {
	scan := filepath.Join(p.dir, "scan")
	at := func(service string) string { return filepath.Join(scan, service) }
	return side{
		// The limit counts loggers too; s6-svscan allocates by it, so it is no larger than it has to be.
		argv: []string{"s6-svscan", "-c", strconv.Itoa(2*p.most + 10), scan},
		env:  append(os.Environ(), "BENCH_MARKS="+p.marks),
		ends: syscall.SIGTERM,
		lay: func(service string, _ bool) error {
			log := ""
			if logged {
				log = "exec s6-log n10 s1000000 T " + filepath.Join(p.dir, "logs", service)
			}
			return layService(p, service, log)
		},
		added: func(string, int) []string { return []string{"s6-svscanctl", "-a", scan} },
		stop:  func(service string) []string { return []string{"s6-svc", "-wD", "-d", at(service)} },
		start: func(service string) []string { return []string{"s6-svc", "-wu", "-u", at(service)} },
		status: func(services []string) []string { // s6-svstat takes one directory
			return slices.Concat([]string{"sh", "-c", `for s; do s6-svstat "$s"; done`, "sh"}, each(services, at))
		},
	}, os.MkdirAll(scan, 0o755)
}

// runsvdirMost is compiled into runsvdir.
const runsvdirMost = 1000

// newRunit: runsvdir with a svlogd for each service. A new service is announced
// by SIGALRM, or runsvdir would find it within 5 s. It then looks at once, and
// again a second later; until a second after that it heeds no further SIGALRM. sv down and sv up do not
// wait: that the service is down or up is seen by the bench itself, which is
// faster than sv stop and sv start, who look only every 420 ms.
func newRunit(p place) (side, error) {
	scan := filepath.Join(p.dir, "scan")
	at := func(service string) string { return filepath.Join(scan, service) }
	return side{
		limit: runsvdirMost,
		pause: 2500 * time.Millisecond,
		argv:  []string{"runsvdir", "-P", scan},
		env:   append(os.Environ(), "BENCH_MARKS="+p.marks),
		ends:  syscall.SIGHUP,
		lay: func(service string, _ bool) error {
			logs := filepath.Join(p.dir, "logs", service)
			if err := os.MkdirAll(logs, 0o755); err != nil {
				return err
			}
			return layService(p, service, "exec svlogd -tt "+logs)
		},
		laid: func() error { // runsvdir sleeps for a second if the directory changed in the second it is read in
			past := time.Now().Add(-time.Hour)
			return os.Chtimes(scan, past, past)
		},
		added: func(_ string, supervisor int) []string {
			return []string{"sh", "-c", `kill -ALRM "$0"`, strconv.Itoa(supervisor)}
		},
		stop:   func(service string) []string { return []string{"sv", "down", at(service)} },
		start:  func(service string) []string { return []string{"sv", "up", at(service)} },
		status: func(services []string) []string { return slices.Concat([]string{"sv", "status"}, each(services, at)) },
	}, os.MkdirAll(scan, 0o755)
}

// layService makes a service directory of s6 or runit and renames it into place:
// neither ever sees half of one. log is the logger's command, "" for none.
func layService(p place, service, log string) error {
	tmp := filepath.Join(p.dir, "."+service)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(p.child, filepath.Join(tmp, "run")); err != nil {
		return err
	}
	if log != "" {
		if err := os.Mkdir(filepath.Join(tmp, "log"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, "log", "run"), []byte("#!/bin/sh\n"+log+"\n"), 0o755); err != nil {
			return err
		}
	}
	return os.Rename(tmp, filepath.Join(p.dir, "scan", service))
}

// newHermes: profiles laid out by hand, as the original leaves them, with the
// service as a foreign gateway.command, and one `hermes up`. Everything else is
// as it comes, HERMES_START_PARALLEL too.
func newHermes(p place) (side, error) {
	home := filepath.Join(p.dir, "home")
	cli := func(args ...string) []string { return append([]string{p.hermes}, args...) }
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HERMES") || strings.HasPrefix(v, "PUID=") || strings.HasPrefix(v, "PGID=")
	})
	env = append(env,
		"HERMES_HOME="+home, "HERMES_RUNTIME_DIR="+filepath.Join(p.dir, "run"),
		"HERMES_UID="+strconv.Itoa(os.Getuid()), "HERMES_GID="+strconv.Itoa(os.Getgid()))
	return side{
		argv: cli("up"),
		env:  env,
		ends: syscall.SIGTERM,
		lay: func(service string, boot bool) error {
			return layProfile(filepath.Join(home, "profiles", service), []string{p.child, p.marks, service}, boot)
		},
		added:  func(service string, _ int) []string { return cli("gateway", "start", service) },
		stop:   func(service string) []string { return cli("gateway", "stop", service) },
		start:  func(service string) []string { return cli("gateway", "start", service) },
		status: func([]string) []string { return cli("gateway", "status", "--all", "--json") },
		bare: func(verb, service string) []string {
			if verb == "status" {
				return bareCommand(home, "GET", "/v1/fleet")
			}
			return bareCommand(home, "POST", "/v1/gateways/"+service+"/"+verb)
		},
	}, os.MkdirAll(home, 0o755)
}

// layProfile makes a profile with command as its gateway; boot: hermes up is to
// start it, by the state file that the original leaves.
func layProfile(dir string, command []string, boot bool) error {
	config := "gateway:\n  ready: exec\n  command:\n"
	for _, word := range command {
		config += "    - " + strconv.Quote(word) + "\n"
	}
	files := map[string]string{"SOUL.md": "bench\n", "config.yaml": config}
	if boot {
		files["gateway_state.json"] = `{"gateway_state":"running"}` + "\n"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func each(services []string, f func(string) string) []string {
	var all []string
	for _, s := range services {
		all = append(all, f(s))
	}
	return all
}
