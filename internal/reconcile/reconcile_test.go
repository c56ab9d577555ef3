package reconcile_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/internal/profile"
	"hermes/internal/reconcile"
)

const keeper = "boot-1/100"

var now = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func intent(i profile.Intent, generation uint64) profile.IntentRecord {
	return profile.IntentRecord{Version: 1, Intent: i, Generation: generation, ChangedBy: "cli uid 1000"}
}

func wanted(p reconcile.Profile) reconcile.Profile {
	p.Intent, p.IntentFile = intent(profile.Running, 7), reconcile.Valid
	return p
}

func observed(s profile.State, generation uint64, exits ...profile.Exit) reconcile.Profile {
	return wanted(reconcile.Profile{
		LastFile: reconcile.Valid,
		Last: profile.Supervision{
			Keeper: "boot-0/1", State: s, IntentGeneration: generation, Reason: "why", Exits: exits,
		},
	})
}

func legacy(desired, observed string) reconcile.Profile {
	return reconcile.Profile{LegacyFile: reconcile.Valid, Legacy: reconcile.Legacy{Desired: desired, Observed: observed}}
}

// TestBoot is the table of the boot, row by row.
func TestBoot(t *testing.T) {
	const dontCare = ""
	tests := []struct {
		name    string
		profile reconcile.Profile
		world   reconcile.World
		logged  string
		resume  reconcile.Resume
		writes  profile.Intent // dontCare: nothing is written
		prior   string
		exit    string
	}{
		{
			name: "intent running, nothing else known", profile: wanted(reconcile.Profile{}),
			logged: "started", resume: reconcile.Up, prior: "running", exit: "unknown",
		},
		{
			name: "running, power cut", profile: observed(profile.StateRunning, 7),
			logged: "started", resume: reconcile.Up, prior: "running", exit: "unclean",
		},
		{
			name: "interrupted start", profile: observed(profile.StateStarting, 7),
			logged: "started", resume: reconcile.Up, prior: "starting", exit: "unclean",
		},
		{
			name: "shutdown", profile: observed(profile.StateStopped, 7, profile.Exit{Code: -1, Signal: "SIGTERM", Asked: true}),
			logged: "started", resume: reconcile.Up, prior: "stopped", exit: "clean",
		},
		{name: "ended by itself, then the machine rebooted", profile: func() reconcile.Profile {
			p := observed(profile.StateStopped, 7, profile.Exit{Code: 0})
			p.Last.Ended = true
			return p
		}(), logged: "started", resume: reconcile.Up, prior: "stopped", exit: "clean"},
		{
			name: "exit 78 keeps it parked", profile: observed(profile.StateParked, 7, profile.Exit{Code: 78}),
			logged: "registered", resume: reconcile.Park, prior: "parked", exit: "unclean",
		},
		{
			name: "parked, but started by command since", profile: observed(profile.StateParked, 6, profile.Exit{Code: 78}),
			logged: "started", resume: reconcile.Up, prior: "parked", exit: "unclean",
		},
		{
			name: "crash loop keeps its backoff", profile: observed(profile.StateBackoff, 7, profile.Exit{Code: 1}),
			logged: "started", resume: reconcile.Wait, prior: "backoff", exit: "unclean",
		},
		{
			name: "intent stopped", profile: reconcile.Profile{IntentFile: reconcile.Valid, Intent: intent(profile.Stopped, 3)},
			logged: "registered", resume: reconcile.Down, prior: "stopped", exit: "unknown",
		},
		{name: "intent stopped wins over the original's file", profile: func() reconcile.Profile {
			p := legacy("running", "running")
			p.IntentFile, p.Intent = reconcile.Valid, intent(profile.Stopped, 3)
			return p
		}(), logged: "registered", resume: reconcile.Down, prior: "stopped", exit: "unknown"},
		{
			name: "original: running", profile: legacy("", "running"),
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "running", exit: "unknown",
		},
		{
			name: "original: degraded", profile: legacy("", "degraded"),
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "degraded", exit: "unknown",
		},
		{
			name: "original: draining", profile: legacy("", "draining"),
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "draining", exit: "unknown",
		},
		{
			name: "original: desired_state wins", profile: legacy("running", "stopped"),
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "stopped", exit: "unknown",
		},
		{
			name: "original: desired_state wins, downwards", profile: legacy("stopped", "running"),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "running", exit: "unknown",
		},
		{
			name: "original: stopped", profile: legacy("", "stopped"),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "stopped", exit: "unknown",
		},
		{
			name: "original: starting", profile: legacy("", "starting"),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "starting", exit: "unknown",
		},
		{
			name: "original: startup_failed", profile: legacy("", "startup_failed"),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "startup_failed", exit: "unknown",
		},
		{
			name: "original: none", profile: reconcile.Profile{},
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "none", exit: "unknown",
		},
		{
			name: "original: corrupt", profile: reconcile.Profile{LegacyFile: reconcile.Corrupt},
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "corrupt", exit: "unknown",
		},
		{name: "original: corrupt, whatever could be read", profile: func() reconcile.Profile {
			p := legacy("running", "running")
			p.LegacyFile = reconcile.Corrupt
			return p
		}(), logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "corrupt", exit: "unknown"},
		{
			name: "original: it says nothing", profile: legacy("", ""),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "none", exit: "unknown",
		},
		{
			name: "original: a hostile word", profile: legacy("", "running\naction=started"),
			logged: "registered", resume: reconcile.Down, writes: profile.Stopped, prior: "corrupt", exit: "unknown",
		},
		{name: "intent corrupt: the original's file decides", profile: func() reconcile.Profile {
			p := legacy("", "running")
			p.IntentFile = reconcile.Corrupt
			return p
		}(), logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "corrupt", exit: "unknown"},
		{
			name: "intent unreadable", profile: reconcile.Profile{IntentFile: reconcile.Unreadable},
			logged: "registered", resume: reconcile.Outside, prior: "unreadable", exit: "unknown",
		},
		{
			name: "observation unreadable", profile: wanted(reconcile.Profile{LastFile: reconcile.Unreadable}),
			logged: "registered", resume: reconcile.Outside, prior: "unreadable", exit: "unknown",
		},
		{
			name: "original unreadable and no intent", profile: reconcile.Profile{LegacyFile: reconcile.Unreadable},
			logged: "registered", resume: reconcile.Outside, prior: "unreadable", exit: "unknown",
		},
		{
			name: "original unreadable, intent known", profile: wanted(reconcile.Profile{LegacyFile: reconcile.Unreadable}),
			logged: "started", resume: reconcile.Up, prior: "running", exit: "unknown",
		},
		{
			name: "the container's command starts it", profile: reconcile.Profile{IntentFile: reconcile.Valid, Intent: intent(profile.Stopped, 3)},
			world:  reconcile.World{Commands: []reconcile.Command{{Profile: "coder"}}},
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "stopped", exit: "unknown",
		},
		{
			name: "the container's command unparks it", profile: observed(profile.StateParked, 7),
			world:  reconcile.World{Commands: []reconcile.Command{{Profile: "coder"}}},
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "parked", exit: "unknown",
		},
		{
			name: "the container's command runs it in the foreground", profile: wanted(reconcile.Profile{}),
			world:  reconcile.World{Commands: []reconcile.Command{{Profile: "coder", Foreground: true}}},
			logged: "registered", resume: reconcile.Outside, prior: "running", exit: "unknown",
		},
		{
			name: "named by up", profile: reconcile.Profile{},
			world:  reconcile.World{Wanted: []profile.Name{"coder"}},
			logged: "started", resume: reconcile.Up, writes: profile.Running, prior: "none", exit: "unknown",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.world
			w.Now, w.Keeper = now, keeper
			tt.profile.Name = "coder"
			w.Found = []reconcile.Profile{tt.profile}
			plan := reconcile.Plan(w)
			if len(plan) != 1 || plan[0].Kind != reconcile.Register {
				t.Fatalf("plan = %+v", plan)
			}
			a := plan[0]
			var writes profile.Intent = dontCare
			if a.Write != nil {
				writes = a.Write.Intent
				if a.Write.Validate() != nil || a.Write.Generation <= tt.profile.Intent.Generation {
					t.Errorf("writes %+v", *a.Write)
				}
			}
			got := []any{a.Logged(), a.Resume, writes, a.PriorState, a.PriorExit}
			want := []any{tt.logged, tt.resume, tt.writes, tt.prior, tt.exit}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestSupervisorReturns: the same keeper is still there, so what was observed
// holds, and a living run is adopted whatever the record says.
func TestSupervisorReturns(t *testing.T) {
	same := func(p reconcile.Profile) reconcile.Profile { p.Last.Keeper = keeper; return p }
	ended := same(observed(profile.StateStopped, 7, profile.Exit{Code: 0}))
	ended.Last.Ended = true
	live := map[string]bool{"gateway-coder": true}
	for _, tt := range []struct {
		name    string
		profile reconcile.Profile
		live    map[string]bool
		want    reconcile.Resume
	}{
		{"a run is adopted", same(observed(profile.StateRunning, 7)), live, reconcile.Up},
		{"a run is adopted though the record is behind", same(observed(profile.StateBackoff, 7)), live, reconcile.Up},
		{"an unwanted run is stopped", reconcile.Profile{IntentFile: reconcile.Valid, Intent: intent(profile.Stopped, 9)}, live, reconcile.Down},
		{"it ended by itself and stays so", ended, nil, reconcile.Leave},
		{"it ended by itself, then start was typed", func() reconcile.Profile {
			p := ended
			p.Last.IntentGeneration = 6
			return p
		}(), nil, reconcile.Up},
		{"intent written, not yet spawned", same(observed(profile.StateStopped, 6)), nil, reconcile.Up},
		{"backoff goes on", same(observed(profile.StateBackoff, 7)), nil, reconcile.Wait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.profile.Name = "coder"
			plan := reconcile.Plan(reconcile.World{Now: now, Keeper: keeper, Live: tt.live, Found: []reconcile.Profile{tt.profile}})
			if plan[0].Resume != tt.want {
				t.Errorf("resume = %d, want %d", plan[0].Resume, tt.want)
			}
		})
	}
}

// TestCommandsDoNotRepeat: a supervisor that comes back must not take the
// container's command for a new wish while what it wished for is running.
func TestCommandsDoNotRepeat(t *testing.T) {
	p := wanted(reconcile.Profile{Name: "coder"})
	plan := reconcile.Plan(reconcile.World{
		Now: now, Found: []reconcile.Profile{p}, Live: map[string]bool{"gateway-coder": true},
		Commands: []reconcile.Command{{Profile: "coder"}},
	})
	if plan[0].Write != nil {
		t.Errorf("wrote %+v", plan[0].Write)
	}
}

func TestWatch(t *testing.T) {
	at := func(name profile.Name, ino uint64) reconcile.Profile {
		p := wanted(reconcile.Profile{})
		p.Name, p.ID = name, reconcile.ID{Ino: ino}
		return p
	}
	slots := []reconcile.Slot{{"default", reconcile.ID{Ino: 1}}, {"coder", reconcile.ID{Ino: 2}}, {"writer", reconcile.ID{Ino: 3}}}
	type step struct {
		Kind reconcile.Kind
		Name profile.Name
		From profile.Name
	}
	for _, tt := range []struct {
		name  string
		world reconcile.World
		want  []step
	}{
		{"nothing changed", reconcile.World{Found: []reconcile.Profile{at("default", 1), at("coder", 2), at("writer", 3)}}, nil},
		{
			"made by hand",
			reconcile.World{Found: []reconcile.Profile{at("default", 1), at("coder", 2), at("writer", 3), at("a", 4)}},
			[]step{{reconcile.Register, "a", ""}},
		},
		{
			"mv",
			reconcile.World{Found: []reconcile.Profile{at("default", 1), at("zed", 2), at("writer", 3)}, Gone: []profile.Name{"coder"}},
			[]step{{reconcile.Rename, "zed", "coder"}},
		},
		{"unseen but unproven", reconcile.World{Found: []reconcile.Profile{at("default", 1), at("writer", 3)}}, nil},
		{
			"proven removed",
			reconcile.World{Found: []reconcile.Profile{at("default", 1), at("writer", 3)}, Gone: []profile.Name{"coder"}},
			[]step{{reconcile.Unregister, "coder", ""}},
		},
		{"removed, but back", reconcile.World{Found: []reconcile.Profile{at("default", 1), at("coder", 9), at("writer", 3)}, Gone: []profile.Name{"coder"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.world.Slots = slots
			var got []step
			for _, a := range reconcile.Plan(tt.world) {
				got = append(got, step{a.Kind, a.Name, a.From})
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOrder: default first, then names, then what is skipped.
func TestOrder(t *testing.T) {
	w := reconcile.World{
		Found:   []reconcile.Profile{{Name: "zed"}, {Name: "a"}, {Name: "default"}},
		Skipped: []reconcile.Skip{{Name: ".x", Reason: "hidden"}},
	}
	var got []string
	for _, a := range reconcile.Plan(w) {
		got = append(got, string(a.Name)+a.Skipped)
	}
	if d := cmp.Diff([]string{"default", "a", "zed", ".x"}, got); d != "" {
		t.Error(d)
	}
}

// TestPlanIsIdempotent: carrying a plan out leaves nothing to plan, and an
// intent is never written twice.
func TestPlanIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := reconcile.Profile{
			Name:       "coder",
			IntentFile: reconcile.FileState(rapid.IntRange(0, 3).Draw(t, "intent file")),
			LastFile:   reconcile.FileState(rapid.IntRange(0, 3).Draw(t, "last file")),
			LegacyFile: reconcile.FileState(rapid.IntRange(0, 3).Draw(t, "legacy file")),
			Legacy:     reconcile.Legacy{Observed: rapid.SampledFrom([]string{"", "running", "stopped", "x"}).Draw(t, "observed")},
		}
		p.Intent = intent(rapid.SampledFrom([]profile.Intent{profile.Running, profile.Stopped}).Draw(t, "intent"), 4)
		w := reconcile.World{Now: now, Keeper: keeper, Found: []reconcile.Profile{p}}
		first := reconcile.Plan(w)
		if len(first) != 1 {
			t.Fatalf("plan = %+v", first)
		}
		if first[0].Resume == reconcile.Outside && first[0].Write != nil {
			t.Fatal("wrote an intent though a file could not be read")
		}
		if first[0].Write != nil {
			w.Found[0].Intent, w.Found[0].IntentFile = *first[0].Write, reconcile.Valid
		}
		second := reconcile.Plan(w)
		if second[0].Write != nil {
			t.Fatalf("wrote the intent twice: %+v", second[0].Write)
		}
		if second[0].Resume != first[0].Resume && p.LastFile != reconcile.Valid {
			t.Fatalf("resume changed from %d to %d", first[0].Resume, second[0].Resume)
		}
		w.Slots = []reconcile.Slot{{Name: "coder"}}
		if rest := reconcile.Plan(w); len(rest) != 0 {
			t.Fatalf("left to do: %+v", rest)
		}
	})
}

func TestRetryAt(t *testing.T) {
	soon := now.Add(time.Minute)
	for _, tt := range []struct{ recorded, want time.Time }{
		{soon, soon},
		{now.Add(-time.Hour), now},
		{now.Add(24 * time.Hour), now},
		{time.Time{}, now},
	} {
		if got := reconcile.RetryAt(tt.recorded, now); !got.Equal(tt.want) {
			t.Errorf("RetryAt(%v) = %v", tt.recorded, got)
		}
	}
}
