package restart_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hermes/internal/profile"
	"hermes/internal/restart"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	asked := func(ago ...time.Duration) (h []profile.Exit) {
		for _, d := range ago {
			h = append(h, profile.Exit{Code: 75, At: now.Add(-d)})
		}
		return h
	}
	stopped := asked(3*time.Second, 2*time.Second, time.Second)
	for i := range stopped {
		stopped[i].Asked = true
	}
	tests := []struct {
		name    string
		policy  profile.Restart
		history []profile.Exit
		exit    profile.Exit
		want    restart.Verdict
	}{
		{"config parks", profile.RestartAlways, nil, profile.Exit{Code: 78}, restart.Park},
		{"config parks whatever the policy", profile.RestartNever, nil, profile.Exit{Code: 78}, restart.Park},
		{"config parks even after a healthy run", profile.RestartAlways, nil, profile.Exit{Code: 78, Healthy: true}, restart.Park},
		{"crash backs off", profile.RestartAlways, nil, profile.Exit{Code: 1}, restart.Backoff},
		{"signal backs off", profile.RestartOnFailure, nil, profile.Exit{Code: -1, Signal: "SIGKILL"}, restart.Backoff},
		{"crash of a healthy run", profile.RestartAlways, nil, profile.Exit{Code: 1, Healthy: true}, restart.Again},
		{"clean end, always", profile.RestartAlways, nil, profile.Exit{Code: 0, Healthy: true}, restart.Again},
		{"clean end at once, always", profile.RestartAlways, nil, profile.Exit{Code: 0}, restart.Backoff},
		{"clean end, on-failure", profile.RestartOnFailure, nil, profile.Exit{Code: 0, Healthy: true}, restart.Stay},
		{"crash, never", profile.RestartNever, nil, profile.Exit{Code: 1, Healthy: true}, restart.Stay},
		{"asks, never", profile.RestartNever, nil, profile.Exit{Code: 75}, restart.Stay},
		{"asks, first", profile.RestartAlways, nil, profile.Exit{Code: 75, At: now}, restart.Again},
		{"asks, third", profile.RestartAlways, asked(50*time.Second, time.Second), profile.Exit{Code: 75, At: now}, restart.Again},
		{"asks, fourth within a minute", profile.RestartAlways, asked(50*time.Second, 2*time.Second, time.Second), profile.Exit{Code: 75, At: now}, restart.Backoff},
		{"asks, and was told to stop three times before", profile.RestartAlways, stopped, profile.Exit{Code: 75, At: now}, restart.Again},
		{"asks, fourth but slowly", profile.RestartAlways, asked(60*time.Second, 2*time.Second, time.Second), profile.Exit{Code: 75, At: now}, restart.Again},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := restart.Decide(tt.policy, tt.history, tt.exit); got != tt.want {
				t.Errorf("Decide = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestDelayDoublesToItsCap(t *testing.T) {
	for _, tt := range []struct {
		failures int
		want     time.Duration
	}{
		{0, 250 * time.Millisecond},
		{1, 250 * time.Millisecond},
		{2, 500 * time.Millisecond},
		{3, time.Second},
		{11, 256 * time.Second},
		{12, 5 * time.Minute},
		{1 << 40, 5 * time.Minute},
	} {
		if got := restart.Delay(tt.failures, 0.5); got != tt.want {
			t.Errorf("Delay(%d) = %v, want %v", tt.failures, got, tt.want)
		}
	}
}

func TestDelayStaysWithinItsJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1000).Draw(t, "failures")
		spread := rapid.Float64Range(0, 0.999).Draw(t, "spread")
		mid, got := restart.Delay(n, 0.5), restart.Delay(n, spread)
		if got < mid*3/4 || got > mid*5/4 {
			t.Fatalf("Delay(%d, %v) = %v, outside ±25%% of %v", n, spread, got, mid)
		}
		if got > restart.LongestDelay() {
			t.Fatalf("Delay(%d, %v) = %v > LongestDelay", n, spread, got)
		}
	})
}
