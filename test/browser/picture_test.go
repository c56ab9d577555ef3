package browser

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var pictures = flag.String("pictures", "", "a directory that TestPictures writes its pictures to, instead of only taking them")

// village is a small fleet as people have them: five that run, one of them
// after a few deaths, one stopped on purpose, one whose settings are wrong and
// one that cannot reach what it needs.
func village(t testing.TB) *fleet {
	t.Helper()
	f := newFleet(t)
	// Those that say nothing of a command are the built-in gateway here.
	f.env = slices.DeleteFunc(f.env, func(kv string) bool { return strings.HasPrefix(kv, "HERMES_GATEWAY_COMMAND=") })
	for name, soul := range map[string]string{
		"coder": "# Ada, who reviews pull requests", "librarian": "# Keeper of the notes", "planner": "# Plans the week", "translator": "# Says it in other words",
	} {
		f.file(name, "SOUL.md", soul+"\n")
		f.file(name, "config.yaml", fmt.Sprintf("model:\n  provider: echo\ngateway:\n  port: %d\n", freePort(t)))
		f.file(name, ".env", "OPENAI_API_KEY=sk-0123456789\nLOG_LEVEL=info\n")
	}
	f.file("coder", "supervision.json", history(time.Now()))
	f.profile("default", shared.probe)
	f.profile("night-shift", shared.probe)
	f.profile("mailer", "/bin/sh", "-c", `echo "error: MAIL_PASSWORD is not set in .env"; exit 78`)
	f.profile("scraper", "/bin/sh", "-c", `echo "error: feeds.example.org:443: connection refused"; exit 1`)
	f.up("default", "coder", "librarian", "planner", "translator", "night-shift", "mailer", "scraper")
	f.hermes("gateway", "stop", "night-shift")
	f.until("the fleet is as it stays", func() bool {
		s, err := f.tryStatus()
		if err != nil {
			return false
		}
		settled := 0
		for _, g := range s.Gateways {
			switch {
			case g.Profile == "scraper" && g.State == "backoff" && g.Restarts > 4,
				g.Profile != "scraper" && (g.State == "running" || g.State == "parked" || g.State == "stopped"):
				settled++
			}
		}
		return settled == len(s.Gateways)
	})
	return f
}

// history is what is kept of a gateway that has run for a week: a crash now and
// then, a restart for a new version.
func history(now time.Time) string {
	type exit struct {
		Run     int64     `json:"run"`
		Code    *int      `json:"code,omitempty"`
		Signal  string    `json:"signal,omitempty"`
		Asked   bool      `json:"asked,omitempty"`
		Reason  string    `json:"reason,omitempty"`
		Started time.Time `json:"started"`
		At      time.Time `json:"at"`
	}
	var exits []exit
	started := now.Add(-8 * 24 * time.Hour)
	for i, ago := range []time.Duration{150 * time.Hour, 97 * time.Hour, 96 * time.Hour, 51 * time.Hour, 26 * time.Hour, 9 * time.Hour, 8*time.Hour + 50*time.Minute, 100 * time.Minute, 12 * time.Minute} {
		e := exit{Run: int64(i + 1), Started: started, At: now.Add(-ago)}
		switch i {
		case 1, 6:
			e.Signal = "SIGKILL"
		case 2, 5:
			e.Code, e.Reason = new(int), "error: the provider closed the connection"
			*e.Code = 1
		default:
			e.Code, e.Asked = new(int), true
		}
		exits = append(exits, e)
		started = e.At.Add(time.Second)
	}
	text, _ := json.Marshal(map[string]any{"version": 1, "state": "running", "restarts": 4, "exits": exits}) // these always have a form
	return string(text)
}

// TestPictures takes the pictures of the documentation: both themes and a
// phone, the fleet and one profile.
func TestPictures(t *testing.T) {
	t.Parallel()
	f := village(t)
	for _, shot := range []struct {
		name, path, scheme string
		width, height      int64
		ready              string
	}{
		{"fleet-light", "/", "light", 1180, 520, shownRows},
		{"fleet-dark", "/", "dark", 1180, 520, shownRows},
		{"fleet-phone", "/", "light", 360, 780, shownRows},
		{"profile-light", "/profile/coder", "light", 1180, 860, one("#exits-picture")},
		{"profile-dark", "/profile/coder", "dark", 1180, 860, one("#exits-picture")},
		{"profile-phone", "/profile/coder", "dark", 360, 780, one("#exits-picture")},
	} {
		p := newPage(t, f.base())
		p.prefers(shot.scheme)
		if shot.width < 500 {
			p.size(shot.width, shot.height, chromedp.EmulateMobile, chromedp.EmulateTouch)
		} else {
			p.size(shot.width, shot.height)
		}
		p.open(shot.path)
		p.until(shot.name+" is ready", shot.ready)
		p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
		if *pictures != "" && shot.path != "/" {
			p.until("the memory is more than a dot", one("#memory-picture polyline")+`?.getAttribute("points").split(" ").length > 2`)
		}
		p.fits(shot.name)
		raw, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if size := picture.Bounds().Size(); int64(size.X) != shot.width || int64(size.Y) != shot.height {
			t.Errorf("%s is %v", shot.name, size)
		}
		p.close()
		if *pictures == "" {
			continue
		}
		var small bytes.Buffer
		encoder := png.Encoder{CompressionLevel: png.BestCompression}
		if err := encoder.Encode(&small, paletted(picture)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*pictures, shot.name+".png"), small.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// paletted is a picture in its 256 most frequent colours, which makes its file
// half as long; the others are shades at the edges of letters.
func paletted(from image.Image) *image.Paletted {
	bounds := from.Bounds()
	counts := map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[from.At(x, y)]++
		}
	}
	palette := color.Palette(slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] }))
	palette = palette[:min(len(palette), 256)]
	to := image.NewPaletted(bounds, palette)
	draw.Draw(to, bounds, from, bounds.Min, draw.Src)
	return to
}
