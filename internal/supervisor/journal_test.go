package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/supervisor"
)

// leaky is a runner whose runs leave a stray that holds their output open.
type leaky struct {
	*enginetest.Fake
	mu     *sync.Mutex
	strays map[uint64]int // generation → write end
	runs   *[]uint64
}

func newLeaky(t *testing.T, fake *enginetest.Fake) leaky {
	l := leaky{Fake: fake, mu: new(sync.Mutex), strays: map[uint64]int{}, runs: new([]uint64)}
	t.Cleanup(func() {
		for _, fd := range l.strays {
			unix.Close(fd)
		}
	})
	return l
}

func (l leaky) Spawn(ctx context.Context, s engine.Spec) (engine.Run, error) {
	run, err := l.Fake.Spawn(ctx, s)
	if err != nil {
		return run, err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return run, err
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return run, err
	}
	unix.Close(run.Log)
	run.Log = p[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strays[s.Generation] = p[1]
	*l.runs = append(*l.runs, s.Generation)
	return run, nil
}

// say writes to the output of the n-th run, whether it lives or not.
func (l leaky) say(n int, text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := unix.Write(l.strays[(*l.runs)[n]], []byte(text))
	return err
}

func (l leaky) spawned() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(*l.runs)
}

// logged is the gateway's log without its stamps.
func (r *rig) logged(name string) []string {
	r.t.Helper()
	lines, err := logfile.Tail(filepath.Join(r.dir, "logs/gateways", name), 1000)
	if err != nil {
		return nil
	}
	for i, l := range lines {
		_, lines[i], _ = strings.Cut(l, " ")
	}
	return lines
}

func (r *rig) untilLogged(name string, want ...string) {
	r.t.Helper()
	r.until(fmt.Sprintf("%q is logged", want), func() bool { return slices.Equal(r.logged(name), want) })
}

// TestStraysDoNotMixWithTheNextRun: a stray may hold a pipe open and write to
// it for ever. What it says after its gateway's end is not in the log.
func TestStraysDoNotMixWithTheNextRun(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	l := newLeaky(t, r.fake)
	if err := r.open(l).Boot(t.Context(), supervisor.BootRequest{Wanted: []profile.Name{"anna"}}); err != nil {
		t.Fatal(err)
	}
	r.run()
	var want []string
	for n := range 4 {
		r.until("it is spawned", func() bool { return l.spawned() == n+1 })
		if err := l.say(n, fmt.Sprintf("run %d begins\nand ends", n)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("run %d begins", n), "and ends")
		r.untilLogged("anna", want...) // it is this run's turn
		for stray := range n {
			_ = l.say(stray, "a stray's\nlines") // EPIPE is the right answer to it
		}
		if err := l.say(n, " within a line"); err != nil {
			t.Fatal(err)
		}
		want[len(want)-1] += " within a line"
		began := time.Now()
		r.must(restartIt, "anna")
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("the stray held the restart up for %v", took)
		}
	}
	r.untilLogged("anna", want...)
	done := make(chan error, 1)
	go func() { done <- r.fleet.Delete(context.Background(), "anna", "") }() // awaited below
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the stray holds the deletion up")
	}
}

// TestStrayThatFloods gets no more than its turn.
func TestStrayThatFloods(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	l := newLeaky(t, r.fake)
	if err := r.open(l).Boot(t.Context(), supervisor.BootRequest{Wanted: []profile.Name{"anna"}}); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.until("it is spawned", func() bool { return l.spawned() == 1 })
	flood := make(chan struct{})
	line := strings.Repeat("x", 4095) + "\n"
	go func() { // ends when nobody reads any more
		defer close(flood)
		for l.say(0, line) == nil {
		}
	}()
	r.must(stopIt, "anna")
	select {
	case <-flood:
	case <-time.After(5 * time.Second):
		t.Fatal("it is read for ever")
	}
}

// TestLastWordsAreTheReason, those of the run that failed and of no other.
func TestLastWordsAreTheReason(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.boot("anna")
	if err := r.fake.Write(slotOf("anna"), "one\ntwo\nthree\nno \x1b[31mkey\x1b[0m in .env"); err != nil {
		t.Fatal(err)
	}
	r.end("anna", 78)
	r.untilState("anna", profile.StateParked)
	want := "exit 78 (configuration): two | three | no [31mkey[0m in .env"
	if got := r.gateway("anna").Reason; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	if got := r.observed("anna"); got.Reason != want || got.Exits[0].Reason != want {
		t.Errorf("on record %+v", got)
	}
	r.must(startIt, "anna")
	r.end("anna", 78)
	r.untilState("anna", profile.StateParked)
	if got := r.gateway("anna").Reason; got != "exit 78 (configuration)" {
		t.Errorf("another run's words: %q", got)
	}
}

// TestCommandsMeetWhatIs: a start that comes while the last words of a run are
// being written starts another, and the exit is filed once.
func TestCommandsMeetWhatIs(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.profile("marker")
	l := newLeaky(t, r.fake)
	if err := r.open(l).Boot(t.Context(), supervisor.BootRequest{Wanted: []profile.Name{"anna", "marker"}}); err != nil {
		t.Fatal(err)
	}
	r.run()
	meet := func(round int) {
		release := r.fleet.Hold("anna")
		defer release()
		r.fake.End(slotOf("anna"), 1)
		r.fake.End(slotOf("marker"), 78)
		r.untilState("marker", profile.StateParked) // so anna's exit is posted
		done := r.ask(startIt, "anna")
		n := r.fleet.Posted("anna")
		r.until("the command is posted", func() bool { return r.fleet.Posted("anna") > min(n, 1) })
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if g := r.gateway("anna"); g.State != "running" || g.Restarts != 0 {
			t.Fatalf("round %d: %+v", round, g)
		}
	}
	for round := range 30 {
		r.untilState("anna", profile.StateRunning)
		r.untilState("marker", profile.StateRunning)
		meet(round)
		r.must(startIt, "marker")
	}
	if got := len(r.observed("anna").Exits); got > 30 {
		t.Errorf("%d exits of 30 runs", got)
	}
}

// TestLastWordsAreAwaited however fast the end comes.
func TestLastWordsAreAwaited(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.boot("anna")
	for n := range 30 {
		words := fmt.Sprintf("%s %d", strings.Repeat("x", 200), n)
		if err := r.fake.Write(slotOf("anna"), strings.Repeat("line\n", 10000)+words); err != nil {
			t.Fatal(err)
		}
		r.end("anna", 78)
		r.untilState("anna", profile.StateParked)
		if got := r.gateway("anna").Reason; !strings.HasSuffix(got, words) {
			t.Fatalf("round %d: reason %q", n, got)
		}
		r.must(startIt, "anna")
	}
}

// TestStillbornIsNoSuccess: a start is not answered with a run that is known to
// have ended.
func TestStillbornIsNoSuccess(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	if err := r.open(stillborn{r.fake}).Boot(t.Context(), bootRequest()); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.fails(r.do(startIt, "anna"), "cannot start gateway-anna: exit 1")
}

// TestLogGoesOnWithTheNextSupervisor: within the same line, and with what the
// runner kept in between.
func TestLogGoesOnWithTheNextSupervisor(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.boot("anna")
	say := func(text string) {
		t.Helper()
		if err := r.fake.Write(slotOf("anna"), text); err != nil {
			t.Fatal(err)
		}
	}
	say("first\nsecond, beg")
	r.untilLogged("anna", "first", "second, beg")
	r.leave()
	say("un by one")
	r.fake = r.fake.Successor()
	backlog := filepath.Join(t.TempDir(), "backlog")
	if err := os.WriteFile(backlog, []byte(", kept by another"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := keptOutput{r.fake, backlog}
	if err := r.open(kept).Boot(t.Context(), supervisor.BootRequest{Returning: true}); err != nil {
		t.Fatal(err)
	}
	r.run()
	say(" and ended\nthird\n")
	r.untilLogged("anna", "first", "second, beg, kept by another", "hermes: 42 bytes of output lost here: no supervisor read it",
		"un by one and ended", "third")
	r.until("the backlog is removed", func() bool { _, err := os.Stat(backlog); return os.IsNotExist(err) })
	if g := r.gateway("anna"); g.LogLost != 42 || g.LogDropped != 42 || g.LogError != "" {
		t.Errorf("%+v", g)
	}
	r.spawned("anna", 1)

	// The keeper counts from the start of the run: what the log says once it
	// does not say again.
	r.leave()
	r.fake = r.fake.Successor()
	kept = keptOutput{r.fake, ""}
	if err := r.open(kept).Boot(t.Context(), supervisor.BootRequest{Returning: true}); err != nil {
		t.Fatal(err)
	}
	r.run()
	say("fourth\n")
	r.untilLogged("anna", "first", "second, beg, kept by another", "hermes: 42 bytes of output lost here: no supervisor read it",
		"un by one and ended", "third", "fourth")
}

// keptOutput is a runner that kept output and dropped some.
type keptOutput struct {
	*enginetest.Fake
	backlog string
}

func (k keptOutput) List(ctx context.Context) ([]engine.Run, error) {
	runs, err := k.Fake.List(ctx)
	for i := range runs {
		runs[i].LogBacklog, runs[i].LogDropped = k.backlog, 42
	}
	return runs, err
}

// TestLogBoundsFollowTheConfiguration, from the next run on.
func TestLogBoundsFollowTheConfiguration(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.boot("anna")
	dir := filepath.Join(r.dir, "logs/gateways/anna")
	fill := func() {
		for range 20 {
			if err := r.fake.Write(slotOf("anna"), strings.Repeat("x", 999)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	r.until("20 lines are logged", func() bool { return len(r.logged("anna")) == 20 })
	r.configure("anna", "logs: {max_size: 4096, max_files: 3}")
	r.must(restartIt, "anna")
	fill()
	r.until("there are three files", func() bool {
		files, err := os.ReadDir(dir)
		return err == nil && len(files) == 3
	})
	for _, f := range []string{"current"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Size() > 4096 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
}

// TestUnwritableLogCostsLinesOnly, and is shown.
func TestUnwritableLogCostsLinesOnly(t *testing.T) {
	r := withPipes(t)
	r.profile("anna")
	r.write("default", "logs/gateways/anna", "a file where the directory should be")
	r.boot("anna")
	if err := r.fake.Write(slotOf("anna"), "lost\n"); err != nil {
		t.Fatal(err)
	}
	r.until("the loss is counted", func() bool { return r.gateway("anna").LogLost == 5 })
	g := r.gateway("anna")
	if g.LogLostLines != 1 || g.LogLostAt == nil || !g.LogFailing || g.LogDropped != 0 || !strings.Contains(g.LogError, "not a directory") {
		t.Errorf("%+v", g)
	}
	if n := r.noticed("log_unwritten"); !strings.Contains(n.Message, "5 bytes of the log of gateway-anna are lost") {
		t.Errorf("notice %+v", n)
	}
	r.untilState("anna", profile.StateRunning)

	if err := os.Remove(filepath.Join(r.dir, "logs/gateways/anna")); err != nil {
		t.Fatal(err)
	}
	lost := int64(0)
	r.until("the log goes on by itself", func() bool {
		if err := r.fake.Write(slotOf("anna"), "line\n"); err != nil {
			t.Fatal(err)
		}
		g = r.gateway("anna")
		lost = max(lost, g.LogLost)
		return !g.LogFailing && len(r.logged("anna")) > 0
	})
	if g.LogLost != lost || g.LogError == "" {
		t.Errorf("what is lost stays known: %+v", g)
	}
	want := fmt.Sprintf("hermes: %d bytes of output lost here (%d lines, since ", lost, lost/5)
	if got := r.logged("anna"); !strings.HasPrefix(got[0], want) || got[1] != "line" {
		t.Errorf("%q, want %q…", got, want)
	}
	if fleet, err := r.fleet.Fleet(t.Context()); err != nil || len(fleet.Notices) > 0 {
		t.Errorf("%+v, %v", fleet.Notices, err)
	}
}

// broken is a stdout that fails until it is mended.
type broken struct{ mended atomic.Bool }

func (w *broken) Write(p []byte) (int, error) {
	if w.mended.Load() {
		return len(p), nil
	}
	return 0, unix.EPIPE
}

// TestStdoutThatNobodyReads costs the lines there, which are shown; not the
// log.
func TestStdoutThatNobodyReads(t *testing.T) {
	r := withPipes(t)
	w := new(broken)
	r.options.Tee = logfile.NewTee(w, logfile.Plain)
	defer r.options.Tee.Close(context.Background())
	r.profile("anna")
	r.boot("anna")
	say := func() {
		if err := r.fake.Write(slotOf("anna"), "hello\n"); err != nil {
			t.Fatal(err)
		}
	}
	say()
	r.until("the loss is counted", func() bool { return r.gateway("anna").StdoutLost == 1 })
	r.untilLogged("anna", "hello")
	if n := r.noticed("stdout_unwritten"); n.Message != "1 lines of the gateways are not on standard output: broken pipe" {
		t.Errorf("notice %+v", n)
	}
	w.mended.Store(true)
	say()
	r.until("the notice is gone", func() bool {
		fleet, err := r.fleet.Fleet(t.Context())
		return err == nil && len(fleet.Notices) == 0
	})
	if g := r.gateway("anna"); g.StdoutLost != 1 || g.LogLost != 0 {
		t.Errorf("%+v", g)
	}
}

// TestTeeHasEveryLine with the profile's name.
func TestTeeHasEveryLine(t *testing.T) {
	r := withPipes(t)
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r.options.Tee = logfile.NewTee(out, logfile.Plain)
	defer r.options.Tee.Close(context.Background())
	r.profile("anna")
	r.boot("anna")
	if err := r.fake.Write(slotOf("anna"), "hello\n"); err != nil {
		t.Fatal(err)
	}
	r.until("it is on stdout", func() bool {
		b, err := os.ReadFile(out.Name())
		return err == nil && string(b) == "[anna] hello\n"
	})
}
