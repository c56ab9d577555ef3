package dashboard

import (
	"testing"
	"time"

	"hermes/api"
)

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		intent, state, health string
		failing               bool
		want                  level
	}{
		{"running", "running", "ok", false, levelOK},
		{"running", "running", "unknown", false, levelOK},
		{"running", "running", "degraded", false, levelWarn},
		{"running", "running", "unready", false, levelWarn},
		{"running", "running", "ok", true, levelWarn},
		{"stopped", "running", "ok", false, levelWarn},
		{"running", "starting", "unready", false, levelBusy},
		{"stopped", "stopping", "draining", false, levelBusy},
		{"running", "backoff", "unknown", false, levelBad},
		{"running", "parked", "unknown", false, levelBad},
		{"running", "stopped", "unknown", false, levelBad},
		{"stopped", "stopped", "unknown", false, levelOff},
		{"running", "of a later engine", "", false, levelWarn},
	} {
		g := api.Gateway{Intent: tt.intent, State: tt.state, Health: tt.health, LogFailing: tt.failing}
		if got := levelOf(&g); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestReasons(t *testing.T) {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	killed := api.Gateway{State: "running", Intent: "running", Restarts: 1, LastExit: &api.Exit{Signal: "SIGKILL", At: at}}
	for want, g := range map[string]api.Gateway{
		"":                                      {State: "running", Intent: "running", LastExit: &api.Exit{Signal: "SIGKILL", At: at}},
		"exit 78":                               {Reason: "exit 78", Status: "loading"},
		"loading":                               {Status: "loading", State: "starting"},
		"its log cannot be written: no space":   {LogFailing: true, LogError: "no space"},
		"it runs although it is wanted stopped": {State: "running", Intent: "stopped"},
		"last run: SIGKILL at 2026-11-23 03:00:00 UTC": killed,
	} {
		if got := reasonOf(&g); got != want {
			t.Errorf("%+v: %q, want %q", g, got, want)
		}
	}
}

func TestSamples(t *testing.T) {
	s := newSamples()
	at := noon()
	for i := range sampleCount + 5 {
		s.add(at.Add(time.Duration(i)*sampleEvery), []row{{Profile: "a", Memory: int64(i+1) << 10}})
	}
	s.add(at.Add((sampleCount+4)*sampleEvery+time.Second), []row{{Profile: "a", Memory: 1 << 40}}) // too soon
	all := s.of("a")
	if len(all) != sampleCount || all[0].bytes != 6<<10 || all[sampleCount-1].bytes != (sampleCount+5)<<10 || all[1].at-all[0].at != sampleEvery.Milliseconds() {
		t.Errorf("%d samples, first %+v, last %+v", len(all), all[0], all[len(all)-1])
	}
	s.add(at.Add((sampleCount+5)*sampleEvery), []row{{Profile: "b", Memory: 1 << 60}})
	if b := s.of("b"); len(b) != 1 || b[0].bytes != (1<<32-1)<<10 {
		t.Errorf("b has %+v", b)
	}
	if a := s.of("a"); a[len(a)-1].bytes != 0 {
		t.Error("a is gone and has a sample")
	}
	s.drop("a")
	if s.of("a") != nil || s.of("never") != nil {
		t.Error("samples of nobody")
	}
}
