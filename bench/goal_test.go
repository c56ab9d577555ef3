package main

import "testing"

// of makes a result with one figure.
func of(who string, n int, f figure, v float64) result {
	return result{Who: who, N: n, Figures: map[figure]summary{f: {v, v, v, 1}}}
}

func TestJudge(t *testing.T) {
	nothing := result{}
	boot := goal{figure: figBoot, limit: 2, loops: true, from: 1000}
	crash := goal{figure: figCrash, limit: 3}
	status := goal{figure: figStatus, limit: 20, upTo: 1000}
	stop := goal{figure: figStop, limit: 4, fsync: true}
	bulk := goal{figure: figLogBulk, limit: 500, atLeast: true}
	for _, c := range []struct {
		name      string
		goal      goal
		our, loop result
		fsync     float64
		want      verdict
	}{
		{"at the limit", crash, of(ours, 10, figCrash, 3), nothing, 0, met},
		{"over it", crash, of(ours, 10, figCrash, 3.001), nothing, 0, notMet},
		{"not measured", crash, nothing, nothing, 0, open},
		{"twice the loop", boot, of(ours, 1000, figBoot, 10), of(bareLoop, 1000, figBoot, 5), 0, met},
		{"more than that", boot, of(ours, 1000, figBoot, 10.1), of(bareLoop, 1000, figBoot, 5), 0, notMet},
		{"no loop to compare with", boot, of(ours, 1000, figBoot, 10), nothing, 0, open},
		{"smaller than promised for", boot, of(ours, 999, figBoot, 100), of(bareLoop, 999, figBoot, 5), 0, open},
		{"larger than promised for", status, of(ours, 1001, figStatus, 100), nothing, 0, open},
		{"as large as promised for", status, of(ours, 1000, figStatus, 100), nothing, 0, notMet},
		{"with one fsync", stop, of(ours, 10, figStop, 4.5), nothing, 0.5, met},
		{"without it", stop, of(ours, 10, figStop, 4.5), nothing, 0.1, notMet},
		{"no fsync where none is promised", crash, of(ours, 10, figCrash, 3.5), nothing, 1, notMet},
		{"more is better", bulk, of(ours, 1, figLogBulk, 500), nothing, 0, met},
		{"less is not", bulk, of(ours, 1, figLogBulk, 499), nothing, 0, notMet},
	} {
		if got := c.goal.judge(c.our, c.loop, c.fsync); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPromise(t *testing.T) {
	want := map[figure]string{
		figBoot: "≤ 2 × bare loop", figHelpers: "≤ 2", figPSS: "≤ 40 MB", figStop: "≤ 4 ms + one fsync", figWakeUps: "≤ 0.1 /s", figLogBulk: "≥ 500 MB/s",
	}
	for _, g := range append(goals(), logGoals()...) {
		if w, ok := want[g.figure]; ok && g.promise() != w {
			t.Errorf("%s: %q, want %q", g.title, g.promise(), w)
		}
	}
}

func TestFlat(t *testing.T) {
	at := func(n int, v float64) result { return of(ours, n, figAdd, v) }
	for _, c := range []struct {
		name   string
		fleets []result
		want   verdict
	}{
		{"nothing", nil, open},
		{"one size", []result{at(10, 4)}, open},
		{"flat", []result{at(10, 4), at(100, 40), at(1000, 6)}, met},
		{"grows", []result{at(10, 4), at(1000, 6.1)}, notMet},
		{"the others' do not count", []result{of(s6Bare, 1, figAdd, 1), at(10, 4), at(1000, 4)}, met},
	} {
		if _, got := flat(c.fleets); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
