package s6

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/stray"
	"hermes/internal/testkit"
)

// marked waits until a slot's run has exec'd with its mark.
func marked(t *testing.T, d Scandir, slot string) State {
	t.Helper()
	pid := stubborn(t, d, slot)
	s := state(t, d, slot)
	if s.PID != pid {
		t.Fatalf("process %d runs, and then %d", pid, s.PID)
	}
	return s
}

// TestCopyAfterKilledSupervisor: s6 starts a second copy when its s6-supervise
// was killed. It is found, its command ends it, and the run that s6 knows of is
// no copy.
func TestCopyAfterKilledSupervisor(t *testing.T) {
	d := running(t)
	slots := []string{"gateway-coder", "gateway-other"}
	for _, slot := range slots {
		must(t, d.Register(t.Context(), spec(t, slot, "sleep")))
		marked(t, d, slot)
	}
	first := state(t, d, "gateway-coder")
	if got, err := d.FindCopies(t.Context(), slots, "test", Helper{}); err != nil || len(got) > 0 {
		t.Fatalf("before anything was killed: %+v, %v", got, err)
	}
	killSupervisor(t, d, "gateway-coder")
	eventually(t, "s6 starts another", func() bool {
		s := state(t, d, "gateway-coder")
		return s.Supervised() && s.Up() && s.PID != first.PID
	})
	second := marked(t, d, "gateway-coder")
	got, err := d.FindCopies(t.Context(), slots, "test", Helper{})
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	c := got[0]
	if c.Slot != "gateway-coder" || c.Group != first.PID || !slices.Equal(c.PIDs, []int{first.PID}) || c.Name != "sleep" ||
		c.UID != uint32(os.Getuid()) || c.Mark.Generation != uint64(first.PID) || c.Start == 0 {
		t.Errorf("%+v, want that of %d", c, first.PID)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", c.End()).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", c.End(), err, out)
	}
	eventually(t, "the copy is gone", func() bool {
		got, err := d.FindCopies(t.Context(), slots, "", Helper{})
		return err == nil && len(got) == 0
	})
	if now := state(t, d, "gateway-coder"); now != second {
		t.Errorf("the run was %+v and is %+v", second, now)
	}
}

// TestCopyOfAStoppedSlot: what lives of a slot that is down is found as well,
// and other slots and other fleets are not this one's.
func TestCopyOfAStoppedSlot(t *testing.T) {
	d := running(t)
	s := spec(t, "gateway-coder", "sleep")
	s.Down = true
	must(t, d.Register(t.Context(), s))
	var groups []int
	for _, mark := range []stray.Mark{
		{Slot: "gateway-coder", Generation: 3, Lineage: "test"},
		{Slot: "gateway-coder", Generation: 3, Lineage: "others"},
		{Slot: "gateway-coder2", Generation: 3, Lineage: "test"},
	} {
		groups = append(groups, sleeper(t, nil, mark).Process.Pid)
	}
	for lineage, want := range map[string][]int{"test": groups[:1], "": groups[:2], "none": nil} {
		got, err := d.FindCopies(t.Context(), []string{"gateway-coder"}, lineage, Helper{})
		var found []int
		for _, c := range got {
			found = append(found, c.Group)
		}
		slices.Sort(found)
		if err != nil || !slices.Equal(found, want) {
			t.Errorf("of lineage %q: %v, %v, want %v", lineage, found, err, want)
		}
	}
}

// sleeper is a process with a mark, the leader of its group, once it has
// exec'd.
func sleeper(t *testing.T, as *syscall.Credential, mark stray.Mark) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "100000")
	cmd.Dir, cmd.Env = "/", []string{stray.Variable + "=" + mark.String()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: as}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// TestHelperLooks: root that may not trace, as in Docker, cannot read the
// environment of another uid's processes; the helper, which is of that uid,
// can.
func TestHelperLooks(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root looks as another uid")
	}
	m := stray.Mark{Slot: "gateway-coder", Generation: 1, Lineage: fmt.Sprintf("helper%d", os.Getpid())}
	c := sleeper(t, &syscall.Credential{Uid: fleet, Gid: fleet}, m)
	// A root without CAP_SYS_PTRACE asks: the test binary again.
	helper := exec.CommandContext(t.Context(), "/proc/self/exe")
	helper.Dir = "/"
	helper.Env = append(os.Environ(), noPause, "S6_TEST_DO=copies "+m.Lineage+" "+m.Slot)
	out, err := helper.CombinedOutput()
	if want := fmt.Sprintf("blind 0\nhelped 1 [%d]\n", c.Process.Pid); err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
}

// lookForCopies is the other side of TestHelperLooks.
func lookForCopies(lineage, slot string) int {
	if err := dropTrace(); err != nil {
		fmt.Println(err)
		return 1
	}
	request := stray.Request{Slots: []string{slot}, Lineage: lineage}
	blind, err := Helper{}.find(context.Background(), request)
	helped, err2 := Helper{Path: "/proc/self/exe", UID: fleet, GID: fleet}.find(context.Background(), request)
	if err = errors.Join(err, err2); err != nil {
		fmt.Println(err)
		return 1
	}
	var pids []int
	for _, r := range helped {
		pids = append(pids, r.PID)
	}
	fmt.Printf("blind %d\nhelped %d %v\n", len(blind), len(helped), pids)
	return 0
}

// dropTrace gives up what lets root look into other uids' processes, for this
// goroutine's thread.
func dropTrace() error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for _, c := range []int{unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN, unix.CAP_PERFMON} { // newer kernels take either
		data[c/32].Effective &^= 1 << (c % 32)
		data[c/32].Permitted &^= 1 << (c % 32)
	}
	return unix.Capset(&header, &data[0])
}

// TestCopies is the part without processes.
func TestCopies(t *testing.T) {
	report := func(slot string, pid, group int, start uint64, mark string) stray.Report {
		return stray.Report{Process: stray.Process{PID: pid, Group: group, Start: start, Name: "g"}, Slot: slot, Mark: mark}
	}
	found := []stray.Report{
		report("gateway-a", 12, 10, 5, "gateway-a.1@x"), // a child of the first run
		report("gateway-a", 10, 10, 4, "gateway-a.1@x"),
		report("gateway-a", 20, 20, 6, "gateway-a.2@x"), // the run
		report("gateway-a", 21, 21, 7, "gateway-a.2@x"), // a daemon of the run
		report("gateway-b", 30, 30, 3, "gateway-b.2@x"),
		report("gateway-b", 40, 1, 3, "gateway-b.1@x"), // a group that must not be ended
	}
	got := copies(found, []string{"gateway-a", "gateway-b"}, []int{20, 0})
	var lines []string
	for _, c := range got {
		lines = append(lines, fmt.Sprintf("%s %d %v %s", c.Slot, c.Mark.Generation, c.PIDs, c.End()))
	}
	want := "gateway-b 2 [30] kill -- -30, gateway-a 1 [10 12] kill -- -10"
	if s := strings.Join(lines, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}
