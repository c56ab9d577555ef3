package main

import (
	"fmt"
	"slices"
	"strconv"
)

// figure names what is measured; it is a key of the JSON report.
type figure string

const (
	figBoot       figure = "boot_ms"
	figHelpers    figure = "helper_processes"
	figPSS        figure = "helper_pss_mb"
	figCrash      figure = "crash_ms"
	figAdd        figure = "add_ms"
	figStop       figure = "stop_ms"
	figStart      figure = "start_ms"
	figStatus     figure = "status_ms"
	figEnd        figure = "stop_all_ms"
	figWakeUps    figure = "wake_ups_per_s"
	figFirstFDs   figure = "descriptors_first" // of the process that was started: our keeper
	figOtherFDs   figure = "descriptors_others"
	figBareStop   figure = "bare_stop_ms" // the same as figStop, asked by a program that does nothing else
	figBareStart  figure = "bare_start_ms"
	figBareStatus figure = "bare_status_ms"
	figLogBulk    figure = "log_bulk_mb_per_s"
	figLogLines   figure = "log_lines_mb_per_s"
)

// goal is what hermes promises of a figure.
type goal struct {
	figure  figure
	title   string
	limit   float64
	loops   bool // the limit is in multiples of the bare loop
	fsync   bool // one fsync is added to the limit
	atLeast bool // more is better
	from    int  // the smallest fleet it is promised for
	upTo    int  // the largest fleet it is promised for, 0: any
	unit    string
}

// goals are the rows of the tables.
func goals() []goal {
	return []goal{
		{figure: figBoot, title: "boot, all exec'd", limit: 2, loops: true, from: 1000, unit: "ms"},
		{figure: figHelpers, title: "helper processes", limit: 2},
		{figure: figPSS, title: "their PSS", limit: 40, upTo: 1000, unit: "MB"},
		{figure: figCrash, title: "crash of a healthy one to exec'd again", limit: 3, unit: "ms"},
		{figure: figAdd, title: "one more registered to exec'd", limit: 4, unit: "ms"},
		{figure: figStop, title: "stop command, confirmed", limit: 4, fsync: true, unit: "ms"},
		{figure: figStart, title: "start command, confirmed", limit: 4, fsync: true, unit: "ms"},
		{figure: figStatus, title: "status of all", limit: 20, upTo: 1000, unit: "ms"},
		{figure: figEnd, title: "stop all", limit: 400, upTo: 1000, unit: "ms"},
		{figure: figWakeUps, title: "wake-ups while idle", limit: 0.1, unit: "/s"},
	}
}

// logGoals are those of the log table.
func logGoals() []goal {
	return []goal{
		{figure: figLogBulk, title: "64 KiB writes", limit: 500, atLeast: true, unit: "MB/s"},
		{figure: figLogLines, title: "a write for each line of 100 bytes", limit: 200, atLeast: true, unit: "MB/s"},
	}
}

// promise is the goal in words.
func (g goal) promise() string {
	sign := "≤"
	if g.atLeast {
		sign = "≥"
	}
	text := sign + " " + strconv.FormatFloat(g.limit, 'f', -1, 64)
	switch {
	case g.loops:
		text += " × bare loop"
	case g.unit != "":
		text += " " + g.unit
	}
	if g.fsync {
		text += " + one fsync"
	}
	return text
}

// verdict is one word on a goal.
type verdict string

const (
	met    verdict = "met"
	notMet verdict = "**not met**"
	open   verdict = "–" // not promised at this size, or not measured
)

// judge compares what hermes did with a goal.
func (g goal) judge(ourResult, loop result, fsyncMS float64) verdict {
	our := ourResult.Figures[g.figure]
	limit := g.limit
	if g.fsync {
		limit += fsyncMS
	}
	if g.loops {
		limit *= loop.Figures[g.figure].Median
		if loop.Figures[g.figure].Count == 0 {
			return open
		}
	}
	switch {
	case our.Count == 0, ourResult.N < g.from, g.upTo > 0 && ourResult.N > g.upTo:
		return open
	case g.atLeast && our.Median >= limit, !g.atLeast && our.Median <= limit:
		return met
	}
	return notMet
}

// flatWithin is what counts as flat: the largest fleet's figure over the
// smallest one's.
const flatWithin = 1.5

// flat says whether one more costs the same in a fleet of any size, from the
// fleets of ours that are promised anything.
func flat(fleets []result) (text string, v verdict) {
	own := slices.DeleteFunc(slices.Clone(fleets), func(r result) bool { return r.Who != ours || r.Figures[figAdd].Count == 0 })
	if len(own) < 2 || own[0].N == own[len(own)-1].N {
		return "", open
	}
	first, last := own[0], own[len(own)-1]
	ratio := last.Figures[figAdd].Median / first.Figures[figAdd].Median
	text = fmt.Sprintf("one more at %d costs %.2f × one more at %d", last.N, ratio, first.N)
	if ratio <= flatWithin {
		return text, met
	}
	return text, notMet
}
