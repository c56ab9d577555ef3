package browser

import (
	"flag"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

var (
	gateways = flag.Int("gateways", 1000, "gateways of the fleet that BenchmarkPage shows")
	rounds   = flag.Int("k", 15, "how often BenchmarkPage measures each figure")
)

// goal is what the first two figures of BenchmarkPage are to be in the browser.
const goal = 300 * time.Millisecond

// BenchmarkPage measures how the page of a large fleet feels in the browser, and
// prints it as a table; see docs/bench.md. Nothing fails for being slow.
func BenchmarkPage(b *testing.B) {
	b.StopTimer()
	f := crowd(b, *gateways)
	n := measure(b, f, *rounds)
	fmt.Fprintln(os.Stdout, n.table(*gateways, *rounds))
	b.ReportMetric(0, "ns/op") // of the whole set-up, which says nothing
	b.ReportMetric(ms(n.paint), "ms/first-paint")
	b.ReportMetric(ms(n.filter), "ms/filter")
	b.ReportMetric(ms(n.change), "ms/change")
	b.ReportMetric(float64(median(n.bytes)), "B/change")
}

// TestBenchmarkMeasures: the benchmark finds all its figures, in a fleet of
// three. How quick they are is judged by people.
func TestBenchmarkMeasures(t *testing.T) {
	t.Parallel()
	n := measure(t, crowd(t, 3), 1)
	for name, figure := range map[string][]time.Duration{"answer": n.answer, "first paint": n.paint, "settled": n.settled, "filter": n.filter, "change": n.change} {
		if len(figure) != 1 || figure[0] <= 0 || figure[0] > patience {
			t.Errorf("%s: %v", name, figure)
		}
	}
	if len(n.bytes) != 1 || n.bytes[0] < 50 || n.page < 1000 {
		t.Errorf("a change took %v bytes, the page %d", n.bytes, n.page)
	}
	if text := n.table(3, 1); strings.Count(text, "\n|") < 5 {
		t.Errorf("the table is\n%s", text)
	}
}

// crowd is a fleet of n gateways that run and do nothing.
func crowd(t testing.TB, n int) *fleet {
	t.Helper()
	f := newFleet(t)
	f.profile("default", "sleep", "1000000")
	names := []string{"default"}
	for i := 1; i < n; i++ {
		name := fmt.Sprintf("gateway-%04d", i)
		f.profile(name, "sleep", "1000000")
		names = append(names, name)
	}
	f.up(names...)
	f.until("all run", func() bool {
		s, err := f.tryStatus()
		if err != nil {
			return false
		}
		for _, g := range s.Gateways {
			if g.State != "running" {
				return false
			}
		}
		return len(s.Gateways) == n
	})
	return f
}

// figures are what was measured, one of each per round.
type figures struct {
	answer  []time.Duration // navigation to the last byte of the document
	paint   []time.Duration // navigation to first contentful paint
	settled []time.Duration // navigation to the end of the load, scripts included
	filter  []time.Duration // a key in the filter to the frame that shows it
	change  []time.Duration // a gateway's death to its row
	bytes   []int           // of the stream per such change
	page    int             // bytes of the document
}

func measure(t testing.TB, f *fleet, rounds int) figures {
	t.Helper()
	var n figures
	for range rounds {
		p := newPage(t, f.base()) // with nothing in its cache
		p.open("/")
		n.answer = append(n.answer, since(p, `performance.getEntriesByType("navigation")[0].responseEnd`))
		n.paint = append(n.paint, since(p, `performance.getEntriesByName("first-contentful-paint")[0]?.startTime`))
		n.settled = append(n.settled, since(p, `performance.getEntriesByType("navigation")[0].loadEventEnd`))
		n.page = int(js[float64](p, `performance.getEntriesByType("navigation")[0].decodedBodySize`))
		p.close()
	}
	p := newPage(t, f.base())
	p.open("/")
	p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
	p.until("the pages are measured as they are after a while", "performance.now() > 2000")
	n.filters(p, rounds)
	n.changes(f, p, rounds)
	return n
}

// since waits for a number of milliseconds that is known soon.
func since(p *page, expression string) time.Duration {
	p.t.Helper()
	p.until(expression, "("+expression+") > 0")
	return millis(js[float64](p, expression))
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// filters measures keys in the filter. Two frames: the first is the one that
// the key's work is before, in the second it has been painted.
func (n *figures) filters(p *page, rounds int) {
	p.t.Helper()
	js[any](p, `(() => {
		const q = document.querySelector("#q");
		q.addEventListener("keydown", () => {
			const began = performance.now();
			requestAnimationFrame(() => requestAnimationFrame(() => { window.took = performance.now() - began; }));
		});
		return true;
	})()`)
	// In turn one that leaves few rows and one that brings all back.
	for i := range rounds {
		key := "9"
		if i%2 == 1 {
			key = "\b"
		}
		p.focus("#q")
		js[any](p, "window.took = 0, true")
		p.press(key)
		n.filter = append(n.filter, since(p, "window.took"))
	}
	p.fill("#q", "")
}

// changes measures what it takes a row to say that its gateway was killed and
// runs anew.
func (n *figures) changes(f *fleet, p *page, rounds int) {
	p.t.Helper()
	s, err := f.tryStatus()
	if err != nil {
		p.t.Fatal(err)
	}
	data := make(chan int, 1000)
	p.listen(func(event any) {
		if e, ok := event.(*network.EventDataReceived); ok {
			data <- int(e.DataLength)
		}
	})
	pids := map[string]int{}
	for _, g := range s.Gateways {
		pids[g.Profile] = g.PID
	}
	drawn := js[[]string](p, `[...document.querySelectorAll("#rows tr")].map(tr => tr.dataset.p)`)
	for i := range rounds {
		name := drawn[i%len(drawn)] // another each time: one that ran shortly waits for its next run
		p.note(name)
		for len(data) > 0 { // memory that was told of meanwhile
			<-data
		}
		killed := time.Now().UnixMilli()
		if err := syscall.Kill(pids[name], syscall.SIGKILL); err != nil {
			p.t.Fatal(err)
		}
		p.until(name+" is back", `noted.some(n => n.restarts > noted[0].restarts)`)
		for _, seen := range js[[]noted](p, "noted") {
			if seen.Restarts > 0 || seen.State != "running" {
				n.change = append(n.change, time.Duration(max(seen.At-killed, 1))*time.Millisecond)
				break
			}
		}
		received := 0
		for len(data) > 0 {
			received += <-data
		}
		n.bytes = append(n.bytes, received)
	}
}

// table is the figures in Markdown.
func (n figures) table(gateways, rounds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d × %s, %s. Medians of %d, %d gateways that run; the page has %d kB.\n\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), goruntime.NumCPU(), processor(), browserVersion(), rounds, gateways, n.page/1000)
	b.WriteString("| figure | goal | median | worst |\n| --- | --- | --- | --- |\n")
	for _, r := range []struct {
		name, goal string
		all        []time.Duration
	}{
		{"first paint, nothing cached", "≤ " + goal.String(), n.paint},
		{"of this: the document is there", "", n.answer},
		{"loaded, scripts included", "", n.settled},
		{"a key in the filter to the next frame painted", "≤ " + goal.String(), n.filter},
		{"a gateway killed to its row changed", "", n.change},
	} {
		fmt.Fprintf(&b, "| %s | %s | %.0f ms | %.0f ms |\n", r.name, strings.Replace(r.goal, "ms", " ms", 1), ms(r.all), float64(slices.Max(r.all))/float64(time.Millisecond))
	}
	fmt.Fprintf(&b, "| bytes sent for that change | | %d | %d |", median(n.bytes), slices.Max(n.bytes))
	return b.String()
}

func ms(all []time.Duration) float64 { return float64(median(all)) / float64(time.Millisecond) }

func median[T int | time.Duration](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// processor is this machine's, as the kernel calls it.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return goruntime.GOARCH
}

// browserVersion is the browser's own name for itself.
func browserVersion() string {
	v, err := chromedp.CallBrowser(shared.browser, cdpbrowser.GetVersion, cdp.Empty{})
	if err != nil {
		return program
	}
	return v.Product
}
