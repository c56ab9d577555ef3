package stray

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/slotlock"
	"hermes/internal/testkit"
)

// bystander is the uid of processes that are not the test's.
const bystander = 12346

// child is a process of the test's, in a session of its own.
type child struct {
	*exec.Cmd
	ended chan struct{}
}

// start runs a shell script that says "up" when it is ready.
func start(t *testing.T, script string, attr syscall.SysProcAttr, files []*os.File, env ...string) *child {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	attr.Setsid = true
	cmd.SysProcAttr, cmd.ExtraFiles = &attr, files
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		<-c.ended
	})
	if _, err := fmt.Fscanln(read, new(string)); err != nil {
		t.Fatalf("%q does not come up: %v", script, err)
	}
	if strings.Contains(script, "echo up; exec sleep") {
		untilNamed(t, cmd.Process.Pid, "sleep")
	}
	return c
}

// untilNamed waits until a process has exec'd.
func untilNamed(t *testing.T, pid int, name string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(10 * time.Second); ; <-tick.C {
		if p, ok := Look(pid); ok && p.Name == name {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("process %d does not become %s", pid, name)
		}
	}
}

const sleeper = "echo up; exec sleep 1000 >/dev/null"

// lineage is this process's, so that no other run of these tests is met.
func lineage() string { return "lin" + strconv.Itoa(os.Getpid()) }

func mark(slot string, generation uint64) string {
	return Variable + "=" + Mark{slot, generation, lineage()}.String()
}

// sweepFor sweeps and returns the reports on strays and on orphans.
func sweepFor(r Request) (strays, orphans []Report) {
	r.Lineage = lineage()
	Sweep(r, func(line Report) {
		switch {
		case line.Done:
		case line.Orphan:
			orphans = append(orphans, line)
		default:
			strays = append(strays, line)
		}
	})
	return strays, orphans
}

func (c *child) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		_, ok := Look(c.Process.Pid)
		return ok
	}
}

func pids(reports []Report) []int {
	var all []int
	for _, r := range reports {
		all = append(all, r.PID)
	}
	slices.Sort(all)
	return all
}

// TestSweepEndsWhatIsMarked: of that slot, that run or an earlier one, and of
// that supervisor, and nobody else.
func TestSweepEndsWhatIsMarked(t *testing.T) {
	mine := []*child{
		start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 7)),
		start(t, sleeper, syscall.SysProcAttr{}, nil, "A=b", mark("gateway-anna", 3), "C=d"),
		start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-bert", 1)),
	}
	others := []*child{
		start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 8)),
		start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-ann", 7)),
		start(t, sleeper, syscall.SysProcAttr{}, nil, Variable+"=gateway-anna.7@other"),
		start(t, sleeper, syscall.SysProcAttr{}, nil, Variable+"=gateway-anna.7"),
		start(t, sleeper, syscall.SysProcAttr{}, nil),
	}
	if os.Geteuid() == 0 {
		others = append(others, start(t, sleeper, syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: bystander, Gid: bystander},
		}, nil, mark("gateway-anna", 7)))
	}
	strays, _ := sweepFor(Request{Targets: []Target{
		{Slot: "gateway-anna", Generation: 7, Grace: time.Minute}, {Slot: "gateway-bert", Generation: 1, Grace: time.Minute},
	}})
	var want []int
	for _, c := range mine {
		want = append(want, c.Process.Pid)
	}
	slices.Sort(want)
	if got := pids(strays); !slices.Equal(got, want) {
		t.Errorf("ended %v, want %v", strays, want)
	}
	for _, r := range strays {
		if r.End != Terminated || r.Name != "sleep" || r.Start == 0 || r.UID != uint32(os.Geteuid()) {
			t.Errorf("reported %+v", r)
		}
	}
	for _, c := range mine {
		<-c.ended
	}
	for _, c := range others {
		if !c.alive() {
			t.Errorf("%v was ended", c.Env)
		}
	}
}

// TestSweepSparesTheSupervisor, whatever it carries: it may itself have been
// started by a gateway.
func TestSweepSparesTheSupervisor(t *testing.T) {
	keeper := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	engine := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	strays, _ := sweepFor(Request{
		Targets: []Target{{Slot: "gateway-anna", Generation: 1, Grace: time.Minute}},
		Keeper:  keeper.Process.Pid, Engine: engine.Process.Pid,
	})
	if len(strays) > 0 || !keeper.alive() || !engine.alive() {
		t.Errorf("ended %v", strays)
	}
}

// TestSweepKills what ignores SIGTERM, once its grace is over, and ends what is
// stopped.
func TestSweepKills(t *testing.T) {
	deaf := start(t, `trap "" TERM; echo up; sleep 1000 >/dev/null`, syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	stopped := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	if err := unix.Kill(stopped.Process.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	strays, _ := sweepFor(Request{Targets: []Target{{Slot: "gateway-anna", Generation: 1, Grace: 300 * time.Millisecond}}})
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	ends := map[int]string{}
	for _, r := range strays {
		ends[r.PID] = r.End
	}
	// The shell's sleep inherits that SIGTERM is ignored.
	if len(ends) != 3 || ends[deaf.Process.Pid] != Killed || ends[stopped.Process.Pid] != Terminated {
		t.Errorf("ended %v", strays)
	}
}

// TestSweepFollows what a stray starts when it is told to end.
func TestSweepFollows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "next")
	start(t, `trap 'setsid sleep 1000 >/dev/null & echo $! >`+file+`; exit' TERM; echo up; while :; do sleep 0.05 >/dev/null; done`,
		syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	strays, _ := sweepFor(Request{Targets: []Target{{Slot: "gateway-anna", Generation: 1, Grace: 10 * time.Second}}})
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	next, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pids(strays), next) {
		t.Errorf("ended %v, not %d", strays, next)
	}
}

// TestSweepEndsWhoHoldsTheLock: an orphan without a mark, or what descends from
// one; not who holds another lock, and not a fork of the keeper's.
func TestSweepEndsWhoHoldsTheLock(t *testing.T) {
	lock := func(name string) (*os.File, Target) {
		path := filepath.Join(t.TempDir(), name)
		fd, err := slotlock.Open(path)
		if err == nil {
			err = slotlock.Try(fd)
		}
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), path)
		t.Cleanup(func() { f.Close() })
		inode, err := slotlock.Inode(path)
		if err != nil {
			t.Fatal(err)
		}
		return f, Target{Slot: name, Generation: 1, Grace: time.Minute, Lock: path, Inode: inode}
	}
	mine, target := lock("gateway-anna")
	theirs, theirTarget := lock("gateway-bert")
	holder := start(t, sleeper, syscall.SysProcAttr{}, []*os.File{mine})
	parent := start(t, `sleep 1000 >/dev/null & exec 3>&-; echo up; wait`, syscall.SysProcAttr{}, []*os.File{mine})
	other := start(t, sleeper, syscall.SysProcAttr{}, []*os.File{theirs})
	stranger := start(t, sleeper, syscall.SysProcAttr{}, []*os.File{mine})
	orphans := []int{holder.Process.Pid, parent.Process.Pid, other.Process.Pid}

	wrong := target
	wrong.Inode++
	for _, r := range []Request{
		{Targets: []Target{wrong}, Orphans: orphans},
		{Targets: []Target{target}, Orphans: orphans[2:]},
		{Targets: []Target{target}, Orphans: orphans[:1], Keeper: holder.Process.Pid},
	} {
		if strays, _ := sweepFor(r); len(strays) > 0 {
			t.Fatalf("%+v ended %v", r, strays)
		}
	}
	fork := start(t, "echo up; exec sleep 1000 >/dev/null", syscall.SysProcAttr{}, []*os.File{mine}) // its words are holder's
	if strays, _ := sweepFor(Request{Targets: []Target{target}, Orphans: []int{fork.Process.Pid}, Keeper: other.Process.Pid}); len(strays) > 0 {
		t.Fatalf("what has the keeper's words was ended: %v", strays)
	}
	lost := start(t, "echo up; exec sleep 1001 >/dev/null", syscall.SysProcAttr{}, []*os.File{theirs})
	anywhere := theirTarget
	anywhere.Anywhere = true
	if strays, _ := sweepFor(Request{Targets: []Target{target, anywhere}}); len(strays) != 2 || !slices.Contains(pids(strays), lost.Process.Pid) {
		t.Errorf("of a run whose keeper was killed: ended %v, want %d and %d", strays, lost.Process.Pid, other.Process.Pid)
	}
	other = start(t, sleeper, syscall.SysProcAttr{}, []*os.File{theirs})
	orphans[2] = other.Process.Pid
	strays, named := sweepFor(Request{Targets: []Target{target}, Orphans: orphans})
	if len(strays) != 2 || !slices.Contains(pids(strays), holder.Process.Pid) {
		t.Errorf("ended %v, want %d and the child of %d", strays, holder.Process.Pid, parent.Process.Pid)
	}
	if got := pids(named); !slices.Contains(got, other.Process.Pid) {
		t.Errorf("named %v", named)
	}
	if !other.alive() || !stranger.alive() || !fork.alive() {
		t.Error("a bystander was ended")
	}
}

// TestSweepNamesOrphans with what they carry.
func TestSweepNamesOrphans(t *testing.T) {
	marked := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-bert", 9))
	bare := start(t, sleeper, syscall.SysProcAttr{}, nil)
	_, orphans := sweepFor(Request{Orphans: []int{marked.Process.Pid, bare.Process.Pid, 1 << 30}})
	got := map[int]string{}
	for _, o := range orphans {
		got[o.PID] = o.Mark
	}
	if len(got) != 2 || got[marked.Process.Pid] != "gateway-bert.9@"+lineage() || got[bare.Process.Pid] != "" {
		t.Errorf("named %v", orphans)
	}
}

// TestOrphans: what loses its parent is a child of the reaper's first thread.
func TestOrphans(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		testkit.Unavailable(t, "this system has no subreapers: %v", err)
	}
	c := start(t, `setsid sleep 1000 >/dev/null & echo up; exec sleep 1000 >/dev/null`, syscall.SysProcAttr{}, nil)
	grandchildren, err := childrenOf(c.Process.Pid)
	if err != nil || len(grandchildren) != 1 {
		t.Fatalf("children %v, %v", grandchildren, err)
	}
	orphan := grandchildren[0]
	t.Cleanup(func() {
		_ = unix.Kill(orphan, unix.SIGKILL)
		_, _ = unix.Wait4(orphan, nil, 0, nil)
	})
	if got, err := Orphans(os.Getpid()); err != nil || slices.Contains(got, orphan) {
		t.Fatalf("before it is one: %v, %v", got, err)
	}
	_ = c.Process.Kill()
	<-c.ended
	for what, list := range map[string]func(int) ([]int, error){"Orphans": Orphans, "without the list": childrenOf} {
		if got, err := list(os.Getpid()); err != nil || !slices.Contains(got, orphan) {
			t.Errorf("%s: %v, %v, want %d", what, got, err, orphan)
		}
	}
	untilNamed(t, orphan, "sleep")
	if p, ok := Look(orphan); !ok || p.Name != "sleep" || p.Age() > time.Minute || p.Group != orphan {
		t.Errorf("it looks like %+v, %v", p, ok)
	}
	if _, err := Orphans(1 << 30); err == nil {
		t.Error("a process that is not there has children")
	}
}

// TestFind names the processes of a slot, of whatever run, and ends none; what
// does not let itself be read is told by its uid.
func TestFind(t *testing.T) {
	slot := fmt.Sprintf("gateway-anna%d", os.Getpid()) // of any lineage: other tests run on this machine
	first := start(t, sleeper, syscall.SysProcAttr{}, nil, mark(slot, 1))
	second := start(t, sleeper, syscall.SysProcAttr{}, nil, mark(slot, 2))
	foreign := start(t, sleeper, syscall.SysProcAttr{}, nil, Variable+"="+slot+".1@elsewhere")
	other := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-bert", 1))
	for asked, want := range map[string][]int{
		lineage(): {first.Process.Pid, second.Process.Pid},
		"":        {first.Process.Pid, second.Process.Pid, foreign.Process.Pid},
		"none":    nil,
	} {
		var got []int
		last := Report{}
		hidden := Find(Request{Slots: []string{slot}, Lineage: asked}, func(r Report) {
			if last = r; !r.Done {
				got = append(got, r.PID)
			}
			if m, ok := ParseMark(r.Mark); !r.Done && (!ok || r.Slot != slot || m.Slot != r.Slot || r.Group != r.PID) {
				t.Errorf("%+v", r)
			}
		})
		slices.Sort(want)
		if !slices.Equal(got, want) || !last.Done {
			t.Errorf("of lineage %q: %v, want %v; at the end %+v", asked, got, want, last)
		}
		if os.Geteuid() != 0 && !slices.Contains(hidden, 0) { // process 1 is root's
			t.Errorf("hidden are %v", hidden)
		}
	}
	var out, stderr bytes.Buffer
	request, _ := json.Marshal(Request{Slots: []string{"gateway-bert"}, Lineage: lineage()})
	if code := Main([]string{string(request)}, &out, &stderr); code != 0 || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), fmt.Sprintf(`"pid":%d`, other.Process.Pid)) {
		t.Errorf("%d: %s%s", code, &out, &stderr)
	}
	for _, c := range []*child{first, second, foreign, other} {
		if !c.alive() {
			t.Errorf("process %d was ended", c.Process.Pid)
		}
	}
}

func TestMainAnswers(t *testing.T) {
	c := start(t, sleeper, syscall.SysProcAttr{}, nil, mark("gateway-anna", 1))
	request, err := json.Marshal(Request{Lineage: lineage(), Targets: []Target{{Slot: "gateway-anna", Generation: 1, Grace: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main([]string{string(request)}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Errorf("exit %d, %s", code, &errs)
	}
	var reports []Report
	for lines := json.NewDecoder(&out); lines.More(); {
		var r Report
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	if len(reports) != 2 || reports[0].PID != c.Process.Pid || reports[0].Slot != "gateway-anna" || reports[0].End != Terminated || !reports[1].Done {
		t.Errorf("reports %+v", reports)
	}
	for _, args := range [][]string{nil, {"{"}, {"{}", "{}"}} {
		if code := Main(args, &out, &errs); code != 2 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}
