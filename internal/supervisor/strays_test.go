package supervisor_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/testkit"
)

// orphan makes this process the reaper of one that has lost its parent, grown
// old enough to be no start that is being answered.
func orphan(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		testkit.Unavailable(t, "this system has no subreapers: %v", err)
	}
	out, err := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	})
	<-time.After(400 * time.Millisecond)
}

// withOrphan runs a test in a bubble whose fleet finds a process that may be of
// any gateway. What is to look at it does as p says.
func withOrphan(t *testing.T, p enginetest.Program, f func(r *rig)) {
	t.Helper()
	t.Parallel()
	orphan(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, enginetest.NewFake())
		r.bubble = true
		r.options.KeeperPID, r.options.Lineage = os.Getpid(), "lin"
		for place := range 2 {
			r.fake.Script(fmt.Sprintf("strays-%d", place+1), p)
		}
		f(r)
	})
}

func (r *rig) notice(code string) string {
	r.t.Helper()
	fleet, err := r.fleet.Fleet(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range fleet.Notices {
		if n.Code == code {
			return n.Message
		}
	}
	return ""
}

// TestNextRunWaitsForStrays: nothing is started, and no stop is confirmed,
// before what the last run left has been looked for; a search that does not
// come to an end is given up, and shown.
func TestNextRunWaitsForStrays(t *testing.T) {
	withOrphan(t, enginetest.Program{Hang: true}, func(r *rig) {
		r.profile("anna")
		r.boot("anna")
		restarted := r.ask(restartIt, "anna")
		r.pass(14 * time.Second)
		if _, lives := r.fake.Living(slotOf("anna")); lives || !open(restarted) {
			t.Error("the next run did not wait")
		}
		r.pass(2 * time.Second)
		if open(restarted) || <-restarted != nil {
			t.Error("the search is not given up")
		}
		r.spawned("anna", 2)
		if got := r.notice("strays_unseen"); !strings.HasPrefix(got, "cannot look for what gateway-anna left: ") {
			t.Errorf("shown: %q", got)
		}
		stopped := r.ask(stopIt, "anna")
		r.pass(14 * time.Second)
		r.is("anna", profile.StateStopped)
		if !open(stopped) {
			t.Error("the stop did not wait")
		}
		r.pass(2 * time.Second)
		if open(stopped) || <-stopped != nil {
			t.Error("the stop is not confirmed")
		}
	})
}

// TestSearchThatFails keeps nothing from running, and is shown.
func TestSearchThatFails(t *testing.T) {
	for name, p := range map[string]enginetest.Program{
		"not started": {Fail: unix.EAGAIN},
		"no answer":   {Exit: true, Code: 2},
	} {
		t.Run(name, func(t *testing.T) {
			withOrphan(t, p, func(r *rig) {
				r.profile("anna")
				r.boot("anna")
				r.must(restartIt, "anna")
				r.must(stopIt, "anna")
				if r.notice("strays_unseen") == "" {
					t.Error("nothing is shown")
				}
				if got := r.notice("orphans_left"); got != "" {
					t.Errorf("a process nobody has looked at is called nobody's: %q", got)
				}
			})
		})
	}
}

// TestNoSearchInAShutdown: the keeper ends what is left then, and starts
// nothing.
func TestNoSearchInAShutdown(t *testing.T) {
	withOrphan(t, enginetest.Program{Hang: true}, func(r *rig) {
		r.profile("anna")
		r.boot("anna")
		began := time.Now()
		r.fleet.Shutdown(r.t.Context())
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestSearchIsLeft with the supervisor.
func TestSearchIsLeft(t *testing.T) {
	withOrphan(t, enginetest.Program{Hang: true}, func(r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.ask(restartIt, "anna")
		began := time.Now()
		r.fleet.Leave(r.t.Context())
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestSearchIsTakenUp by the supervisor that follows one that was killed before
// it was done.
func TestSearchIsTakenUp(t *testing.T) {
	withOrphan(t, enginetest.Program{Exit: true, Code: 2}, func(r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.must(stopIt, "anna")
		r.pass(time.Second) // the exit is on record and forgotten
		searches := func() int { return r.fake.Spawned("strays-1") + r.fake.Spawned("strays-2") }
		before := searches()
		r.kill()
		r.comeBack()
		r.pass(time.Second)
		if now := searches(); before == 0 || now == before {
			r.t.Errorf("%d searches before, %d after", before, now)
		}
		r.is("anna", profile.StateStopped)
	})
}
