package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/supervisor"
)

// bootLog is container-boot.log without its times.
func (r *rig) bootLog() []string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "logs/container-boot.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ `)
	var lines []string
	for line := range strings.Lines(string(b)) {
		if !stamp.MatchString(line) {
			r.t.Errorf("no time in %q", line)
		}
		lines = append(lines, strings.TrimSpace(stamp.ReplaceAllString(line, "")))
	}
	return lines
}

// TestBootTable: the table of the boot, carried out.
func TestBootTable(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.options.Settings.StartParallel = 100
		r.profile("up")
		r.intend("up", profile.Running)
		r.profile("down")
		r.intend("down", profile.Stopped)
		r.profile("parked")
		r.intend("parked", profile.Running)
		r.writeJSON("parked", "supervision.json", profile.Supervision{
			Version: 1, Keeper: "before", State: profile.StateParked, Reason: "exit 78: typo", IntentGeneration: 3,
			Exits: []profile.Exit{{Run: 1, Code: 78}},
		})
		r.profile("loops")
		r.intend("loops", profile.Running)
		r.writeJSON("loops", "supervision.json", profile.Supervision{
			Version: 1, Keeper: "before", State: profile.StateBackoff, Failures: 9, NextRetryAt: time.Now().Add(time.Minute),
			IntentGeneration: 3, Exits: []profile.Exit{{Run: 1, Code: 1}},
		})
		r.profile("cut")
		r.intend("cut", profile.Running)
		r.writeJSON("cut", "supervision.json", profile.Supervision{Version: 1, Keeper: "before", State: profile.StateRunning, IntentGeneration: 3, Restarting: true})
		r.profile("legacy-up")
		r.write("legacy-up", "gateway_state.json", `{"gateway_state":"running","pid":1}`)
		r.profile("legacy-down")
		r.write("legacy-down", "gateway_state.json", `{"gateway_state":"startup_failed"}`)
		r.profile("nothing")
		r.profile("newer")
		r.write("newer", "gateway_intent.json", `{"version":99,"intent":"running"}`)
		r.profile("senseless")
		r.write("senseless", "gateway_intent.json", `{"version":`)
		r.write("senseless", "gateway_state.json", `\x00`)
		for _, name := range []string{"../profiles/default", "Upper", ".dot"} {
			r.profile(name)
		}
		r.boot()

		r.fleetIs("cut running, down stopped, legacy-down stopped, legacy-up running, loops backoff, newer stopped, " +
			"nothing stopped, parked parked, senseless stopped, up running")
		want := []string{
			"profile=default prior_state=none action=registered prior_exit=unknown",
			"profile=cut prior_state=running action=started prior_exit=unclean",
			"profile=down prior_state=stopped action=registered prior_exit=unknown",
			"profile=legacy-down prior_state=startup_failed action=registered prior_exit=unknown",
			"profile=legacy-up prior_state=running action=started prior_exit=unknown",
			"profile=loops prior_state=backoff action=started prior_exit=unclean",
			"profile=newer prior_state=unreadable action=registered prior_exit=unknown",
			"profile=nothing prior_state=none action=registered prior_exit=unknown",
			"profile=parked prior_state=parked action=registered prior_exit=unclean",
			"profile=senseless prior_state=corrupt action=registered prior_exit=unknown",
			"profile=up prior_state=running action=started prior_exit=unknown",
			"profile=.dot prior_state=none action=skipped prior_exit=unknown",
			"profile=Upper prior_state=none action=skipped prior_exit=unknown",
		}
		if got := r.bootLog(); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if i := r.intent("legacy-up"); i.Intent != profile.Running || i.ChangedBy != "migration" {
			t.Errorf("legacy-up: %+v", i)
		}
		if i := r.intent("nothing"); i.Intent != profile.Stopped {
			t.Errorf("nothing: %+v", i)
		}
		if b, _ := os.ReadFile(r.path("newer", "gateway_intent.json")); !strings.Contains(string(b), "99") {
			t.Errorf("what could not be read was written: %s", b)
		}
		if g := r.gateway("newer"); !strings.Contains(g.Reason, "newer hermes") {
			t.Errorf("newer: %+v", g)
		}
		if g := r.gateway("parked"); g.Reason != "exit 78: typo" {
			t.Errorf("parked: %+v", g)
		}
		r.pass(time.Minute - time.Second)
		r.is("loops", profile.StateBackoff)
		r.pass(time.Second)
		r.is("loops", profile.StateRunning)
		r.setAside("senseless", "gateway_intent.json")
		r.setAside("senseless", "gateway_state.json")
		r.noticed("file_set_aside")
		r.kill()
		r.comeBack()
		r.is("cut", profile.StateRunning)
		r.spawned("cut", 1) // the restart that the power cut interrupted is done
	})
}

// TestTornIntent: that the wish was lost is the reason until the next command.
func TestTornIntent(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.write("anna", "gateway_intent.json", `{"version":`)
		r.boot()
		for range 2 { // the second is another supervisor's word
			if g := r.gateway("anna"); !strings.Contains(g.Reason, "set aside as gateway_intent.json.corrupt-") {
				t.Errorf("%+v", g)
			}
			r.comeBack()
		}
		r.must(stopIt, "anna")
		r.must(startIt, "anna")
		if g := r.gateway("anna"); g.Reason != "" {
			t.Errorf("once started: %+v", g)
		}
	})
}

// TestSkippedIsSaidOnce, by the boot and not again by the watch.
func TestSkippedIsSaidOnce(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("Upper")
		log := r.logTo()
		r.boot()
		r.look()
		if n := strings.Count(log.String(), "entry=Upper"); n != 1 {
			t.Errorf("profiles/Upper is warned of %d times", n)
		}
	})
}

func (r *rig) setAside(name, file string) {
	r.t.Helper()
	aside, err := filepath.Glob(r.path(name, file+".corrupt-*"))
	if err != nil || len(aside) != 1 {
		r.t.Errorf("%s of %s was not set aside: %v", file, name, aside)
	}
}

func (r *rig) noticed(code string) api.Notice {
	r.t.Helper()
	fleet, err := r.fleet.Fleet(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range fleet.Notices {
		if n.Code == code {
			return n
		}
	}
	r.t.Errorf("no notice %s in %+v", code, fleet.Notices)
	return api.Notice{}
}

// strict checks, at every spawn, that the intent is on disk.
type strict struct {
	*enginetest.Fake
	r *rig
}

func (s strict) Spawn(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	name, _ := profile.FromSlot(spec.Slot)
	if i := s.r.intent(string(name)); i.Intent != profile.Running {
		s.r.t.Errorf("%s is started and its intent on disk is %q", name, i.Intent)
	}
	return s.Fake.Spawn(ctx, spec)
}

func TestIntentIsOnDiskBeforeTheStart(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "bert", "cleo"} {
			r.profile(name)
		}
		r.write("anna", "gateway_state.json", `{"gateway_state":"running"}`)
		if err := r.open(strict{r.fake, r}).Boot(t.Context(), supervisor.BootRequest{Wanted: []profile.Name{"bert"}, By: "me"}); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.must(startIt, "cleo")
		r.must(restartIt, "anna")
		r.fleetIs("anna running, bert running, cleo running")
		if got := r.intent("bert").ChangedBy; got != "me" {
			t.Errorf("bert is wanted by %q", got)
		}
	})
}

// TestUnwritableIntent: a gateway whose intent cannot be written is left as it
// is found, and says why.
func TestUnwritableIntent(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.profile("bert")
		r.boot()
		spoil(r, "anna", "gateway_intent.json")
		r.fails(r.do(startIt, "anna"), "cannot write", "gateway_intent.json")
		r.is("anna", profile.StateStopped)
		r.must(startIt, "bert")
		r.leave()
		// A directory makes no sense and is set aside; a link to nowhere cannot be.
		r.fake = r.fake.Successor()
		r.boot("anna")
		r.fleetIs("anna running, bert running")
	})
}

// TestContainerCommand starts its gateway at every boot, and not when only the
// supervisor is new.
func TestContainerCommand(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Stopped)
		r.options.Commands = []reconcile.Command{{Profile: "anna"}}
		r.boot()
		r.is("anna", profile.StateRunning)
		if got := r.intent("anna"); got.ChangedBy != "container command" {
			t.Errorf("intent %+v", got)
		}
		result, err := r.fleet.Stop(t.Context(), "anna", profile.Request{By: "tester"})
		if err != nil || len(result.Hints) != 1 || !strings.Contains(result.Hints[0], "next boot") {
			t.Errorf("stop: %+v, %v", result, err)
		}
		r.kill()
		r.comeBack()
		r.is("anna", profile.StateStopped)
		r.reboot()
		r.is("anna", profile.StateRunning)
	})
}

// TestForegroundCommand: what the container's command runs itself is down for
// this boot, however often the supervisor is new, until somebody says start.
func TestForegroundCommand(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.options.Commands = []reconcile.Command{{Profile: "anna", Foreground: true}}
		r.boot()
		check := func(want profile.State) {
			t.Helper()
			r.pass(time.Second)
			r.is("anna", want)
			if r.intent("anna").Intent != profile.Running {
				t.Fatal("its intent was touched")
			}
		}
		check(profile.StateStopped)
		if g := r.gateway("anna"); !strings.Contains(g.Reason, "foreground") {
			t.Errorf("%+v", g)
		}
		r.kill()
		r.comeBack()
		check(profile.StateStopped)
		r.must(startIt, "anna")
		check(profile.StateRunning)
		r.kill()
		r.comeBack()
		check(profile.StateRunning)
		r.end("anna", 1)
		r.pass(time.Second)
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 2)
		r.reboot()
		check(profile.StateStopped)
	})
}

// TestReturningGrantsNoWishTwice: `hermes up anna` is a wish of the boot, not
// of every supervisor after it; and only a boot is logged.
func TestReturningGrantsNoWishTwice(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.must(stopIt, "anna")
		lines := len(r.bootLog())
		r.kill()
		r.start(supervisor.BootRequest{Returning: true, Wanted: []profile.Name{"anna"}, By: "hermes up"})
		r.is("anna", profile.StateStopped)
		if got := len(r.bootLog()); got != lines {
			t.Errorf("%d lines of boot, were %d", got, lines)
		}
	})
}

// TestPlanChangesNothing: not even what makes no sense is set aside.
func TestPlanChangesNothing(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		r.boot()
		r.pass(time.Second)
		r.write("anna", "gateway_intent.json", "{")
		lines, err := r.fleet.Plan(t.Context())
		if err != nil || len(lines) != 2 || !strings.Contains(lines[1], "profile=anna prior_state=running action=registered") {
			t.Errorf("plan %q, %v", lines, err)
		}
		if b, err := os.ReadFile(r.path("anna", "gateway_intent.json")); err != nil || string(b) != "{" {
			t.Errorf("the plan touched the file: %q, %v", b, err)
		}
	})
}

func TestBootOverAFailingRunner(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		for _, err := range []error{engine.ErrGone, errors.New("out of order")} {
			got := r.open(enginetest.NewFailing(err)).Boot(t.Context(), bootRequest())
			if !errors.Is(got, err) {
				t.Errorf("boot: %v, want %v", got, err)
			}
			r.leave()
		}
	})
}

// TestRunnerThatOnlyFails: nothing hangs, everything says so.
func TestRunnerThatOnlyFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.intend("anna", profile.Running)
		if err := r.open(listsNothing{enginetest.NewFailing(errors.New("out of order"))}).Boot(t.Context(), bootRequest()); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.is("anna", profile.StateBackoff)
		r.fails(r.do(restartIt, "anna"), "out of order")
		r.must(stopIt, "anna")
		r.is("anna", profile.StateStopped)
		r.fleet.Shutdown(t.Context())
	})
}

type listsNothing struct{ *enginetest.Failing }

func (listsNothing) List(context.Context) ([]engine.Run, error) { return nil, nil }

// TestRunEndsWithItsRunner, so that the process can.
func TestRunEndsWithItsRunner(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		r.fake.AskShutdown()
		<-r.asked
		r.fake.Gone()
		if err := <-r.ran; !errors.Is(err, engine.ErrGone) {
			t.Errorf("it ended with %v", err)
		}
		r.ran <- nil // for leave
	})
}

// TestUnreadableHome: without a list of profiles nothing is concluded.
func TestUnreadableHome(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		r.boot("anna")
		r.kill()
		if err := r.open(r.fake).Boot(t.Context(), supervisor.BootRequest{Returning: true}); err != nil {
			t.Fatal(err)
		}
		r.run()
		r.home.Close() // what a dead mount amounts to
		if _, err := r.fleet.Gateway(t.Context(), "unknown"); err == nil {
			t.Fatal("an unknown gateway was found")
		}
		r.noticed("profiles_unscanned")
		if !r.lives("anna") {
			t.Fatal("anna was ended")
		}
		r.is("anna", profile.StateRunning)
	})
}

// TestStaleFilesAreRemoved of gateways that are gone, and of no other.
func TestStaleFilesAreRemoved(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"anna", "bert"} {
			r.profile(name)
			r.write(name, "gateway.pid", "1")
			r.write(name, "processes.json", "{}")
		}
		r.boot("anna")
		there := func(name string) (n int) {
			for _, file := range []string{"gateway.pid", "processes.json"} {
				if _, err := os.Stat(r.path(name, file)); err == nil {
					n++
				}
			}
			return n
		}
		if there("anna")+there("bert") != 0 {
			t.Error("stale files are there after the boot")
		}
		r.write("anna", "gateway.pid", "2")
		r.write("bert", "gateway.pid", "2")
		r.kill()
		r.comeBack()
		if there("anna") != 1 || there("bert") != 0 {
			t.Errorf("anna, who lives, has %d files, bert %d", there("anna"), there("bert"))
		}
	})
}
