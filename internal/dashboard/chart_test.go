package dashboard

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"hermes/api"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func TestDrawExits(t *testing.T) {
	before := func(d time.Duration) time.Time { return noon().Add(-d) }
	p := drawExits([]api.Exit{
		{Signal: "SIGKILL", At: before(0), Started: before(time.Minute), Reason: "out of memory"},
		{Code: new(1), At: before(10 * time.Minute), Started: before(20 * time.Minute)},
		{Code: new(1), At: before(time.Hour)},
		{Code: new(78), At: before(2 * time.Hour), Started: before(2 * time.Hour)},
		{Code: new(0), Asked: true, At: before(24 * time.Hour), Started: before(48 * time.Hour)},
	}, noon())
	kinds, last := "", -1
	for _, m := range p.Marks { // oldest first
		kinds += m.Kind + " "
		if m.X <= last || m.From > m.X {
			t.Errorf("%+v comes after %d", m, last)
		}
		last = m.X
	}
	if kinds != "asked config code code signal " {
		t.Errorf("kinds %q", kinds)
	}
	if got := p.Marks[0].From; got != pictureMargin {
		t.Errorf("the oldest begins at %d", got)
	}
	if got := p.Marks[4].X; got != pictureWidth-pictureMargin {
		t.Errorf("what ended now is at %d", got)
	}
	if want := "5 runs ended from 2026-11-22 12:00:00 UTC to 2026-11-23 12:00:00 UTC: 2 × exit 1, 1 × SIGKILL, 1 × exit 78, 1 × stopped as asked (exit 0)."; p.Words != want {
		t.Errorf("words %q", p.Words)
	}
	if got := p.List[0]; got.How != "SIGKILL" || got.Ran != "1m" || got.Reason != "out of memory" || p.List[2].Ran != "" {
		t.Errorf("list %+v", p.List)
	}
	if len(p.Ticks) != 6 || p.Ticks[0].At != pictureWidth-pictureMargin { // now, 1m, 10m, 1h, 6h, 1d
		t.Errorf("ticks %+v", p.Ticks)
	}
	if got := drawExits([]api.Exit{{Code: new(1), At: before(0)}}, noon()).Words; got != "One run ended at 2026-11-23 12:00:00 UTC: exit 1." {
		t.Errorf("of one: %q", got)
	}
	if got := drawExits(nil, noon()); len(got.Marks) != 0 || got.Words != "No run has ended yet." {
		t.Errorf("of none: %+v", got)
	}
}

func TestDrawMemory(t *testing.T) {
	at := func(d time.Duration) int64 { return noon().Add(-d).UnixMilli() }
	p := drawMemory([]sample{
		{at(10 * time.Minute), 30e6},
		{at(8 * time.Minute), 0}, // it did not run
		{at(5 * time.Minute), 20e6},
		{at(0), 50e6},
	}, noon())
	if want := []string{"6,37 8,37", "200,53 394,6"}; strings.Join(p.Lines, "|") != strings.Join(want, "|") {
		t.Errorf("lines %q", p.Lines)
	}
	if p.Top != "50 MB" || p.From != "10m" || p.Words != "Over the last 10m: now 50 MB, least 20 MB, most 50 MB." {
		t.Errorf("%+v", p)
	}
	for _, none := range [][]sample{nil, {{at(0), 0}}} {
		if got := drawMemory(none, noon()); len(got.Lines) != 0 || !strings.HasPrefix(got.Words, "No sample yet") {
			t.Errorf("of nothing: %+v", got)
		}
	}
}

func TestNiceTop(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 2: 2, 3: 5, 6: 10, 11: 20, 38e6: 50e6, 50e6: 50e6, math.MaxInt64: math.MaxInt64} {
		if got := niceTop(n); got != want {
			t.Errorf("%d: %d", n, got)
		}
	}
}

// Whatever the numbers, a picture stays within its frame.
func FuzzPictures(f *testing.F) {
	f.Add(int64(0), int64(0), int64(0), int64(0), 3)
	f.Add(int64(1), int64(math.MaxInt64), int64(math.MinInt64), int64(-5), -1)
	f.Add(int64(1795431050063), int64(1795431000000), int64(38<<20), int64(1<<62), 137)
	f.Fuzz(func(t *testing.T, a, b, c, d int64, code int) {
		exits := []api.Exit{
			{Code: &code, At: time.UnixMilli(a), Started: time.UnixMilli(b)},
			{Signal: "SIG?", At: time.UnixMilli(c), Started: time.UnixMilli(d)},
			{At: time.Unix(d, b)},
		}
		for _, now := range []time.Time{noon(), time.UnixMilli(c)} {
			for _, m := range drawExits(exits, now).Marks {
				if m.X < 0 || m.X > pictureWidth || m.From < 0 || m.From > m.X {
					t.Errorf("a mark at %d from %d", m.X, m.From)
				}
			}
			p := drawMemory([]sample{{a, b}, {b, c}, {c, d}, {d, a}}, now)
			for _, line := range p.Lines {
				for point := range strings.FieldsSeq(line) {
					xs, ys, _ := strings.Cut(point, ",")
					x, xErr := strconv.Atoi(xs)
					y, yErr := strconv.Atoi(ys)
					if xErr != nil || yErr != nil || x < 0 || x > pictureWidth || y < 0 || y > memoryHeight {
						t.Errorf("a point %q", point)
					}
				}
			}
		}
	})
}
