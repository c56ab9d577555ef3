package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// render prints a report as Markdown.
func render(w io.Writer, r report) {
	renderMachine(w, r.Machine)
	var sizes []int
	for _, f := range r.Fleets {
		sizes = append(sizes, f.N)
	}
	slices.Sort(sizes)
	for _, n := range slices.Compact(sizes) {
		renderFleets(w, n, slices.DeleteFunc(slices.Clone(r.Fleets), func(f result) bool { return f.N != n }), r.Machine.FsyncMS)
	}
	renderGrowth(w, r.Fleets)
	renderBare(w, r.Fleets)
	renderLogs(w, r.Logs)
	for _, f := range slices.Concat(r.Logs, r.Fleets) {
		for _, why := range f.Failed {
			fmt.Fprintf(w, "\nNot measured: %s, n=%d: %s\n", f.Who, f.N, why)
		}
	}
}

func renderMachine(w io.Writer, m machine) {
	fmt.Fprintf(w, "%s, %d × %s, %s, load %s before the run.\n", m.Started.Format("2006-01-02 15:04 MST"), m.Cores, m.CPU, m.Kernel, m.Load)
	for _, name := range slices.Sorted(maps.Keys(m.Version)) {
		fmt.Fprintf(w, "%s %s. ", name, m.Version[name])
	}
	fmt.Fprintf(w, "%s; HERMES_START_PARALLEL as it comes: %d.\n", m.Options, 2*m.Cores)
	fmt.Fprintf(w, "Medians. One fsync there: %s µs. Spawning and waiting for a static program that does nothing: %s ms, a Go program that does nothing: %s ms, `hermes version`: %s ms.\n",
		short(m.FsyncMS*1000), short(m.SpawnMS), short(m.BareMS), short(m.StartMS))
}

// renderFleets is the table of one size.
func renderFleets(w io.Writer, n int, fleets []result, fsyncMS float64) {
	rows := [][]string{{"figure", "goal", "hermes", "", "÷ bare loop", "÷ best peer", "bare loop", "s6", "s6 + s6-log", "runit + svlogd"}}
	for _, g := range goals() {
		rows = append(rows, row(g, fleets, fsyncMS, sideNames()))
	}
	fmt.Fprintf(w, "\n### %d services\n\n", n)
	writeTable(w, rows)
}

// row is one figure of all sides: the goal, ours and its ratios first, then the
// others in the order of who, as far as they are not ours.
func row(g goal, results []result, fsyncMS float64, who []string) []string {
	by := map[string]result{}
	for _, r := range results {
		by[r.Who] = r
	}
	our, best := by[ours].Figures[g.figure], bestPeer(g, by)
	cells := []string{
		g.title, g.promise(), value(our, g.unit), string(g.judge(by[ours], by[bareLoop], fsyncMS)),
		ratio(our, by[bareLoop].Figures[g.figure], ""), ratio(our, by[best].Figures[g.figure], " "+best),
	}
	for _, name := range who {
		if name != ours {
			cells = append(cells, value(by[name].Figures[g.figure], g.unit))
		}
	}
	return cells
}

// bestPeer is the peer with the best figure, "" if none has it.
func bestPeer(g goal, by map[string]result) string {
	best := ""
	for _, name := range peers() {
		s, old := by[name].Figures[g.figure], by[best].Figures[g.figure]
		if s.Count > 0 && (best == "" || (s.Median < old.Median) != g.atLeast) {
			best = name
		}
	}
	return best
}

// renderGrowth shows what one gateway more costs hermes.
func renderGrowth(w io.Writer, fleets []result) {
	rows := [][]string{{"hermes at", "boot / N", "PSS / N", "status / N", "one more", "stop all / N", "descriptors of the keeper", "of the engine", "both / N", "wake-ups"}}
	for _, f := range fleets {
		if f.Who != ours || len(f.Figures) == 0 {
			continue
		}
		per := func(name figure, factor float64, unit string) string {
			s := f.Figures[name]
			if s.Count == 0 {
				return "–"
			}
			return short(s.Median*factor/float64(f.N)) + " " + unit
		}
		keeper, engine := f.Figures[figFirstFDs], f.Figures[figOtherFDs]
		both := "–"
		if keeper.Count > 0 {
			both = short((keeper.Median + engine.Median) / float64(f.N))
		}
		rows = append(rows, []string{
			strconv.Itoa(f.N), per(figBoot, 1, "ms"), per(figPSS, 1024, "kB"), per(figStatus, 1000, "µs"), value(f.Figures[figAdd], "ms"),
			per(figEnd, 1, "ms"), value(keeper, ""), value(engine, ""), both, value(f.Figures[figWakeUps], "/s"),
		})
	}
	if len(rows) == 1 {
		return
	}
	fmt.Fprint(w, "\n### What a gateway costs hermes\n\n")
	writeTable(w, rows)
	if text, v := flat(fleets); text != "" {
		fmt.Fprintf(w, "\nOne more, flat in N: %s (at most %v × counts as flat): %s.\n", text, flatWithin, v)
	}
}

// renderBare shows what of a command is the engine's, and what our binary's.
func renderBare(w io.Writer, fleets []result) {
	rows := [][]string{{"hermes at", "stop", "asked bare", "start", "asked bare", "status", "asked bare"}}
	for _, f := range fleets {
		if f.Figures[figBareStop].Count+f.Figures[figBareStatus].Count == 0 {
			continue
		}
		row := []string{strconv.Itoa(f.N)}
		for _, name := range []figure{figStop, figBareStop, figStart, figBareStart, figStatus, figBareStatus} {
			row = append(row, value(f.Figures[name], "ms"))
		}
		rows = append(rows, row)
	}
	if len(rows) == 1 {
		return
	}
	fmt.Fprint(w, "\n### Commands, and the same asked over the socket by a Go program that does nothing else\n\n")
	writeTable(w, rows)
}

func renderLogs(w io.Writer, logs []result) {
	if len(logs) == 0 {
		return
	}
	rows := [][]string{{"logs, time-stamped and rotated", "goal", "hermes", "", "÷ bare pipe", "÷ best peer", "bare pipe", "s6-log", "svlogd"}}
	for _, g := range logGoals() {
		rows = append(rows, row(g, logs, 0, []string{bareLoop, s6Logged, runit}))
	}
	fmt.Fprint(w, "\n### Logs\n\n")
	writeTable(w, rows)
}

func writeTable(w io.Writer, rows [][]string) {
	for i, cells := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(cells)))
		}
	}
}

// value is a median with its unit, "–" for none. What has no unit is a count.
func value(s summary, unit string) string {
	if s.Count == 0 {
		return "–"
	}
	if unit == "" {
		return strconv.FormatFloat(s.Median, 'f', 0, 64)
	}
	return short(s.Median) + " " + unit
}

// ratio is our median over another's, and whose.
func ratio(our, other summary, whose string) string {
	if our.Count == 0 || other.Count == 0 || other.Median == 0 {
		return "–"
	}
	return short(our.Median/other.Median) + " ×" + whose
}

// short writes a number with about three digits that mean something.
func short(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v == 0:
		return "0"
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
