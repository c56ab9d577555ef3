package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hermes/api"
	"hermes/internal/process"
)

// strayScript is a gateway that leaves a process behind in every way there is:
// each writes its pid to <name>.pid. It records every start, and when it meets
// what a run before it has left. Commands begin with tool.
func strayScript(tool string) string {
	return strings.ReplaceAll(`
for old in daemon session closed holder; do
	[ -f $old.pid ] && TOOL kill -0 $(cat $old.pid) 2>/dev/null && echo $old >>doubles
done
stay='echo $$ >$0.pid; exec TOOL sleep 1000'
(TOOL setsid /bin/sh -c "$stay" daemon &)
TOOL setsid /bin/sh -c "$stay" session &
TOOL setsid /bin/sh -c "$stay" closed 3>&- &
TOOL env -i TOOL setsid /bin/sh -c "$stay" holder &
[ -f clean ] || TOOL env -i TOOL setsid /bin/sh -c "$stay" cleared 3>&- &
for new in daemon session closed holder; do
	while [ ! -s $new.pid ] || ! TOOL kill -0 $(cat $new.pid) 2>/dev/null; do TOOL sleep 0.02; done
done
echo $$ >>starts
[ -f park ] && exit 78
trap 'exit 0' TERM
while :; do TOOL sleep 0.1; done
`, "TOOL ", tool)
}

// leaver makes a profile whose gateway leaves strays.
func (h *homeDir) leaver(name, tool string) {
	h.t.Helper()
	h.profile(name)
	h.write(name, "gw.sh", strayScript(tool))
	h.write(name, "config.yaml", "gateway:\n  command: [/bin/sh, gw.sh]\n")
}

// pidOf is what a stray wrote last.
func (h *homeDir) pidOf(name, which string) (pid int) {
	h.t.Helper()
	h.eventually(name+" left "+which, func() error {
		b, err := os.ReadFile(filepath.Join(h.dir(name), which+".pid"))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(b), &pid)
		return err
	})
	return pid
}

// marked are the strays that are proven to be their gateway's.
func marked() []string { return []string{"daemon", "session", "closed", "holder"} }

// running says whether a process lives; one that nobody has reaped does not.
func running(pid int) bool {
	st, err := process.ReadStat(pid)
	return err == nil && st.State != 'Z'
}

// ended checks which strays are listed with the latest exit of a gateway.
func ended(t *testing.T, w api.Why, pids map[string]int) {
	t.Helper()
	if len(w.Exits) == 0 {
		t.Fatal("no exit on record")
	}
	for _, which := range marked() {
		if !slices.ContainsFunc(w.Exits[0].Strays, func(s api.Stray) bool { return s.PID == pids[which] && s.End == "SIGTERM" }) {
			t.Errorf("%s (pid %d) is not listed as ended: %+v", which, pids[which], w.Exits[0].Strays)
		}
	}
	if n := len(w.Exits[0].Strays); n != len(marked()) {
		t.Errorf("%d strays are listed as ended, want %d: %+v", n, len(marked()), w.Exits[0].Strays)
	}
}

// orphanNotice is what status says of processes that are nobody's.
func orphanNotice(f api.Fleet) string {
	for _, n := range f.Notices {
		if n.Code == "orphans_left" {
			return n.Message
		}
	}
	return ""
}

// leavers are gateways that run and have left their strays.
func (h *host) leavers(names ...string) (strays []map[string]int) {
	h.t.Helper()
	for _, name := range names {
		h.leaver(name, "")
	}
	h.start(names...)
	for _, name := range names {
		h.started(name, 1)
		pids := map[string]int{}
		for _, which := range append(marked(), "cleared") {
			pids[which] = h.pidOf(name, which)
		}
		// It has no mark by which the host would find it.
		h.t.Cleanup(func() { _ = syscall.Kill(pids["cleared"], syscall.SIGKILL) })
		strays = append(strays, pids)
	}
	return strays
}

// outlived checks that of a gateway that is down nothing is left but what
// cannot be proven to be its own.
func (h *host) outlived(pids map[string]int) {
	h.t.Helper()
	for _, which := range marked() {
		if running(pids[which]) {
			h.t.Errorf("%s outlives its gateway", which)
		}
	}
	if !running(pids["cleared"]) {
		h.t.Error("what is not proven to be the gateway's was ended")
	}
}

func (h *host) whyOf(name string) (why api.Why) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.must("why", name, "--json")), &why); err != nil {
		h.t.Fatal(err)
	}
	return why
}

// TestStraysEndWithTheirGateway: what has left its gateway's group or session
// ends with it, and why tells; those of another gateway are left alone.
func TestStraysEndWithTheirGateway(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	strays := h.leavers("anna", "bert")
	anna, bert := strays[0], strays[1]
	h.must("-p", "anna", "gateway", "stop")
	h.outlived(anna)
	for _, which := range marked() {
		if !running(bert[which]) {
			t.Errorf("%s of the other gateway was ended", which)
		}
	}
	why := h.whyOf("anna")
	ended(t, why, anna)
	if out := h.must("why", "anna"); !strings.Contains(out, fmt.Sprintf("ended what it left running: sleep (pid %d", why.Exits[0].Strays[0].PID)) {
		t.Errorf("why says:\n%s", out)
	}
	h.must("-p", "bert", "gateway", "stop")
	h.outlived(bert)
	ended(t, h.whyOf("bert"), bert)
}

// TestOrphansAreNamed: what nothing proves to be a gateway's is shown, once,
// for as long as it lives.
func TestOrphansAreNamed(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	strays := h.leavers("anna", "bert")
	h.must("-p", "anna", "gateway", "stop")
	for range 2 {
		notice := orphanNotice(h.fleet())
		want := fmt.Sprintf("process %d (sleep, uid %d, ", strays[0]["cleared"], uidOfGateways())
		if !strings.Contains(notice, want) || strings.Count(notice, "process ") != 1 {
			t.Errorf("status says %q, want %q alone", notice, want)
		}
	}
	h.kill(strays[0]["cleared"], syscall.SIGKILL)
	h.eventually("nothing is left to be named", func() error {
		if notice := orphanNotice(h.fleet()); notice != "" {
			return errors.New(notice)
		}
		return nil
	})
}

// TestStraysWithoutTheirKeeper: what a run had left when its keeper was killed
// is no child of the next one, and ends with the run all the same.
func TestStraysWithoutTheirKeeper(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	anna := h.leavers("anna")[0]
	h.killKeeper()
	h.must("-p", "anna", "gateway", "stop")
	h.outlived(anna)
	ended(t, h.whyOf("anna"), anna)
	h.kill(anna["cleared"], syscall.SIGKILL)
	h.endSuccessor()
}

// TestShutdownWithoutTheFirstKeeper leaves nothing that is a gateway's.
func TestShutdownWithoutTheFirstKeeper(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	anna := h.leavers("anna")[0]
	h.killKeeper()
	h.kill(anna["cleared"], syscall.SIGKILL)
	h.endSuccessor()
	for _, which := range marked() {
		if running(anna[which]) {
			t.Errorf("%s outlives the supervisor", which)
		}
	}
}

// uidOfGateways is who gateways run as on this host.
func uidOfGateways() int {
	if os.Getuid() == 0 {
		return unprivileged
	}
	return os.Getuid()
}

// TestNoStrayMeetsTheNextRun, however a run ends: nothing of it is there when
// the next one starts, or once it is parked or its profile deleted.
func TestNoStrayMeetsTheNextRun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.leaver("anna", "")
	h.write("anna", "clean", "")
	h.start("anna")
	h.started("anna", 1)
	h.must("-p", "anna", "gateway", "restart")
	h.started("anna", 2)
	h.kill(h.gateway("anna").PID, syscall.SIGKILL)
	h.started("anna", 3)
	h.state("anna", "running")
	old := h.fleet()
	h.kill(old.EnginePID, syscall.SIGSTOP) // the next engine finds the exit
	h.kill(h.gatewayOf(old, "anna").PID, syscall.SIGKILL)
	h.kill(old.EnginePID, syscall.SIGKILL)
	h.started("anna", 4)
	h.state("anna", "running")
	h.write("anna", "park", "")
	_, _, _ = h.run("-p", "anna", "gateway", "restart")
	h.started("anna", 5)
	h.state("anna", "parked")
	gone := func() error {
		for _, which := range marked() {
			if running(h.pidOf("anna", which)) {
				return errors.New(which + " is there")
			}
		}
		return nil
	}
	h.eventually("a parked gateway has left nothing", gone)
	if met := h.lines("anna", "doubles"); len(met) > 0 {
		t.Errorf("runs met what others had left: %v", met)
	}
	if err := os.Remove(filepath.Join(h.dir("anna"), "park")); err != nil {
		t.Fatal(err)
	}
	h.must("-p", "anna", "gateway", "start")
	h.started("anna", 6)
	var pids []int
	for _, which := range marked() {
		pids = append(pids, h.pidOf("anna", which))
	}
	h.must("profile", "delete", "anna", "--yes")
	for _, pid := range pids {
		if running(pid) {
			t.Errorf("process %d outlives its profile", pid)
		}
	}
}

func (h *host) gatewayOf(f api.Fleet, name string) api.Gateway {
	h.t.Helper()
	for _, g := range f.Gateways {
		if g.Profile == name {
			return g
		}
	}
	h.t.Fatalf("no gateway %s", name)
	return api.Gateway{}
}

// TestStraysOfAnotherUid: root without CAP_SYS_PTRACE, as it is in a container,
// cannot look into the gateways' processes; a helper of their uid can.
func TestStraysOfAnotherUid(t *testing.T) {
	d := newDocker(t)
	d.leaver("anna", "/bin/busybox ")
	d.run(nil, "up")
	d.eventually("anna runs", d.expect("anna stopped"))
	d.must("-p", "anna", "gateway", "start")
	d.started("anna", 1)
	pids := map[string]int{}
	for _, which := range append(marked(), "cleared") {
		pids[which] = d.pidOf("anna", which)
	}
	there := func(pid int) bool {
		_, _, code := d.exec(d.name, "/bin/busybox", "kill", "-0", fmt.Sprint(pid))
		return code == 0
	}
	d.must("-p", "anna", "gateway", "stop")
	for _, which := range marked() {
		if there(pids[which]) {
			t.Errorf("%s outlives the gateway", which)
		}
	}
	if !there(pids["cleared"]) {
		t.Error("what is not proven to be the gateway's was ended")
	}
	var why api.Why
	if err := json.Unmarshal([]byte(d.must("why", "anna", "--json")), &why); err != nil {
		t.Fatal(err)
	}
	ended(t, why, pids)
	f, err := d.fleet()
	if err != nil {
		t.Fatal(err)
	}
	if notice := orphanNotice(f); !strings.Contains(notice, fmt.Sprintf("process %d (busybox, uid 10000, ", pids["cleared"])) &&
		!strings.Contains(notice, fmt.Sprintf("process %d (sleep, uid 10000, ", pids["cleared"])) {
		t.Errorf("status says %q, not that %d is nobody's", notice, pids["cleared"])
	}
}
