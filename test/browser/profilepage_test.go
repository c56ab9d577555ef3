package browser

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// talker is a profile whose gateway says what is appended to its file "words".
func (f *fleet) talker(name string) {
	f.t.Helper()
	f.profile(name, "tail", "-n", "+1", "-f", "words")
	f.file(name, "words", "hello from "+name+"\n")
}

// say appends lines to what a talker says.
func (f *fleet) say(name string, lines ...string) {
	f.t.Helper()
	file, err := os.OpenFile(filepath.Join(f.dir(name), "words"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		f.t.Fatal(err)
	}
}

// TestProfileOfAGateway: what the page of one profile says of it, and that it
// follows what happens.
func TestProfileOfAGateway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	pid := f.running("coder")
	p := f.open("/")
	p.hit(row("coder") + " a")
	p.reads("h1", "coder")
	p.reads("#soul", "You are coder.")
	p.reads("#state-word", "running")
	p.reads("#fact-intent", "running")
	p.reads("#fact-intent-by", "up uid")
	p.reads("#fact-pid", strconv.Itoa(pid))
	p.until("what is next is said", one("#next-words")+".textContent.length > 10")
	p.reads("#exits-words", "No run has ended yet")

	p.hit(`[data-do="stop"]`)
	p.reads("#state-word", "stopped")
	p.reads("#fact-intent", "stopped")
	p.reads("#fact-intent-by", "dashboard")
	p.reads("#exits-words", "asked")
	p.hit(`[data-do="start"]`)
	p.reads("#state-word", "running")
	p.until("the memory is drawn", one("#memory-picture polyline"))
	for _, picture := range []string{"exits", "memory"} {
		words := p.text("#" + picture + "-words")
		if len(words) < 10 {
			t.Errorf("the picture of %s has the words %q", picture, words)
		}
		if labelled := js[string](p, one("#"+picture+"-picture")+`.getAttribute("aria-labelledby")`); !strings.Contains(labelled, picture+"-words") {
			t.Errorf("the picture of %s is labelled by %q", picture, labelled)
		}
	}
	p.click("#exits-list summary")
	p.until("the exits are listed", `document.querySelectorAll("#exits-list tbody tr").length === 1`)
	p.click("#back")
	p.until("the way back leads to the fleet", one("#fleet"))

	p.allow("status of 404")
	p.open("/profile/nobody")
	p.reads("h1", "nobody")
	p.reads("h1", "hermes profile create nobody")
}

// TestCrashIsInThePicture: on its own page, too, a crash and the restart are
// seen within a second.
func TestCrashIsInThePicture(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	p := newPage(t, f.base())
	p.open("/profile/coder")
	var took []time.Duration
	for n := range 3 {
		pid := f.running("coder")
		p.reads("#fact-pid", strconv.Itoa(pid))
		p.until("the page is live", `document.querySelector("#link").dataset.link === "live"`)
		js[any](p, `(() => {
			window.notes?.disconnect();
			window.crashed = window.back = 0;
			const look = () => {
				if (!crashed && document.querySelectorAll("#exits-picture g.signal").length > `+strconv.Itoa(n)+`) crashed = Date.now();
				const now = document.querySelector("#fact-pid")?.textContent;
				if (!back && now && now !== "`+strconv.Itoa(pid)+`" && document.querySelector("#state-word").textContent === "running") back = Date.now();
			};
			window.notes = new MutationObserver(look);
			notes.observe(document.body, {subtree: true, childList: true, characterData: true});
			return true;
		})()`)
		killed := time.Now().UnixMilli()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.until("the crash and the next process are shown", "crashed && back")
		took = append(took, time.Duration(max(js[int64](p, "crashed"), js[int64](p, "back"))-killed)*time.Millisecond)
		// Its runs were too short to count as healthy: each next one waits longer.
		f.hermes("gateway", "restart", "coder")
	}
	p.reads("#exits-words", "SIGKILL")
	t.Logf("crash and restart after %v", took)
	if slices.Sort(took); took[1] > time.Second {
		t.Errorf("the page shows crash and restart after %v", took)
	}
}

// logLines are the lines of the log that can be seen.
const logLines = `[...document.querySelectorAll("#log div")].filter(d => d.checkVisibility()).map(d => d.textContent).join("\n")`

// TestLog: lines come as they are said, can be searched and be held back.
func TestLog(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.talker("coder")
	f.up("coder")
	p := newPage(t, f.base())
	p.open("/profile/coder")
	p.until("what was said before is shown", logLines+`.includes("hello from coder")`)
	f.say("coder", "the first", "a needle", "the last")
	p.until("lines come live", logLines+`.includes("the last")`)
	if twice := js[int](p, logLines+`.split("hello from coder").length - 1`); twice != 1 {
		t.Errorf("the first line is there %d times", twice)
	}

	p.press("/")
	p.until("/ goes to the search", `document.activeElement.id === "log-q"`)
	p.press("needle")
	p.until("the search leaves what matches", logLines+`.includes("a needle") && !`+logLines+`.includes("the last")`)
	p.reads("#log-note", "1 of")
	f.say("coder", "more hay", "another needle")
	p.until("new lines are searched, too", logLines+`.includes("another needle") && !`+logLines+`.includes("more hay")`)
	p.fill("#log-q", "")
	p.until("the search can be taken back", logLines+`.includes("more hay")`)

	p.click("#log-pause")
	f.say("coder", "said in the pause")
	p.reads("#log-note", "1 new line")
	if js[bool](p, logLines+`.includes("said in the pause")`) {
		t.Error("a line came in the pause")
	}
	p.click("#log-pause")
	p.until("it goes on with what was said in the pause", logLines+`.includes("said in the pause")`)

	// A new engine goes on where the last one ended.
	s, err := f.tryStatus()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.EnginePID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.say("coder", "said to nobody")
	p.until("the log goes on under a new engine", logLines+`.includes("said to nobody")`)
	if n := js[int](p, logLines+`.split("said in the pause").length - 1`); n != 1 {
		t.Errorf("a line is there %d times after the engine was killed", n)
	}
}

// TestConfiguration: settings and where they come from, without a secret.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	const secret = "sk-live-0123456789abcdef"
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.file("coder", ".env", "OPENAI_API_KEY="+secret+"\nDATABASE_URL=postgres://me:"+secret+"@db/x\nAPI_SERVER_PORT=9555\n")
	f.up("coder")
	p := newPage(t, f.base())
	p.open("/profile/coder")
	p.reads(`#settings [data-name="gateway.command"], #settings [data-name="command"]`, "probe")
	p.reads("#settings", "9555")
	p.click("#environment summary")
	p.reads(`#environment [data-name="OPENAI_API_KEY"]`, "hidden")
	p.reads(`#environment [data-name="OPENAI_API_KEY"]`, ".env")
	p.reads(`#environment [data-name="HERMES_PROFILE"]`, "coder")
	if js[bool](p, `document.documentElement.outerHTML.includes(`+quote(secret)+`)`) {
		t.Error("a secret is in the page")
	}
	f.file("coder", "config.yaml", "gateway:\n  no_such_key: 1\n")
	p.open("/profile/coder")
	p.reads("#config-error", "no_such_key")
	p.reads("h1", "coder")
}

// TestRenameAndDelete: a name typed wrongly deletes nothing.
func TestRenameAndDelete(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.profile("other", shared.probe)
	f.up("coder")
	f.running("coder")
	p := newPage(t, f.base())
	p.allow("status of 4..")
	p.open("/profile/coder")
	p.click("#rename summary")
	p.fill("#rename-to", "other")
	p.press("\r")
	p.reads("#results .bad", "other")
	p.fill("#rename-to", "writer")
	p.press("\r")
	p.until("the page is the renamed profile's", `location.pathname === "/profile/writer"`)
	p.reads("#results .ok", "renamed profile 'coder' to 'writer'")
	p.reads("#state-word", "running")
	f.running("writer")

	p.click("#delete summary")
	p.fill("#delete-confirm", "write")
	p.press("\r")
	p.reads("#results .bad", "was not deleted")
	if pid := f.running("writer"); pid == 0 {
		t.Error("writer is gone although its name was not typed")
	}
	p.fill("#delete-confirm", "writer")
	p.press("\r")
	p.until("the page is the fleet", `location.pathname === "/" && `+one("#fleet"))
	p.reads("#results .ok", "deleted profile 'writer'")
	p.until("its row is gone", "!"+one(row("writer")))
	if _, err := os.Stat(f.dir("writer")); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}

	// A page of a profile that goes says so.
	p.open("/profile/other")
	f.hermes("profile", "delete", "--yes", "other")
	p.reads("#gone", "not there any more")
	p.open("/profile/default") // the home itself
	if js[bool](p, "Boolean("+one("#delete")+" || "+one("#rename")+")") {
		t.Error("the home can be deleted or renamed")
	}
}

// TestProfileWithoutEngine: what is known stays, and the page says what is not.
func TestProfileWithoutEngine(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.profile("default", shared.probe)
	f.profile("coder", shared.probe)
	f.up("coder")
	p := newPage(t, f.base())
	p.allow("status of [45]..")
	p.open("/profile/coder")
	p.reads("#state-word", "running")
	f.supervisor.end(t)
	p.reads("#away", "Engine away")
	p.reads("#fact-intent", "running")
	p.open("/profile/coder")
	p.reads("h1", "coder")
	p.reads("#away", "last known state")
	f.supervise("coder")
	p.until("the banner is gone", `document.querySelector("#away").hidden`)
	pid := f.running("coder")
	p.reads("#state-word", "running")
	p.reads("#fact-pid", strconv.Itoa(pid))
}
