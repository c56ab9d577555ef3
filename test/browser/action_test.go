package browser

import (
	"os"
	"strings"
	"testing"
)

// row is the selector of a gateway's row.
func row(profile string) string { return "#gw-" + profile }

// button is one of the buttons of a gateway's row.
func button(profile, verb string) string { return row(profile) + ` [data-do="` + verb + `"]` }

// runs waits until the page and the command line agree that a gateway runs.
func (p *page) runs(f *fleet, profile string) (pid int) {
	p.t.Helper()
	p.reads(row(profile)+" td b", "running")
	pid = f.running(profile)
	return pid
}

// TestActions is one gateway's life in the page, from its creation on.
func TestActions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up()
	p := f.open("/")
	p.reads(row("default"), "stopped")

	p.click("#create summary")
	p.fill("#create-name", "coder")
	p.press("\r")
	p.reads("#results .ok", "created profile 'coder'")
	p.reads(row("coder")+" td b", "stopped")
	if state, _ := f.state("coder"); state != "stopped" {
		t.Errorf("coder is %q after its creation in the page", state)
	}

	p.hit(button("coder", "start"))
	first := p.runs(f, "coder")
	p.reads("#results", "coder is running")

	p.hit(button("coder", "restart"))
	p.until("the restart is reported", `document.querySelector('#results li.ok[data-verb="restart"]')`)
	if second := p.runs(f, "coder"); second == first {
		t.Errorf("coder has pid %d before and after the restart", first)
	}

	p.hit(button("coder", "stop"))
	p.reads(row("coder")+" td b", "stopped")
	p.reads("#results", "coder is stopped")
	if state, _ := f.state("coder"); state != "stopped" {
		t.Errorf("coder is %q after it was stopped in the page", state)
	}
	if why := f.hermes("why", "coder"); !strings.Contains(why, "dashboard") {
		t.Errorf("why does not tell that the dashboard stopped it:\n%s", why)
	}
}

// TestActionThatFails: what could not be done is said, with the next command.
func TestActionThatFails(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("broken")
	f.file("broken", "config.yaml", "gateway:\n  command: ["+shared.probe+", -exit=78]\n  ready: notify\n") // it ends before it is ready
	f.up()
	p := f.open("/")
	p.allow("status of [45]..") // the browser's own words on the answer
	p.reads(row("broken"), "stopped")
	p.hit(button("broken", "start"))
	p.reads("#results .bad", "cannot start gateway-broken: exit 78")
	p.reads("#results .bad .hint", "hermes")
	p.reads(row("broken")+" td b", "parked")
	p.reads(row("broken"), "probe exits with 78")

	p.click("#create summary")
	p.fill("#create-name", "broken")
	p.press("\r")
	p.reads("#results .bad", "broken")
	p.until("the form keeps what was typed", `document.querySelector("#create-name").value === "broken"`)
	if n := js[int](p, `document.querySelectorAll("#rows tr").length`); n != 2 {
		t.Errorf("%d rows after a profile that exists was created again, want 2", n)
	}
}

// TestRefusedNames: the browser itself refuses a name that can be none, and the
// server does when it is asked all the same.
func TestRefusedNames(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up()
	p := f.open("/")
	p.allow("status of 4..")
	p.click("#create summary")
	p.fill("#create-name", "No Name!")
	p.press("\r")
	if js[bool](p, `document.querySelector("#create-name").checkValidity()`) {
		t.Error("the browser takes a name that is none")
	}
	for _, name := range []string{"../evil", "No Name!", "root"} {
		code := js[int](p, `fetch("/profiles", {method: "POST", headers: {Accept: "application/json"}, body: new URLSearchParams({name: `+quote(name)+`})}).then(r => r.status)`)
		if code < 400 || code > 499 {
			t.Errorf("the profile %q was answered with %d", name, code)
		}
	}
	if entries, _ := os.ReadDir(f.dir("x") + "/.."); len(entries) != 0 {
		t.Errorf("there are profiles now: %v", entries)
	}
}
