package supervisor_test

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hermes/api"
	"hermes/internal/engine/enginetest"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

const dashboardSlot = profile.DashboardSlot

// withDashboard has the fleets to come run the dashboard.
func (r *rig) withDashboard() { r.options.Dashboard = true }

func (r *rig) dashboard() api.Dashboard {
	r.t.Helper()
	fleet, err := r.fleet.Fleet(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if fleet.Dashboard == nil {
		r.t.Fatal("the fleet has no dashboard")
	}
	return *fleet.Dashboard
}

func (r *rig) dashboardIs(want profile.State) {
	r.t.Helper()
	if d := r.dashboard(); d.State != string(want) {
		r.t.Fatalf("the dashboard is %s (%s), want %s", d.State, d.Reason, want)
	}
}

// endDashboard has its run end, and waits until that is dealt with.
func (r *rig) endDashboard(code int) {
	r.t.Helper()
	if !r.fake.End(dashboardSlot, code) {
		r.t.Fatal("the dashboard has no run to end")
	}
	r.settle()
}

func (r *rig) dashboardRuns(want int) {
	r.t.Helper()
	if got := r.fake.Spawned(dashboardSlot); got != want {
		r.t.Fatalf("the dashboard was spawned %d times, want %d", got, want)
	}
}

// TestDashboardIsNoGateway: it is a slot of its own, which no list, no action on
// all and no readiness knows of.
func TestDashboardIsNoGateway(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.profile("anna")
		r.profile("dashboard") // a profile may be called so
		r.boot("anna", "dashboard")
		r.dashboardIs(profile.StateStarting)
		r.fleetIs("anna running, dashboard running")
		if h := r.fleet.Ready(t.Context()); !h.OK {
			t.Errorf("not ready: %+v", h)
		}
		profiles, err := r.fleet.List(t.Context())
		if err != nil || len(profiles) != 3 {
			t.Errorf("%v: profiles %+v", err, profiles)
		}
		pid := r.dashboard().PID
		for _, action := range []string{"restart", "stop"} {
			var said []string
			err := r.fleet.All(t.Context(), action, profile.Request{By: "tester"}, func(res api.ActionResult) {
				said = append(said, res.Gateway.Slot)
			})
			slices.Sort(said)
			if err != nil || strings.Join(said, " ") != "gateway-anna gateway-dashboard" {
				t.Errorf("%s --all: %v: %v", action, err, said)
			}
		}
		r.pass(time.Second)
		if got := r.dashboard(); got.PID != pid {
			t.Errorf("--all made pid %d of %d", got.PID, pid)
		}
		r.endDashboard(78)
		if h := r.fleet.Ready(t.Context()); !h.OK || !r.fleet.Live(t.Context()).OK {
			t.Errorf("its end made the fleet not ready: %+v", h)
		}
	})
}

// TestDashboardNamedToGateways: a command to a gateway that names it is told
// what it is, unless a profile is called so or there is no dashboard.
func TestDashboardNamedToGateways(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		for _, with := range []bool{false, true} {
			r.options.Dashboard = with
			r.boot()
			_, err := r.fleet.Why(t.Context(), dashboardSlot)
			if fault.CodeOf(err) != fault.GatewayNotRegistered || strings.Contains(err.Error(), "but is no gateway") != with {
				t.Errorf("with one: %v: %v", with, err)
			}
			r.kill()
		}
	})
}

// TestNoDashboard: where the settings want none there is none.
func TestNoDashboard(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.boot()
		fleet, err := r.fleet.Fleet(t.Context())
		if err != nil || fleet.Dashboard != nil {
			t.Errorf("%v: %+v", err, fleet.Dashboard)
		}
		r.dashboardRuns(0)
		_, err = r.fleet.RestartDashboard(t.Context(), profile.Request{})
		if fault.CodeOf(err) != fault.DashboardOff {
			t.Errorf("restart: %v", err)
		}
	})
}

// TestDashboardThatMayNotServe: 78 parks it, with its words as the reason and
// the command that starts it again; the next boot tries once more.
func TestDashboardThatMayNotServe(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.profile("anna")
		r.boot("anna")
		r.endDashboard(78)
		r.pass(time.Hour)
		d := r.dashboard()
		if d.State != "parked" || !strings.HasPrefix(d.Reason, "exit 78 (configuration)") || d.Hint != "hermes dashboard --restart" {
			t.Errorf("%+v", d)
		}
		r.dashboardRuns(1)
		r.comeBack()
		r.pass(time.Hour)
		r.dashboardIs(profile.StateParked)
		if got := r.dashboard(); got.Reason != d.Reason {
			t.Errorf("the next supervisor says %q, not %q", got.Reason, d.Reason)
		}
		r.dashboardRuns(1)
		if _, err := r.fleet.RestartDashboard(t.Context(), profile.Request{NoWait: true, By: "tester"}); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.dashboardRuns(2)
		r.dashboardIs(profile.StateStarting)
		r.endDashboard(78)
		r.dashboardIs(profile.StateParked)
		r.comeBack()
		r.dashboardIs(profile.StateParked) // under the wish that a command renewed
		r.kill()
		os.Remove(filepath.Join(filepath.Dir(r.dir), "dashboard.json")) // as the keeper of the next boot does
		r.reboot()
		r.dashboardIs(profile.StateStarting)
		r.is("anna", profile.StateRunning)
	})
}

// TestRestartOfADashboardThatFails says why, and what to type then.
func TestRestartOfADashboardThatFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.boot()
		done := make(chan error, 1)
		ctx := t.Context()
		go func() {
			_, err := r.fleet.RestartDashboard(ctx, profile.Request{By: "tester"})
			done <- err
		}()
		r.settle()
		if !open(done) {
			t.Fatal("answered before the outcome")
		}
		r.endDashboard(78) // of the second run: the first was ended for it
		err := <-done
		r.fails(err, "cannot start dashboard: exit 78")
		if f, ok := err.(*fault.Error); !ok || f.Hint != "hermes dashboard --restart" {
			t.Errorf("hint: %#v", err)
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.fleet.RestartDashboard(late, profile.Request{By: "tester"}); fault.CodeOf(err) != fault.GatewayTimeout {
			t.Errorf("one that does not become ready: %v", err)
		}
	})
}

// TestDashboardCrashes are its own: it comes back, and nobody else goes.
func TestDashboardCrashes(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.profile("anna")
		r.boot("anna")
		pid := r.gateway("anna").PID
		for i := range 5 {
			r.endDashboard(1)
			r.dashboardIs(profile.StateBackoff)
			if d := r.dashboard(); d.NextRetryAt == nil || d.Hint == "" || d.LastExit == nil {
				t.Errorf("%+v", d)
			}
			if i == 2 {
				r.comeBack() // the backoff is kept
				r.dashboardIs(profile.StateBackoff)
			}
			r.pass(10 * time.Second)
			r.dashboardIs(profile.StateStarting)
		}
		r.dashboardRuns(6)
		if got := r.gateway("anna"); got.PID != pid || got.Restarts != 0 {
			t.Errorf("anna: %+v", got)
		}
	})
}

// TestDashboardIsStoppedWithTheFleet, and after it nothing starts it.
func TestDashboardIsStoppedWithTheFleet(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.fake.Script(dashboardSlot, enginetest.Program{Linger: 3 * time.Second})
		r.boot()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r.fleet.Shutdown(ctx)
		if _, lives := r.fake.Living(dashboardSlot); lives {
			t.Error("it lives")
		}
		r.pass(time.Minute)
		r.dashboardRuns(1)
	})
}

// TestDashboardNobodyWants: one that outlived a supervisor whose settings wanted
// it ends under one whose settings do not.
func TestDashboardNobodyWants(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.boot()
		r.kill()
		r.options.Dashboard = false
		r.comeBack()
		if _, lives := r.fake.Living(dashboardSlot); lives {
			t.Error("it lives")
		}
	})
}

// TestDashboardOutlivesItsSupervisor: the same process goes on, known to be
// ready, where its settings said.
func TestDashboardOutlivesItsSupervisor(t *testing.T) {
	r := withPipes(t)
	r.withDashboard()
	r.options.Environ = append(r.options.Environ, "HERMES_DASHBOARD_HOST=0.0.0.0", "HERMES_DASHBOARD_PORT=9200")
	r.write("default", ".env", "HERMES_DASHBOARD_PORT=9300\n")
	r.boot()
	r.until("it lives", func() bool { _, ok := r.fake.Living(dashboardSlot); return ok })
	spec, _ := r.fake.Spec(dashboardSlot)
	enginetest.Datagram(t, spec.Notify, "READY=1")
	r.until("it is ready", func() bool { return r.dashboard().State == "running" })
	before := r.dashboard()
	if before.URL != "http://127.0.0.1:9300" || before.Health != "ok" || before.PID == 0 {
		t.Errorf("%+v", before)
	}
	if err := r.fake.Write(dashboardSlot, "hello from the dashboard\n"); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(r.dir, "logs", "dashboard", "current")
	r.until("its log is written", func() bool {
		b, _ := os.ReadFile(log)
		return strings.Contains(string(b), "hello from the dashboard")
	})
	r.kill()
	r.comeBack()
	r.until("it is known", func() bool { return r.dashboard().State == "running" })
	if after := r.dashboard(); after.PID != before.PID || after.URL != before.URL {
		t.Errorf("%+v, want %+v", after, before)
	}
	r.dashboardRuns(1)
	if err := r.fake.Write(dashboardSlot, "still here\n"); err != nil {
		t.Fatal(err)
	}
	r.until("its log goes on", func() bool {
		b, _ := os.ReadFile(log)
		return strings.Contains(string(b), "still here")
	})
}

// TestWhatTheDashboardIsGiven: the home, no words of another's supervision, and
// no gateway finds the keys of the dashboard.
func TestWhatTheDashboardIsGiven(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.options.Environ = append(r.options.Environ, "HERMES_DASHBOARD_TOKEN=0123456789abcdef", "HERMES_PROFILE=x", "HERMES_HOME=/elsewhere", "NOTIFY_SOCKET=/other")
		r.write("default", ".env", "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD=secret12\nOTHER=1\n")
		r.profile("anna")
		r.boot("anna", "default")
		spec, ok := r.fake.Spec(dashboardSlot)
		if !ok {
			t.Fatal("no run")
		}
		if spec.Path != "/bin/false" || strings.Join(spec.Argv, " ") != "hermes dashboard" || spec.Dir != r.dir {
			t.Errorf("%+v", spec)
		}
		for _, want := range []string{"HERMES_HOME=" + r.dir, "HERMES_DASHBOARD_TOKEN=0123456789abcdef", "NOTIFY_SOCKET=" + spec.Notify} {
			if !slices.Contains(spec.Env, want) {
				t.Errorf("without %s: %v", want, spec.Env)
			}
		}
		for _, kv := range spec.Env {
			if strings.HasPrefix(kv, "HERMES_PROFILE=") || strings.HasPrefix(kv, "OTHER=") {
				t.Errorf("it has %s", kv)
			}
		}
		for _, name := range []string{"anna", "default"} {
			gateway, ok := r.fake.Spec(slotOf(name))
			if !ok {
				t.Fatalf("%s has no run", name)
			}
			if env := strings.Join(gateway.Env, "\n"); strings.Contains(env, "DASHBOARD_TOKEN") || strings.Contains(env, "secret12") {
				t.Errorf("%s can open the dashboard: %s", name, env)
			}
		}
	})
}

// TestEventsOfTheDashboard: what becomes of it is told like a gateway's, of no
// profile; a supervisor that comes back tells nothing twice.
func TestEventsOfTheDashboard(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.withDashboard()
		r.boot()
		r.endDashboard(78)
		r.comeBack()
		r.events.Flush()
		var got []string
		for _, e := range r.events.Page(event.Query{Profile: dashboardSlot}).Events {
			if e.Profile != "" {
				t.Errorf("it is said to be of profile %q", e.Profile)
			}
			got = append(got, e.Kind+" "+e.To+": "+cmp.Or(e.Cause, e.By))
		}
		want := []string{
			"slot added: HERMES_DASHBOARD is set", "intent running: HERMES_DASHBOARD",
			"state starting: it is wanted running", "state parked: exit 78 (configuration)",
		}
		if !slices.Equal(got, want) {
			t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
