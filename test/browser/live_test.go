package browser

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// noted is what a page showed of a gateway, and when, by the clock that this
// process and the browser share.
type noted struct {
	At       int64 // milliseconds
	State    string
	Restarts int
}

// note has the page write down whatever it shows of a gateway, as soon as that
// is in the page.
func (p *page) note(profile string) {
	p.t.Helper()
	js[any](p, fmt.Sprintf(`(() => {
		const tr = %s;
		window.noted = [];
		const look = () => noted.push({at: Date.now(), state: tr.cells[1].querySelector("b").textContent, restarts: Number(tr.cells[4].textContent)});
		look();
		window.notes?.disconnect();
		window.notes = new MutationObserver(look);
		notes.observe(tr, {subtree: true, childList: true, characterData: true, attributes: true});
		return true;
	})()`, one(row(profile))))
}

// TestCrashIsSeen: a gateway that is killed is seen to crash and to come back,
// each within a second.
func TestCrashIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := []string{"one", "two", "three"}
	f.profile("default", shared.probe)
	for _, name := range names {
		f.profile(name, shared.probe)
	}
	f.up(names...)
	p := f.open("/")
	var crashes, restarts []time.Duration
	for _, name := range names {
		pid := p.runs(f, name)
		p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
		p.note(name)
		killed := time.Now().UnixMilli()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.until(name+" is back", `noted.some(n => n.restarts > noted[0].restarts && n.state === "running")`)
		seen := js[[]noted](p, "noted")
		crash := slices.IndexFunc(seen, func(n noted) bool { return n.State != "running" || n.Restarts > seen[0].Restarts })
		back := slices.IndexFunc(seen, func(n noted) bool { return n.Restarts > seen[0].Restarts && n.State == "running" })
		crashes = append(crashes, time.Duration(seen[crash].At-killed)*time.Millisecond)
		restarts = append(restarts, time.Duration(seen[back].At-killed)*time.Millisecond)
		t.Logf("%s: %+v after the kill at %d", name, seen[1:], killed)
		if again := f.running(name); again == pid {
			t.Errorf("%s still has pid %d", name, pid)
		}
	}
	// Medians: this machine may have been busy with something else once.
	for what, all := range map[string][]time.Duration{"crash": crashes, "restart": restarts} {
		slices.Sort(all)
		if median := all[len(all)/2]; median > time.Second {
			t.Errorf("the page shows a %s after %s: %v", what, median, all)
		}
	}
}

// TestEngineKilled: the page says that the engine is away or was replaced, and
// is right again by itself.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	p := f.open("/")
	pid := p.runs(f, "coder")
	before, err := f.tryStatus()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before.EnginePID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.reads("#renewed", "A new engine")
	p.until("no banner says that the engine is away", `document.querySelector("#away").hidden && !document.body.classList.contains("stale")`)
	after, err := f.tryStatus()
	if err != nil {
		t.Fatal(err)
	}
	p.reads("#renewed-pid", fmt.Sprint(after.EnginePID))
	if again := p.runs(f, "coder"); again != pid {
		t.Errorf("coder had pid %d, and %d after the engine was killed", pid, again)
	}
	f.hermes("gateway", "stop", "coder") // by the new engine, told by its stream
	p.reads(row("coder")+" td b", "stopped")
}

// TestEngineSilent: an engine that is there and does not answer is away, too.
func TestEngineSilent(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.up("default")
	p := f.open("/")
	p.runs(f, "default")
	s, err := f.tryStatus()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.EnginePID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awake := func() { _ = syscall.Kill(s.EnginePID, syscall.SIGCONT) }
	t.Cleanup(awake)
	p.reads("#away", "last known state")
	p.reads(row("default")+" td b", "running")
	awake()
	p.until("the banner is gone", `document.querySelector("#away").hidden`)
}

// TestSupervisorStopped: without a supervisor the page keeps what it knew, says
// so with the next command, and follows the next supervisor by itself.
func TestSupervisorStopped(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	p := f.open("/")
	p.runs(f, "coder")
	f.supervisor.end(t)
	p.reads("#away", "Engine away")
	p.reads("#away", "last known state")
	p.reads("#away-hint", "hermes up")
	p.reads(row("coder"), "coder")

	// The same for somebody who comes now.
	p.open("/")
	p.reads("#away", "last known state")
	p.reads(row("coder"), "coder")

	// An action says why it cannot be done.
	p.allow("status of [45]..")
	offered := js[string](p, `[...document.querySelectorAll("#gw-coder button")].find(b => b.checkVisibility()).dataset.do`) // by what was seen last
	p.hit(button("coder", offered))
	p.reads("#results .bad", "✗")

	f.supervise("coder")
	p.until("the banner is gone", `document.querySelector("#away").hidden`)
	p.runs(f, "coder")
}

// TestDashboardRestarted: a page whose dashboard goes says so, and is right
// again when there is the next one.
func TestDashboardRestarted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("default")
	p := f.open("/")
	p.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
	p.runs(f, "default")
	f.dashboard.end(t)
	p.reads("#link", "dashboard away")
	p.reads(row("default")+" td b", "running")
	f.hermes("gateway", "start", "coder")
	f.hermes("profile", "create", "late")
	f.dashboard = f.start("dashboard")
	p.until("the page is live again", `document.querySelector("#link").dataset.link === "live"`)
	p.reads(row("coder")+" td b", "running")
	p.reads(row("late")+" td b", "stopped")
}
