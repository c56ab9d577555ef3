package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hermes/internal/profile"
	"hermes/internal/restart"
)

// flapping is how the test of gateways that do nothing but end is run.
type flapping struct {
	gateways     int
	settle, last time.Duration // until the backoff has set in, and how long it is watched then
}

// TestFlapping: gateways that end at once, all of them, for as long as it
// takes. The backoff keeps the supervisor at rest: it follows its schedule, the
// rate of starts falls, and neither memory nor descriptors nor logs grow.
func TestFlapping(t *testing.T) {
	t.Parallel()
	f := flapping{gateways: 40, settle: 8 * time.Second, last: 6 * time.Second}
	if long() {
		f = flapping{gateways: 200, settle: 3 * time.Minute, last: 7 * time.Minute}
	}
	h := newHost(t)
	var names []string
	for i := range f.gateways {
		name := fmt.Sprintf("flap-%d", i)
		h.profile(name)
		// 8 runs of 20 kB overflow the log that it may have.
		h.write(name, "config.yaml", fmt.Sprintf("gateway:\n  command: [%q, -exit, \"1\", -shout, \"20000\"]\n  logs: {max_size: 10KB, max_files: 3}\n", binaries().probe))
		names = append(names, name)
	}
	began := time.Now()
	h.start(names...)
	fleet := h.fleet()
	pause(f.settle - time.Since(began))
	keeper, engine := h.usage(fleet.KeeperPID), h.usage(fleet.EnginePID)
	from := time.Now()
	pause(f.last)
	window := time.Since(from)
	keeperNow, engineNow := h.usage(fleet.KeeperPID), h.usage(fleet.EnginePID)

	share := float64(keeperNow.cpu-keeper.cpu+engineNow.cpu-engine.cpu) / float64(window)
	t.Logf("%d gateways, %v after %v: keeper and engine take %.2f %% of a core", f.gateways, window, f.settle, 100*share)
	if long() && share > 0.02 {
		t.Errorf("keeper and engine take %.2f %% of a core, want less than 2 %%", 100*share)
	}
	h.atRest("the keeper", func() int { return fleet.KeeperPID }, keeper, keeperGrowth())
	h.atRest("the engine", func() int { return fleet.EnginePID }, engine, growth{threads: 8, pss: 4 << 20})
	if now := h.fleet(); now.EnginePID != fleet.EnginePID {
		t.Errorf("engine %d became %d", fleet.EnginePID, now.EnginePID)
	}
	h.noZombies(fleet.KeeperPID)

	var starts []time.Time
	for _, name := range names {
		starts = append(starts, h.onSchedule(name)...)
		h.boundedLog(name, 10_000, 3)
	}
	early, late := between(starts, began, began.Add(window)), between(starts, from, from.Add(window))
	t.Logf("%d starts in the first %v, %d in the last", early, window, late)
	if early < 2*f.gateways || late > early/2 {
		t.Errorf("the rate of starts does not fall: %d in the first %v, %d in the last", early, window, late)
	}
}

// onSchedule checks that each try came after the delay that its number asks
// for, jitter included, and returns when the tries were.
func (h *host) onSchedule(name string) (starts []time.Time) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir(name), "supervision.json"))
	var s profile.Supervision
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	const late = 3 * time.Second // for its turn at the gate, on a machine with other work
	for i, e := range s.Exits {
		starts = append(starts, e.Started)
		if e.Code != 1 {
			h.t.Errorf("%s: run %d ended with %+v", name, i, e)
		}
		if i == 0 {
			continue
		}
		pause := e.Started.Sub(s.Exits[i-1].At)
		least, most := restart.Delay(i, 0), restart.Delay(i, 1)
		if pause < least || pause > most+late {
			h.t.Errorf("%s: try %d came after %v, want %v to %v", name, i, pause, least, most)
		}
	}
	if s.Failures != len(s.Exits) {
		h.t.Errorf("%s: %d failures in a row after %d runs", name, s.Failures, len(s.Exits))
	}
	return starts
}

func between(times []time.Time, from, to time.Time) int {
	n := 0
	for _, at := range times {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// boundedLog checks that a log is what its bounds allow, and full.
func (h *host) boundedLog(name string, size, files int64) {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.home, "logs/gateways", name, "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	var bytes int64
	for _, path := range found {
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
		}
	}
	const slack = 1 << 10 // of the last line of each
	if int64(len(found)) > files || bytes > files*(size+slack) || bytes < size {
		h.t.Errorf("the log of %s has %d files of %d bytes together", name, len(found), bytes)
	}
}
