package browser

import (
	"strings"
	"testing"
)

// What a gateway might say to do something to who reads it: markup that would
// set the canary, and what a terminal would obey.
const (
	hostileScript = `<script>window.` + canary + `=1</script>`
	hostileImage  = `"><img src=x onerror="window.` + canary + `=1">`
	hostileANSI   = "\x1b[31mred\x1b[0m \x1b]0;" + canary + "\x07 \x1b[2J\u202egnp.exe"
	hostileLine   = hostileScript + hostileImage
)

// foreignElements counts elements that are none of the dashboard's own.
const foreignElements = `document.querySelectorAll("main img, main script:not(#data[type='application/json'])").length`

// hostile is a fleet whose gateways mean ill: in their logs, in the reason they
// are parked for, in what they say their status is, in their settings and in
// what their SOUL.md is called.
func hostile(t testing.TB) *fleet {
	t.Helper()
	f := newFleet(t)
	f.profile("default", shared.probe)
	// Said by a shell, from a file: a quote in a list of YAML is no quote of a
	// shell's.
	for name, after := range map[string]string{"noisy": "exec sleep 1000000", "parked": "exit 78"} {
		f.profile(name, "/bin/sh", "-c", `cat "$HERMES_HOME/words"; `+after)
		f.file(name, "words", hostileANSI+"\n"+hostileLine+"\n")
		f.file(name, "SOUL.md", "# "+hostileLine+"\n")
		f.file(name, ".env", "NICKNAME='"+strings.ReplaceAll(hostileLine, "'", "")+"'\nNICKNAME_API_KEY=sk-"+canary+"-0123456789\n")
	}
	f.up("noisy", "parked")
	f.running("noisy")
	f.until("parked is parked", func() bool {
		state, _ := f.state("parked")
		return state == "parked"
	})
	return f
}

// TestHostileText: what a gateway says is text, wherever it is shown.
func TestHostileText(t *testing.T) {
	t.Parallel()
	f := hostile(t)
	p := newPage(t, f.base())
	p.open("/")
	p.reads(row("parked"), hostileScript)
	p.reads(row("parked"), hostileImage)
	p.harmless("the fleet")
	// The same by the stream, which the page's script puts in its place.
	f.hermes("gateway", "stop", "parked")
	p.reads(row("parked")+" td b", "stopped")
	p.allow("status of [45]..")
	p.hit(button("parked", "start"))
	p.reads(row("parked"), hostileImage)
	p.reads("#results li", "parked")
	p.textOnly("the fleet, live")
}

// TestHostileProfile: nor is it anything but text on the profile's own page.
func TestHostileProfile(t *testing.T) {
	t.Parallel()
	f := hostile(t)
	p := newPage(t, f.base())
	for _, name := range []string{"noisy", "parked"} {
		p.open("/profile/" + name)
		p.reads("#soul", hostileScript)
		p.reads("#log", hostileLine)
		p.until("the log is live and shows what a terminal would obey", logLines+`.includes("\\x1b[31m")`)
		p.click("#environment summary")
		p.reads(`#environment [data-name="NICKNAME_API_KEY"]`, "hidden")
		p.textOnly("the page of " + name)
	}
	p.reads("#reason", hostileImage)
	p.click("#exits-list summary")
	p.reads("#exits-list", hostileScript)
	f.hermes("gateway", "restart", "noisy")
	p.textOnly("the page of parked, live")
}

// textOnly fails the test if any element or any steering character of a
// gateway's is in the page.
func (p *page) textOnly(where string) {
	p.t.Helper()
	p.harmless(where)
	if n := js[int](p, foreignElements); n != 0 {
		p.t.Errorf("%s: %d elements are a gateway's", where, n)
	}
	if found := js[[]string](p, `document.body.innerText.split("\n").filter(line => /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(line))`); len(found) > 0 {
		p.t.Errorf("%s: characters that steer are in its text: %q", where, found)
	}
}

// TestHostileAddress: what is in an address is text, too.
func TestHostileAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up()
	p := newPage(t, f.base())
	p.allow("status of 4..")
	const escaped = "%22%3E%3Cimg%20src%3Dx%20onerror%3D%22window." + canary + "%3D1%22%3E"
	for _, path := range []string{"/?q=" + escaped + "&state=" + escaped + "&sort=" + escaped, "/?result=" + escaped, "/profile/" + escaped, "/" + escaped, "/#" + escaped} {
		p.open(path)
		p.harmless(path)
		if n := js[int](p, foreignElements); n != 0 {
			t.Errorf("%s: %d elements are of the address", path, n)
		}
	}
}
