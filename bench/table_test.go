package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.004: "0.00", 0.12: "0.12", 1.005: "1.00", 9.994: "9.99", 12.34: "12.3", 123.4: "123", 66308: "66308"} {
		if got := short(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestBestPeer(t *testing.T) {
	by := map[string]result{
		bareLoop: of(bareLoop, 1, figCrash, 0.1), s6Bare: of(s6Bare, 1, figCrash, 5), runit: of(runit, 1, figCrash, 2), ours: of(ours, 1, figCrash, 1),
	}
	if got := bestPeer(goal{figure: figCrash}, by); got != runit {
		t.Errorf("the least: %q, want runit", got)
	}
	if got := bestPeer(goal{figure: figCrash, atLeast: true}, by); got != s6Bare {
		t.Errorf("the most: %q, want s6", got)
	}
	if got := bestPeer(goal{figure: figAdd}, by); got != "" {
		t.Errorf("nobody has it: %q", got)
	}
}

// someReport is a run with something of everything.
func someReport() report {
	fleet := func(who string, n int, boot, add float64) result {
		r := of(who, n, figBoot, boot)
		r.Figures[figAdd] = summary{add, add, add, 1}
		r.Figures[figHelpers] = summary{2, 2, 2, 1}
		return r
	}
	loop := of(bareLoop, 1000, figBoot, 200)
	small, big, s6 := fleet(ours, 10, 50, 4), fleet(ours, 1000, 500, 8), fleet(s6Bare, 1000, 1500, 5)
	big.Figures[figStop], big.Figures[figBareStop] = summary{7, 7, 7, 1}, summary{3, 3, 3, 1}
	small.Failed = []string{"idle: it would not"}
	return report{
		Machine: machine{
			Cores: 2, CPU: "Z80", Kernel: "Linux 6", Load: "1 2 3", Started: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), Options: "k=1",
			Version: map[string]string{"s6": "2.11", "hermes": "1"}, FsyncMS: 0.012, SpawnMS: 0.6, BareMS: 1.5, StartMS: 5,
		},
		Fleets: []result{small, loop, s6, big},
		Logs:   []result{of(ours, 1, figLogBulk, 600), of(s6Logged, 1, figLogBulk, 100)},
	}
}

// TestRender compares a whole page.
func TestRender(t *testing.T) {
	var out strings.Builder
	render(&out, someReport())
	var got []string
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, " | – | – | – | – | – | – | – | – |") { // rows without any figure
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	head := []string{
		"| figure | goal | hermes |  | ÷ bare loop | ÷ best peer | bare loop | s6 | s6 + s6-log | runit + svlogd |",
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
	}
	want := append([]string{
		"2026-11-23 07:00 UTC, 2 × Z80, Linux 6, load 1 2 3 before the run.",
		"hermes 1. s6 2.11. k=1; HERMES_START_PARALLEL as it comes: 4.",
		"Medians. One fsync there: 12.0 µs. Spawning and waiting for a static program that does nothing: 0.60 ms, a Go program that does nothing: 1.50 ms, `hermes version`: 5.00 ms.",
		"", "### 10 services", "",
	}, head...)
	want = append(want,
		"| boot, all exec'd | ≤ 2 × bare loop | 50.0 ms | – | – | – | – | – | – | – |",
		"| helper processes | ≤ 2 | 2 | met | – | – | – | – | – | – |",
		"| one more registered to exec'd | ≤ 4 ms | 4.00 ms | met | – | – | – | – | – | – |",
		"", "### 1000 services", "")
	want = append(want, head...)
	want = append(want,
		"| boot, all exec'd | ≤ 2 × bare loop | 500 ms | **not met** | 2.50 × | 0.33 × s6 | 200 ms | 1500 ms | – | – |",
		"| helper processes | ≤ 2 | 2 | met | – | 1.00 × s6 | – | 2 | – | – |",
		"| one more registered to exec'd | ≤ 4 ms | 8.00 ms | **not met** | – | 1.60 × s6 | – | 5.00 ms | – | – |",
		"| stop command, confirmed | ≤ 4 ms + one fsync | 7.00 ms | **not met** | – | – | – | – | – | – |",
		"", "### What a gateway costs hermes", "",
		"| hermes at | boot / N | PSS / N | status / N | one more | stop all / N | descriptors of the keeper | of the engine | both / N | wake-ups |",
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
		"| 10 | 5.00 ms | – | – | 4.00 ms | – | – | – | – | – |",
		"| 1000 | 0.50 ms | – | – | 8.00 ms | – | – | – | – | – |",
		"", "One more, flat in N: one more at 1000 costs 2.00 × one more at 10 (at most 1.5 × counts as flat): **not met**.",
		"", "### Commands, and the same asked over the socket by a Go program that does nothing else", "",
		"| hermes at | stop | asked bare | start | asked bare | status | asked bare |",
		"| --- | --- | --- | --- | --- | --- | --- |",
		"| 1000 | 7.00 ms | 3.00 ms | – | – | – | – |",
		"", "### Logs", "",
		"| logs, time-stamped and rotated | goal | hermes |  | ÷ bare pipe | ÷ best peer | bare pipe | s6-log | svlogd |",
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
		"| 64 KiB writes | ≥ 500 MB/s | 600 MB/s | met | – | 6.00 × s6log | – | 100 MB/s | – |",
		"| a write for each line of 100 bytes | ≥ 200 MB/s | – | – | – | – | – | – | – |",
		"", "Not measured: hermes, n=10: idle: it would not")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
