package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hermes/api"
	"hermes/internal/amount"
)

// The size of a picture in its own units; a page shows it as wide as there is
// room.
const (
	pictureWidth  = 400
	exitsHeight   = 66
	memoryHeight  = 90
	pictureMargin = 6
)

// mark is one end of a run in the picture.
type mark struct {
	X, From int    // where the run ended, and began
	Kind    string // asked, ok, code, signal, config
	Words   string
}

// Width is that of the bar from the run's beginning to its end.
func (m mark) Width() int { return max(m.X-m.From, 1) }

// tick is a line of a picture's scale.
type tick struct {
	At    int
	Words string
}

// exitsPicture is the history of a gateway's exits. Time runs to the right and
// ends now; the scale is that of how long ago, so that what happened in the last
// minutes is not one line beside a week.
type exitsPicture struct {
	Width, Height int
	Marks         []mark
	Ticks         []tick
	Title, Words  string // the text alternative
	List          []exitLine
}

// exitLine is an exit in the table, newest first.
type exitLine struct {
	At          string
	Kind, How   string
	Ran, Reason string
}

// drawExits makes the picture of exits, which come newest first.
func drawExits(exits []api.Exit, now time.Time) exitsPicture {
	p := exitsPicture{Width: pictureWidth, Height: exitsHeight, Title: "How the last runs ended"}
	if len(exits) == 0 {
		p.Words = "No run has ended yet."
		return p
	}
	oldest := time.Duration(0)
	for i := range exits {
		oldest = max(oldest, age(exits[i].At, now), age(exits[i].Started, now))
	}
	x := agoScale(oldest)
	for i := range exits {
		e := &exits[i]
		m := mark{X: x(age(e.At, now)), Kind: exitKind(e), Words: exitTime(e) + ": " + exitWords(e)}
		m.From = m.X
		if !e.Started.IsZero() {
			m.From = min(m.X, x(age(e.Started, now)))
		}
		p.Marks = append(p.Marks, m)
		p.List = append(p.List, exitLine{At: exitTime(e), Kind: m.Kind, How: exitWords(e), Ran: ranFor(e), Reason: e.Reason})
	}
	slices.Reverse(p.Marks) // the newest on top
	for _, t := range []struct {
		ago   time.Duration
		words string
	}{
		{0, "now"},
		{time.Minute, "1m ago"},
		{10 * time.Minute, "10m"},
		{time.Hour, "1h"},
		{6 * time.Hour, "6h"},
		{24 * time.Hour, "1d"},
		{7 * 24 * time.Hour, "7d"},
		{30 * 24 * time.Hour, "30d"},
		{365 * 24 * time.Hour, "1y"},
	} {
		if t.ago <= oldest {
			p.Ticks = append(p.Ticks, tick{x(t.ago), t.words})
		}
	}
	p.Words = tellExits(exits)
	return p
}

// age is how long ago t was, 0 for no time and for the future.
func age(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t))
}

// agoScale places an age between the picture's margins: 0 at the right, oldest
// at the left.
func agoScale(oldest time.Duration) func(time.Duration) int {
	const fine = 10 * time.Second // what is younger lies close together
	whole := math.Log1p(float64(oldest) / float64(fine))
	return func(a time.Duration) int {
		part := 0.0
		if whole > 0 {
			part = math.Log1p(float64(max(0, a))/float64(fine)) / whole
		}
		return pictureWidth - pictureMargin - int(math.Round(min(max(part, 0), 1)*(pictureWidth-2*pictureMargin)))
	}
}

// exitKind is the class of an exit in pictures and tables.
func exitKind(e *api.Exit) string {
	const config = 78
	switch {
	case e.Asked:
		return "asked"
	case e.Signal != "":
		return "signal"
	case e.Code == nil:
		return "unknown"
	case *e.Code == config:
		return "config"
	case *e.Code != 0:
		return "code"
	}
	return "ok"
}

// exitWords say how a run ended, without its reason.
func exitWords(e *api.Exit) string {
	text := "unknown"
	switch {
	case e.Signal != "":
		text = e.Signal
	case e.Code != nil:
		text = "exit " + strconv.Itoa(*e.Code)
	}
	if e.Asked {
		text = "stopped as asked (" + text + ")"
	}
	if n := len(e.Strays) + e.MoreStrays; n > 0 {
		text += fmt.Sprintf(", left %d processes behind", n)
	}
	return text
}

func exitTime(e *api.Exit) string { return utc(e.At.UnixMilli()) }

// ranFor is how long the run lasted, "" if that is not known.
func ranFor(e *api.Exit) string {
	if e.Started.IsZero() || e.At.Before(e.Started) {
		return ""
	}
	return amount.Span(e.At.Sub(e.Started))
}

// tellExits is the picture in words.
func tellExits(exits []api.Exit) string {
	byWords := map[string]int{}
	for i := range exits {
		byWords[exitWords(&exits[i])]++
	}
	var parts []string
	for words, n := range byWords {
		parts = append(parts, fmt.Sprintf("%d × %s", n, words))
	}
	slices.SortFunc(parts, func(a, b string) int { return cmp.Or(-cmp.Compare(leading(a), leading(b)), strings.Compare(a, b)) })
	const most = 6
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d other kinds", more))
	}
	first, last := &exits[len(exits)-1], &exits[0]
	if len(exits) == 1 {
		return fmt.Sprintf("One run ended at %s: %s.", exitTime(last), exitWords(last))
	}
	return fmt.Sprintf("%d runs ended from %s to %s: %s.", len(exits), exitTime(first), exitTime(last), strings.Join(parts, ", "))
}

func leading(s string) int {
	n, _ := strconv.Atoi(s[:strings.IndexByte(s, ' ')])
	return n
}

// memoryPicture is the memory of a gateway over the last hour.
type memoryPicture struct {
	Width, Height     int
	Lines             []string // the points of a line for each run without a gap
	Top               string   // what the upper edge stands for
	From              string   // what the left edge stands for
	Title, Words, Now string
}

// drawMemory makes the picture of samples, which come oldest first.
func drawMemory(all []sample, now time.Time) memoryPicture {
	p := memoryPicture{Width: pictureWidth, Height: memoryHeight, Title: "Memory over the last hour"}
	var most, least, last int64
	for _, s := range all {
		if s.bytes > 0 {
			most, last = max(most, s.bytes), s.bytes
			if least == 0 || s.bytes < least {
				least = s.bytes
			}
		}
	}
	if most == 0 {
		p.Words = "No sample yet: one is taken every 10 s while it runs."
		return p
	}
	first := min(all[0].at, now.UnixMilli())
	width := max(now.UnixMilli()-first, 1)
	top := niceTop(most)
	var points []string
	flush := func() {
		if len(points) == 1 { // a line as long as it is thick
			x, y, _ := strings.Cut(points[0], ",")
			at, _ := strconv.Atoi(x)
			points = append(points, strconv.Itoa(min(at+2, pictureWidth))+","+y)
		}
		if len(points) > 0 {
			p.Lines = append(p.Lines, strings.Join(points, " "))
		}
		points = nil
	}
	for _, s := range all {
		if s.bytes <= 0 {
			flush()
			continue
		}
		x := pictureMargin + within(float64(s.at-first)/float64(width))*(pictureWidth-2*pictureMargin)
		y := memoryHeight - pictureMargin - within(float64(s.bytes)/float64(top))*(memoryHeight-2*pictureMargin)
		points = append(points, strconv.Itoa(int(math.Round(x)))+","+strconv.Itoa(int(math.Round(y))))
	}
	flush()
	p.Top, p.From, p.Now = amount.Bytes(top), ago(now, first), amount.Bytes(last)
	p.Words = fmt.Sprintf("Over the last %s: now %s, least %s, most %s.", cmp.Or(p.From, "0s"), p.Now, amount.Bytes(least), amount.Bytes(most))
	return p
}

func within(part float64) float64 {
	if math.IsNaN(part) {
		return 0
	}
	return min(max(part, 0), 1)
}

// niceTop is the next larger number of the form 1, 2 or 5 times a power of ten.
func niceTop(n int64) int64 {
	for unit := int64(1); unit <= math.MaxInt64/10; unit *= 10 {
		for _, k := range []int64{1, 2, 5} {
			if unit*k >= n {
				return unit * k
			}
		}
	}
	return math.MaxInt64
}
