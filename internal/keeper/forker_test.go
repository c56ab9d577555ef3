package keeper_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
)

// A child that hangs in its exec holds on to nothing of other runs, and a fork
// costs the same in any fleet.
func TestAForkCopiesNoDescriptorsOfOtherRuns(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{})
	const others = 40
	for i := range others {
		f.stays("s"+strconv.Itoa(i), 1)
	}
	path, release := hangingProgram(t)
	before := enginetest.Processes(t, f.PID)
	hung := f.hang("h", 1, path)
	// Two each: a lock and a pipe. The copies of a thread that has no table of
	// its own would be at least as many as the others are.
	copies := func(pid int) int {
		t.Helper()
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, fd := range fds {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
			if err == nil && strings.HasSuffix(to, ".lock") {
				n++
			}
		}
		return n
	}
	for pid := range enginetest.Processes(t, f.PID) {
		if _, known := before[pid]; !known && copies(pid) > 2 {
			t.Errorf("the child has copies of %d locks", copies(pid))
		}
	}
	if n := copies(f.PID); n < others {
		t.Errorf("of the keeper /proc shows %d locks: the table of a forker", n)
	}
	release()
	if err := <-hung; err != nil {
		t.Fatal(err)
	}
}

// An old kernel, under Docker's profile, has no call for it.
func TestForksShareATableWhereTheyMust(t *testing.T) {
	t.Parallel()
	f := start(t, enginetest.KeeperOptions{SharedTable: true})
	enginetest.Until(t, "it is said", func() bool { return strings.Contains(f.Output(), "descriptor tables of their own") })
	before := f.fds()
	path, release := hangingProgram(t)
	hung := f.hang("h", 1, path)
	for generation := range uint64(3) {
		run := f.stays("a", generation)
		if err := f.Runner.Signal(f.ctx, "a", generation, unix.SIGTERM, true); err != nil {
			t.Fatal(err)
		}
		if e := f.exits("a"); e.Signal != unix.SIGTERM || alive(run.PID) {
			t.Errorf("a ended with %+v", e)
		}
		if err := f.Forget(f.ctx, "a", generation); err != nil {
			t.Fatal(err)
		}
	}
	release()
	if err := <-hung; err != nil {
		t.Fatal(err)
	}
	if err := f.Runner.Signal(f.ctx, "h", 1, unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	f.exits("h")
	if err := f.Forget(f.ctx, "h", 1); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the keeper's descriptors are as before", func() bool { return f.fds() == before })
}
