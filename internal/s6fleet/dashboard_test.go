package s6fleet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/fleettest"
	"hermes/internal/profile"
)

// TestDashboard: it is a slot with its own state, no gateway, and can be
// started again.
func TestDashboard(t *testing.T) {
	s := beginWith(t, fleettest.Options{}, true)
	w := s.World.(*world)
	ctx := t.Context()
	up := func() (d *api.Dashboard) {
		w.until(t, "the dashboard runs", func() bool {
			fleet, err := s.Fleet.Fleet(ctx)
			d = fleet.Dashboard
			return err == nil && d != nil && d.State == string(profile.StateRunning)
		})
		return d
	}
	w.tell(t, "notify", "READY=1")
	first := up()
	if first.Slot != "dashboard" || first.PID == 0 || first.URL != "http://127.0.0.1:9119" || first.Health != "ok" {
		t.Errorf("it is %+v", first)
	}
	fleet, err := s.Fleet.Fleet(ctx)
	if err != nil || len(fleet.Gateways) != 1 {
		t.Errorf("gateways are %+v, %v", fleet.Gateways, err)
	}
	if err := s.Fleet.All(ctx, "stop", request(), func(r api.ActionResult) { t.Errorf("stopped with all: %+v", r) }); err != nil {
		t.Error(err)
	}
	// again restarts it and tells the run that comes something.
	again := func(before int, file, content string) (api.Dashboard, error) {
		t.Helper()
		type answer struct {
			d   api.Dashboard
			err error
		}
		answered := make(chan answer, 1)
		go func() {
			d, err := s.Fleet.RestartDashboard(ctx, profile.Request{By: "test"})
			answered <- answer{d, err}
		}()
		w.until(t, "there is another run", func() bool {
			fleet, err := s.Fleet.Fleet(ctx)
			return err == nil && fleet.Dashboard.PID != 0 && fleet.Dashboard.PID != before
		})
		w.tell(t, file, content)
		a := <-answered
		return a.d, a.err
	}
	second, err := again(first.PID, "notify", "READY=1")
	if err != nil || second.PID == first.PID || second.State != string(profile.StateRunning) || second.LastExit == nil || !second.LastExit.Asked {
		t.Errorf("RestartDashboard: %+v, %v; it was %+v", second, err, first)
	}
	// One whose settings can never work is parked with its words.
	parked, err := again(second.PID, "exit", "78")
	if fault.CodeOf(err) != fault.GatewayFailed || parked.State != string(profile.StateParked) || !strings.HasPrefix(parked.Reason, "exit 78") || parked.Hint != "hermes dashboard --restart" {
		t.Errorf("RestartDashboard of one that cannot run: %+v, %v", parked, err)
	}
}

// tell tells what runs in the home something, in one step: it is taken as soon
// as it is there.
func (w *world) tell(t *testing.T, file, content string) {
	t.Helper()
	path := filepath.Join(w.Home, file)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
