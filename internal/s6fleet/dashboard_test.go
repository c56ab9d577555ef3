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
	"hermes/internal/server"
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
	say := filepath.Join(w.Home, "notify")
	if err := os.WriteFile(say, []byte("READY=1"), 0o600); err != nil {
		t.Fatal(err)
	}
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
	if err := os.WriteFile(say, []byte("READY=1"), 0o600); err != nil { // for the run that comes
		t.Fatal(err)
	}
	second, err := s.Fleet.RestartDashboard(ctx, server.Request{By: "test"})
	if err != nil || second.PID == first.PID || second.State != string(profile.StateRunning) || second.LastExit == nil || !second.LastExit.Asked {
		t.Errorf("RestartDashboard: %+v, %v; it was %+v", second, err, first)
	}
	// One whose settings can never work is parked with its words.
	if err := os.WriteFile(filepath.Join(w.Home, "exit"), []byte("78"), 0o600); err != nil {
		t.Fatal(err)
	}
	parked, err := s.Fleet.RestartDashboard(ctx, server.Request{By: "test"})
	if fault.CodeOf(err) != fault.GatewayFailed || parked.State != string(profile.StateParked) || !strings.HasPrefix(parked.Reason, "exit 78") || parked.Hint != "hermes dashboard --restart" {
		t.Errorf("RestartDashboard of one that cannot run: %+v, %v", parked, err)
	}
}
