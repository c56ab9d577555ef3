package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hermes/api"
)

// setting is a way of running a container, and what is promised of it: the
// whole life of a fleet, and a report of what the setting makes impossible.
type setting struct {
	name    string
	owner   int      // of the home
	options []string // of docker run
	command []string
	image   string // "" for the usual one
	uid     int    // that gateways run as
	exec    string // the uid of docker exec; "" for the container's own
	reports string // the codes of conditions, at boot and by doctor
	frugal  bool   // gateways that are one process with one thread
	code    string // of the container that is stopped, "0" if not said
}

// Programs between the container's runtime and hermes. Each passes SIGTERM on
// and waits, as a supervisor does.
const (
	underShell = `trap 'kill -TERM $p' TERM; /init & p=$!; wait $p; wait $p; exit $?`
	underTwo   = `trap 'busybox killall -TERM init' TERM; sh -c '/init; exit $?' & p=$!; wait $p; wait $p; exit $?`
)

func settings() []setting {
	readOnly := []string{"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}
	all := []setting{
		{name: "PID 1, as root", uid: 10000},
		{name: "--init", options: []string{"--init"}, uid: 10000},
		{name: "a child of PID 1", options: []string{"--entrypoint", "sh"}, command: []string{"-c", underShell}, uid: 10000},
		{name: "a grandchild of PID 1", options: []string{"--entrypoint", "sh"}, command: []string{"-c", underTwo}, uid: 10000},
		{name: "--user 1234:1234", owner: 1234, options: []string{"--user", "1234:1234"}, uid: 1234, reports: "runtime_elsewhere"},
		{name: "--user and --init", owner: 1234, options: []string{"--user", "1234:1234", "--init"}, uid: 1234, reports: "runtime_elsewhere"},
		{name: "HERMES_UID and HERMES_GID", options: []string{"--env", "HERMES_UID=1300", "--env", "HERMES_GID=1301"}, uid: 1300, exec: "1300"},
		{name: "HERMES_UID alone", options: []string{"--env", "HERMES_UID=1300"}, uid: 1300},
		{name: "PUID and PGID", options: []string{"--env", "PUID=1026", "--env", "PGID=100"}, uid: 1026, exec: "1026"},
		{name: "PUID under --user", owner: 1234, options: []string{"--user", "1234:1234", "--env", "PUID=1026"}, uid: 1234, reports: "gateway_uid runtime_elsewhere"},
		{name: "the home's owner", owner: 1026, uid: 1026, exec: "1026"},
		{name: "--cap-drop ALL with --user", owner: 10000, options: []string{"--cap-drop", "ALL", "--user", "10000:10000"}, uid: 10000, reports: "runtime_elsewhere"},
		{name: "--cap-drop ALL as root, for root", options: []string{"--cap-drop", "ALL", "--env", "HERMES_UID=0", "--env", "HERMES_GID=0"}},
		{
			name: "root without CAP_KILL", owner: 10000, uid: 10000, reports: "no_kill",
			options: []string{"--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--cap-add", "SETGID", "--cap-add", "SETUID"},
		},
		{name: "--read-only", options: []string{"--read-only"}, uid: 10000, reports: "runtime_elsewhere"},
		{name: "--read-only with /tmp and /run", options: []string{"--read-only", "--tmpfs", "/tmp", "--tmpfs", "/run"}, uid: 10000},
		{name: "--read-only with /tmp alone", options: []string{"--read-only", "--ipc", "none", "--tmpfs", "/tmp"}, uid: 10000, reports: "runtime_elsewhere"},
		{name: "noexec /run", options: []string{"--tmpfs", "/run:noexec"}, uid: 10000},
		{name: "no /run and no /tmp", image: bareImage, uid: 10000, reports: "runtime_elsewhere"},
		{name: "few pids, for gateways of one process each", options: []string{"--pids-limit", "60"}, uid: 10000, frugal: true},
		{name: "everything at once", owner: 10000, options: append(readOnly, "--user", "10000:10000", "--pids-limit", "60"), uid: 10000, reports: "runtime_elsewhere", frugal: true},
	}
	return all
}

// TestSettings is the life of a fleet under every setting.
func TestSettings(t *testing.T) {
	t.Parallel()
	buildImage(t)
	// Most of the time is Docker's, not this machine's: more at a time than
	// go test would run in parallel.
	queue := make(chan setting)
	var stages sync.WaitGroup
	for range 5 {
		stages.Go(func() {
			for s := range queue {
				t.Run(s.name, func(t *testing.T) { newStage(t, s).play() })
			}
		})
	}
	for _, s := range settings() {
		queue <- s
	}
	close(queue)
	stages.Wait()
}

// stage is one container under a setting.
type stage struct {
	*docker
	setting setting
	init    atomic.Int64 // the container's first process, on this host
}

func newStage(t *testing.T, s setting) *stage {
	t.Helper()
	g := &stage{docker: newDocker(t), setting: s}
	if s.image != "" {
		g.image = s.image
	}
	g.owner = s.owner
	g.give(g.home)
	for name, flags := range map[string][]string{"anna": {"-notify"}, "beth": {}, "carl": {"-exit", "78"}} {
		g.probe(name, flags...)
	}
	if s.frugal {
		const start = "gateway:\n  command: [sh, -c, 'echo $$ >> $HERMES_HOME/starts; "
		for name, end := range map[string]string{"anna": "exec sleep infinity", "beth": "exec sleep infinity", "carl": "echo broken; exit 78"} {
			g.write(name, "config.yaml", start+end+"']\n")
		}
	}
	g.run(append([]string{"--env", "HERMES_STOP_TIMEOUT=4"}, s.options...), s.command...)
	g.found()
	t.Cleanup(g.watchZombies())
	return g
}

// found looks up the container's first process, anew after each start.
func (g *stage) found() {
	g.t.Helper()
	pid, err := strconv.Atoi(g.docker.docker("inspect", "--format", "{{.State.Pid}}", g.name))
	if err != nil {
		g.t.Fatal(err)
	}
	g.init.Store(int64(pid))
}

// play is the life of a fleet.
func (g *stage) play() {
	g.eventually("the supervisor answers", g.expect("anna stopped", "beth stopped", "carl stopped"))
	g.checkBoots(1)
	g.checkDoctor()
	g.must("gateway", "start", "anna", "beth")
	_, _, _ = g.as("gateway", "start", "carl") // told as soon as it has exec'd, or that it is parked
	if _, stderr, code := g.as("gateway", "stop", "beth"); code != 0 {
		g.t.Fatalf("stop as uid %q: exit %d: %s", g.setting.exec, code, stderr)
	}
	g.must("gateway", "restart", "anna")
	g.eventually("one runs, one is stopped, one parked", g.expect("anna running", "beth stopped", "carl parked"))
	g.started("anna", 2)
	if got := g.uidOf(g.gateway("anna")); got != g.setting.uid {
		g.t.Errorf("anna runs as uid %d, want %d", got, g.setting.uid)
	}

	g.kill(g.gateway("anna"))
	g.started("anna", 3)
	g.eventually("it runs again", g.expect("anna running", "beth stopped", "carl parked"))

	anna, engine := g.gateway("anna"), g.engine()
	g.kill(engine)
	g.eventually("there is another engine", func() error {
		if now := g.engine(); now == engine || now == 0 {
			return fmt.Errorf("it is process %d, and was %d", now, engine)
		}
		return g.expect("anna running", "beth stopped", "carl parked")()
	})
	if now := g.gateway("anna"); now != anna {
		g.t.Errorf("the engine's end was that of anna, process %d: now %d", anna, now)
	}

	g.docker.docker("restart", g.name)
	g.found()
	g.eventually("the fleet is as it was", g.expect("anna running", "beth stopped", "carl parked"))
	g.started("anna", 4)
	g.noDoubles(map[string]int{"anna": 4, "beth": 1, "carl": 1})
	g.checkBoots(2)
	g.end()
}

// end stops the container: everything ends in order and in time.
func (g *stage) end() {
	began := time.Now()
	g.docker.docker("stop", g.name)
	if took := time.Since(began); took > 6*time.Second {
		g.t.Errorf("docker stop took %v", took)
	}
	want := g.setting.code
	if want == "" {
		want = "0"
	}
	if code := g.docker.docker("inspect", "--format", "{{.State.ExitCode}}", g.name); code != want {
		g.t.Errorf("the container's exit code is %s, want %s", code, want)
	}
	if !g.setting.frugal && !slices.Contains(g.lines("anna", "stops"), "terminated") {
		g.t.Error("anna was not told to stop")
	}
}

// as is a command by docker exec as the setting's uid.
func (g *stage) as(args ...string) (stdout, stderr string, code int) {
	var user []string
	if g.setting.exec != "" {
		user = []string{"--user", g.setting.exec}
	}
	return g.docker.exec(append(append(user, g.name, "hermes"), args...)...)
}

// told is a line of the boot about a condition.
var told = regexp.MustCompile(`(?m)^(?:note|warning|fatal): .* \((\w+)\)$`)

// checkBoots checks that each condition, and no other, was told once in each of
// so many boots.
func (g *stage) checkBoots(boots int) {
	g.t.Helper()
	want := strings.Fields(g.setting.reports)
	var atBoot []string
	for _, m := range told.FindAllStringSubmatch(g.logs(), -1) {
		atBoot = append(atBoot, m[1])
	}
	if all := slices.Concat(slices.Repeat([][]string{want}, boots)...); !slices.Equal(atBoot, all) {
		g.t.Errorf("%d boots reported %q, want %q", boots, atBoot, all)
	}
}

// checkDoctor checks that doctor tells the same.
func (g *stage) checkDoctor() {
	g.t.Helper()
	want := strings.Fields(g.setting.reports)
	stdout, stderr, code := g.docker.exec(g.name, "hermes", "doctor", "--json")
	var d api.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		g.t.Fatalf("doctor: exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	attention := 0
	var found []string
	for _, f := range d.Findings {
		if f.Level != "note" {
			attention = 1
		}
		if f.Profile == "" {
			found = append(found, f.Code)
		}
	}
	if !slices.Equal(found, want) || code != attention || d.OK != (attention == 0) {
		g.t.Errorf("doctor: exit %d, ok %v, found %q, want %q\n%s", code, d.OK, found, want, stdout)
	}
}

// inside are the processes of the container, by their pids on this host.
func (g *stage) inside() (pids []int) {
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", g.init.Load()))
	if err != nil {
		return nil // it has ended
	}
	all, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, path := range all {
		if other, err := os.Readlink(path); err == nil && other == ns {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// find is the process of the container with such a NUL-separated file in /proc,
// the one that was started first, 0 for none.
func (g *stage) find(file, word string) int {
	for _, pid := range g.inside() {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err == nil && slices.Contains(strings.Split(string(content), "\x00"), word) {
			return pid
		}
	}
	return 0
}

func (g *stage) gateway(name string) int { return g.find("environ", "HERMES_SUPERVISED_CHILD="+name) }

func (g *stage) engine() int { return g.find("cmdline", "engine") }

func (g *stage) kill(pid int) {
	g.t.Helper()
	if pid == 0 {
		g.t.Fatalf("there is no such process; the container has %v", g.inside())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		g.t.Fatal(err)
	}
}

func (g *stage) uidOf(pid int) int {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		g.t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// watchZombies looks for processes that have ended and that nobody waits for.
// The promise is one second; the other is for a machine that is busy.
func (g *stage) watchZombies() (end func()) {
	const most = 2 * time.Second
	seen := map[string]time.Time{}
	done := make(chan struct{})
	var watch sync.WaitGroup
	var mu sync.Mutex
	var found error
	watch.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := g.zombies()
			for z := range seen {
				if !slices.Contains(now, z) {
					delete(seen, z)
				}
			}
			for _, z := range now {
				if first, known := seen[z]; !known {
					seen[z] = time.Now()
				} else if age := time.Since(first); age > most {
					mu.Lock()
					found = fmt.Errorf("a zombie for %v: %s", age, z)
					mu.Unlock()
				}
			}
		}
	})
	return func() {
		close(done)
		watch.Wait()
		if found != nil {
			g.t.Error(found)
		}
	}
}

// zombies are those in the container: pid, name and the time of their start.
func (g *stage) zombies() (all []string) {
	for _, pid := range g.inside() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 19 && f[0] == "Z" {
			all = append(all, fmt.Sprintf("%d %s", pid, f[19]))
		}
	}
	return all
}
