package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hermes/client"
	"hermes/internal/fault"
)

// chaos is a fleet to which everything happens at once: operators work on
// profiles of their own, while engine, gateways and commands are killed.
type chaos struct {
	*host
	book      string // where the probes find doubles, whatever became of their profile
	seed      uint64
	operators []*operator
	kills     struct{ engine, gateway, command atomic.Int64 }
}

// TestChaos kills engine, gateways and commands at random while a fleet is
// being worked on, and looks again and again whether everything is as it was
// acknowledged, once, and nothing is left behind.
func TestChaos(t *testing.T) {
	t.Parallel()
	profiles, rounds, storm := 48, 2, 5*time.Second
	if long() {
		profiles, rounds, storm = 200, 6, 40*time.Second
	}
	c := newChaos(t, profiles)
	c.start()
	c.warmUp()
	keeper := c.fleet().KeeperPID
	engine := func() int { return c.enginePID(keeper) }
	keeperBefore, engineBefore := c.settled(keeper), c.settled(engine())
	for range rounds {
		c.storm(keeper, storm)
		c.check(keeper)
	}
	t.Logf("killed: engine %d, gateways %d, commands %d times", c.kills.engine.Load(), c.kills.gateway.Load(), c.kills.command.Load())
	c.must("gateway", "stop", "--all")
	c.noZombies(keeper)
	c.atRest("the keeper", func() int { return keeper }, keeperBefore, keeperGrowth())
	c.atRest("the engine", engine, engineBefore, engineGrowth())
	c.stop()
	if left := c.processes(); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// newChaos has profiles for a handful of operators; the gateways of profiles
// made later are probes, too.
func newChaos(t *testing.T, profiles int) *chaos {
	t.Helper()
	book, err := os.MkdirTemp("", "hermes-book-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(book) })
	c := &chaos{
		host: newHost(t, "HERMES_STOP_TIMEOUT=2", "HERMES_GATEWAY_COMMAND="+binaries().probe+" -book "+book),
		book: book, seed: seeded(t),
	}
	c.give(book)
	const operators = 4
	for i := range operators {
		o := &operator{chaos: c, id: i, rnd: rand.New(rand.NewPCG(c.seed, uint64(i))), mine: map[string]string{}}
		for range profiles / operators {
			name := o.newName()
			c.profile(name)
			if o.made%4 == 0 {
				c.write(name, "config.yaml", fmt.Sprintf("gateway:\n  command: [%q, -notify, -book, %q]\n  ready: notify\n", binaries().probe, book))
			}
			o.mine[name] = "stopped"
		}
		o.quota = len(o.mine)
		c.operators = append(c.operators, o)
	}
	return c
}

// warmUp has everything run once: a supervisor keeps what it ever needed.
func (c *chaos) warmUp() {
	c.t.Helper()
	var all []string
	for _, o := range c.operators {
		all = append(all, o.names()...)
	}
	c.must(append([]string{"gateway", "start"}, all...)...)
	c.must("gateway", "stop", "--all")
}

// storm lets everybody loose for a while, and returns when no command is under
// way and nobody kills any more.
func (c *chaos) storm(keeper int, d time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	var everybody sync.WaitGroup
	for _, o := range c.operators {
		everybody.Go(func() {
			for ctx.Err() == nil && !c.t.Failed() {
				o.step()
			}
			o.restock()
		})
	}
	everybody.Go(func() {
		rnd := rand.New(rand.NewPCG(c.seed, 100))
		for wait(ctx, 100*time.Millisecond+upTo(rnd, 900*time.Millisecond)) {
			if c.killOne(keeper, rnd, true, syscall.SIGKILL) {
				c.kills.engine.Add(1)
			}
		}
	})
	everybody.Go(func() {
		rnd := rand.New(rand.NewPCG(c.seed, 101))
		signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGHUP}
		for wait(ctx, upTo(rnd, 400*time.Millisecond)) {
			if c.killOne(keeper, rnd, false, signals[rnd.IntN(len(signals))]) {
				c.kills.gateway.Add(1)
			}
		}
	})
	everybody.Go(func() { c.watch(ctx) })
	everybody.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// wait is false when ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// killOne kills the engine, or one of the gateways.
func (c *chaos) killOne(keeper int, rnd *rand.Rand, engine bool, sig syscall.Signal) bool {
	var these []int
	for _, pid := range children(keeper) {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(cmdline, []byte("\x00engine\x00")) == engine {
			these = append(these, pid)
		}
	}
	return len(these) > 0 && syscall.Kill(these[rnd.IntN(len(these))], sig) == nil
}

// watch asks for the fleet all the time: every answer is about slots that are
// there once, and every failure has a code.
func (c *chaos) watch(ctx context.Context) {
	for ctx.Err() == nil {
		supervisor, err := client.Find(c.home)
		if err != nil {
			c.t.Errorf("the supervisor cannot be found: %v", err)
			return
		}
		f, err := supervisor.Fleet(ctx)
		if err != nil && ctx.Err() == nil && !coded(err) {
			c.t.Errorf("a failure without a code: %v", err)
		}
		seen := map[string]bool{}
		for _, g := range f.Gateways {
			if seen[g.Profile] || g.State == "" {
				c.t.Errorf("%s is there twice or has no state: %+v", g.Profile, f.Gateways)
			}
			seen[g.Profile] = true
		}
		wait(ctx, 20*time.Millisecond)
	}
}

// coded says whether an error is one a person may meet.
func coded(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Code != "" && f.Code != fault.Internal
}

// operator works on profiles nobody else touches, so that it knows what each
// was acknowledged to be.
type operator struct {
	*chaos
	id    int
	rnd   *rand.Rand
	mine  map[string]string // profile → intent acknowledged last
	made  int
	quota int
}

func (o *operator) newName() string {
	o.made++
	return fmt.Sprintf("op%d-%d", o.id, o.made)
}

func (o *operator) names() []string { return slices.Sorted(maps.Keys(o.mine)) }

func (o *operator) step() {
	names := o.names()
	name := names[o.rnd.IntN(len(names))]
	switch n := o.rnd.IntN(20); {
	case n < 6:
		o.intend(name, "start", "running")
	case n < 11:
		o.intend(name, "stop", "stopped")
	case n < 15:
		o.intend(name, "restart", "running")
	case n < 17:
		o.rename(name)
	case len(o.mine) < o.quota:
		o.create()
	default:
		o.remove(name)
	}
}

// restock leaves as many profiles as there were.
func (o *operator) restock() {
	for len(o.mine) < o.quota && !o.t.Failed() {
		o.create()
	}
}

func (o *operator) intend(name, verb, intent string) {
	// A run that is killed as it comes up is a start that failed, and an intent
	// that was set all the same.
	o.insist([]string{"gateway", verb, name}, func(stderr string) bool {
		return intent == "running" && shotDown().MatchString(stderr)
	})
	o.mine[name] = intent
}

func shotDown() *regexp.Regexp {
	return regexp.MustCompile(`^✗ (cannot start gateway-\S+: |gateway-\S+ is backoff: )(SIGKILL|SIGHUP|SIGTERM|exit 0)`)
}

func (o *operator) create() {
	name := o.newName()
	o.insist([]string{"profile", "create", name}, func(stderr string) bool {
		return strings.Contains(stderr, "profile '"+name+"' exists already") && o.has(name)
	})
	o.mine[name] = "stopped"
}

func (o *operator) remove(name string) {
	o.insist([]string{"profile", "delete", "--yes", name}, func(stderr string) bool {
		return strings.Contains(stderr, "no such gateway '"+name+"'") && !o.has(name)
	})
	delete(o.mine, name)
}

func (o *operator) rename(name string) {
	to := o.newName()
	o.insist([]string{"profile", "rename", name, to}, func(stderr string) bool {
		done := strings.Contains(stderr, "no such gateway '"+name+"'") || strings.Contains(stderr, "'"+to+"' exists")
		return done && !o.has(name) && o.has(to)
	})
	o.mine[to] = o.mine[name]
	delete(o.mine, name)
}

// has says whether the profile is there.
func (o *operator) has(name string) bool {
	_, err := os.Lstat(filepath.Join(o.dir(name), "SOUL.md"))
	return err == nil
}

// insist gives a command, one in five times after it was killed half-way, and
// fails the test unless it succeeds or fails as it may.
func (o *operator) insist(args []string, may func(stderr string) bool) {
	if o.rnd.IntN(5) == 0 {
		after := 1 + upTo(o.rnd, 25*time.Millisecond)
		if _, killed := o.command(after, args...); killed {
			o.kills.command.Add(1)
		}
	}
	stderr, _ := o.command(0, args...)
	switch {
	case stderr == "":
	case !strings.HasPrefix(stderr, "✗ ") || strings.Contains(stderr, "internal error"):
		o.t.Errorf("hermes %s: a failure without a code:\n%s", strings.Join(args, " "), stderr)
	case !may(stderr):
		o.t.Errorf("hermes %s:\n%s", strings.Join(args, " "), stderr)
	}
}

// command is one hermes command, killed after a time unless that is 0. What it
// says counts if it failed.
func (c *chaos) command(after time.Duration, args ...string) (stderr string, killed bool) {
	cmd := exec.Command(c.binary, args...)
	var errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.SysProcAttr, cmd.Stderr = c.env, c.home, c.attr(), &errs
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return "", false
	}
	limit := 2 * patience
	if after > 0 {
		limit = after
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		c.t.Error(err)
	}
	if failed && !exit.Exited() {
		if after == 0 {
			c.t.Errorf("hermes %s: %v", strings.Join(args, " "), err)
		}
		return "", true
	}
	if failed {
		return errs.String(), false
	}
	return "", false
}

// check waits until the fleet is quiet and as it was acknowledged: on disk, in
// status, and in the table of processes.
func (c *chaos) check(keeper int) {
	c.t.Helper()
	want := map[string]string{"default": "stopped"}
	for _, o := range c.operators {
		for name, intent := range o.mine {
			want[name] = intent
			if got := c.intent(name); got != intent {
				c.t.Errorf("%s: intent %s was acknowledged, %s is on disk", name, intent, got)
			}
		}
	}
	var pids []int
	c.eventually("the fleet is as it was acknowledged", func() (err error) {
		pids, err = c.compare(want)
		return err
	})
	c.eventually("no process without a slot", func() error { return c.only(pids) })
	c.noZombies(keeper)
	if met, err := os.ReadFile(filepath.Join(c.book, "doubles")); err == nil {
		c.t.Errorf("met themselves:\n%s", met)
	}
	entries, err := os.ReadDir(filepath.Join(c.home, "profiles"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range entries {
		_, known := want[e.Name()]
		if hidden := strings.HasPrefix(e.Name(), "."); !known && !hidden { // what a kill left half made or half removed
			c.t.Errorf("profiles/%s is left", e.Name())
		}
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// compare checks status against what is wanted, and that a gateway's process
// is the one the probe started last. It returns the processes of gateways.
func (c *chaos) compare(want map[string]string) (pids []int, err error) {
	f := c.fleet()
	for _, g := range f.Gateways {
		intent, known := want[g.Profile]
		switch {
		case !known:
			return nil, fmt.Errorf("slot %s has no profile", g.Slot)
		case g.Intent != intent:
			c.t.Fatalf("%s: intent %s was acknowledged, status says %s", g.Profile, intent, g.Intent)
		case g.State == "backoff" && (g.NextRetryAt == nil || time.Until(*g.NextRetryAt) > 10*time.Minute):
			c.t.Fatalf("%s waits for nothing: %+v", g.Profile, g)
		case g.State != intent:
			return nil, fmt.Errorf("%s is %s, wanted %s: %s", g.Profile, g.State, intent, g.Reason)
		}
		if g.PID == 0 {
			continue
		}
		if starts := c.lines(g.Profile, "starts"); len(starts) == 0 || starts[len(starts)-1] != strconv.Itoa(g.PID) {
			return nil, fmt.Errorf("%s is pid %d, its probe says otherwise", g.Profile, g.PID)
		}
		pids = append(pids, g.PID)
	}
	if len(f.Gateways) != len(want) {
		return nil, fmt.Errorf("%d slots for %d profiles", len(f.Gateways), len(want))
	}
	return pids, nil
}
