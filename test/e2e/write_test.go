package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/lease"
	"hermes/internal/profile"
)

// writeKills is how often each test here kills who is writing.
const writeKills = 15

// api is a client of the supervisor; like the commands it asks the next engine
// what a dead one has not answered.
func (h *host) api() *client.Client {
	h.t.Helper()
	c, err := client.Find(h.home)
	if err != nil {
		h.t.Fatal(err)
	}
	c.By = "test"
	return c
}

// killedWhile kills the engine again and again at random moments while work is
// repeated, and calls look after each kill, before and while the next engine
// comes up.
func (h *host) killedWhile(work func() error, look func() error) {
	h.t.Helper()
	rnd := rand.New(rand.NewPCG(seeded(h.t), 0))
	stop := make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := work(); err != nil {
				h.t.Error(err)
				return
			}
		}
	})
	for range soak(writeKills) {
		f, err := h.api().Fleet(h.t.Context()) // it works, and that is its pid
		if err != nil {
			h.t.Error(err)
			break
		}
		pause(upTo(rnd, 40*time.Millisecond))
		h.kill(f.EnginePID, syscall.SIGKILL)
		if err := look(); err != nil {
			h.t.Error(err)
		}
		if h.t.Failed() {
			break
		}
	}
	close(stop)
	worker.Wait()
	if err := look(); err != nil {
		h.t.Error(err)
	}
	h.nothingSetAside()
}

// nothingSetAside checks that no engine found a file that made no sense.
func (h *host) nothingSetAside() {
	h.t.Helper()
	err := filepath.WalkDir(h.home, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(path), ".corrupt-") {
			h.t.Errorf("torn: %s", path)
		}
		return nil // what is moved or removed meanwhile is none
	})
	if err != nil {
		h.t.Error(err)
	}
}

// TestKilledWhileWritingIntents: gateway_intent.json and supervision.json are
// rewritten without a pause. At any time both are whole, and an intent that was
// acknowledged is never older than that.
func TestKilledWhileWritingIntents(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.profile("anna")
	h.write("anna", "config.yaml", "gateway:\n  command: [sleep, infinity]\n")
	h.start()
	var mu sync.Mutex // guards acknowledged
	var acknowledged uint64
	written := 0
	work := func() error {
		act := []func(*client.Client) (api.ActionResult, error){
			func(c *client.Client) (api.ActionResult, error) {
				return c.Restart(t.Context(), "anna", api.ActionRequest{})
			},
			func(c *client.Client) (api.ActionResult, error) {
				return c.Stop(t.Context(), "anna", api.ActionRequest{})
			},
		}[written%2]
		if _, err := act(h.api()); err != nil {
			return err
		}
		written++
		mu.Lock()
		defer mu.Unlock()
		r, err := intentOnDisk(h.dir("anna"))
		if err == nil && r.Intent != []profile.Intent{profile.Stopped, profile.Running}[written%2] {
			err = fmt.Errorf("write %d: %s is on disk", written, r.Intent)
		}
		acknowledged = r.Generation
		return err
	}
	h.killedWhile(work, func() error {
		mu.Lock()
		least := acknowledged
		mu.Unlock()
		r, err := intentOnDisk(h.dir("anna"))
		if err == nil && r.Generation < least {
			err = fmt.Errorf("generation %d was acknowledged, %d is on disk", least, r.Generation)
		}
		return errors.Join(err, supervisionIsWhole(h.dir("anna")))
	})
	if acknowledged < uint64(written) {
		t.Errorf("%d intents were written, the generation is %d", written, acknowledged)
	}
}

func intentOnDisk(dir string) (r profile.IntentRecord, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "gateway_intent.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // not written yet
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		err = fmt.Errorf("%w: %q", err, b)
	}
	return r, err
}

// supervisionIsWhole checks that every run that ended did so once.
func supervisionIsWhole(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "supervision.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s profile.Supervision
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	seen := map[uint64]bool{}
	for _, e := range s.Exits {
		if seen[e.Run] {
			err = errors.Join(err, fmt.Errorf("run %d ended twice", e.Run))
		}
		seen[e.Run] = true
	}
	if err != nil {
		return fmt.Errorf("%w: %q", err, b)
	}
	return nil
}

// TestCommandKilledWhileWritingAnIntent: where nothing supervises the command
// writes the intent itself. Killed at any moment it leaves the old one or the
// new one, and the new one if it said so.
func TestCommandKilledWhileWritingAnIntent(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.probe("anna")
	rnd := rand.New(rand.NewPCG(seeded(t), 0))
	c := &chaos{host: h}
	for i := range soak(writeKills) {
		h.write("anna", "gateway_intent.json", fmt.Sprintf(
			`{"version":1,"intent":"running","generation":%d,"changed_at":"2026-01-02T03:04:05Z","changed_by":"test"}`, 10*i+1))
		stderr, killed := c.command(1+upTo(rnd, 12*time.Millisecond), "gateway", "stop", "anna")
		r, err := intentOnDisk(h.dir("anna"))
		old := r.Intent == profile.Running && r.Generation == uint64(10*i+1)
		renewed := r.Intent == profile.Stopped && r.Generation == uint64(10*i+2)
		if err != nil || stderr != "" || !old && !renewed || !killed && !renewed {
			t.Fatalf("round %d, killed %v: %+v, %v\n%s", i, killed, r, err, stderr)
		}
	}
	h.nothingSetAside()
}

// TestKilledWhileBooting: keeper and engine are killed while they write
// container-boot.log (and rotate it), the record of the lease, and a key into
// .env.
func TestKilledWhileBooting(t *testing.T) {
	t.Parallel()
	h := newHost(t, "API_SERVER_HOST=0.0.0.0")
	h.probe("anna")
	h.probe("bert")
	rnd := rand.New(rand.NewPCG(seeded(t), 0))
	const secret = "OWN_SECRET=1\n"
	path := filepath.Join(h.home, "logs", "container-boot.log")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	h.give(filepath.Dir(path))
	line := "2026-01-02T03:04:05Z profile=anna prior_state=running action=started prior_exit=clean\n"
	nearlyFull := strings.Repeat(line, 256<<10/len(line)-2)
	keys := 0
	began := time.Now()
	h.start()
	boot := time.Since(began)
	h.killAll()
	for range soak(writeKills) {
		h.write("default", "logs/container-boot.log", nearlyFull)
		h.write("anna", ".env", secret)
		h.spawn()
		pause(upTo(rnd, boot))
		h.killAll()
		for _, file := range []string{path, path + ".1"} {
			bootLogIsWhole(t, file)
		}
		env, err := os.ReadFile(filepath.Join(h.dir("anna"), ".env"))
		key, kept := strings.CutPrefix(string(env), secret)
		if err != nil || !kept || key != "" && !regexp.MustCompile(`^API_SERVER_KEY=[0-9a-f]{64}\n$`).MatchString(key) {
			t.Fatalf(".env is %q, %v", env, err)
		}
		if key != "" {
			keys++
		}
		h.eventually("the lease is free", func() error { // a process that ends has its locks a moment longer
			if _, status, err := lease.Read(h.home); err != nil || status != lease.Free {
				return fmt.Errorf("%v, %v", status, err)
			}
			return nil
		})
	}
	t.Logf("killed %d times, %d of them after .env was written", soak(writeKills), keys)
	h.start("anna")
	h.state("anna", "running")
	h.nothingSetAside()
}

// killAll kills the keeper and all that it started.
func (h *host) killAll() {
	keeper := h.up.Process.Pid
	_ = syscall.Kill(keeper, syscall.SIGSTOP) // it starts nothing any more
	for _, pid := range append(children(keeper), keeper) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-h.ended
	h.up = nil
	h.eventually("nobody is left", func() error {
		if left := h.processes(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
}

func bootLogIsWhole(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 256<<10 || len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		t.Errorf("%s has %d bytes and ends with %q", path, len(b), b[max(0, len(b)-40):])
	}
	form := regexp.MustCompile(`^\S+Z profile=\S+ prior_state=\S+ action=(started|registered|skipped) prior_exit=(clean|unclean|unknown)\n$`)
	for line := range strings.Lines(string(b)) {
		if !form.MatchString(line) {
			t.Fatalf("%s: torn line %q", path, line)
		}
	}
}

// TestKilledWhileProfilesChange: a profile is made, renamed and deleted again
// and again. At any time what is there is whole, nothing is there under two
// names, and every command succeeds, whichever engine answers it.
func TestKilledWhileProfilesChange(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start()
	work := func() error {
		c, ctx := h.api(), t.Context()
		_, err := c.CreateProfile(ctx, "anna")
		if err == nil {
			_, err = c.RenameProfile(ctx, "anna", "zoe")
		}
		if err == nil {
			err = c.DeleteProfile(ctx, "zoe")
		}
		return err
	}
	h.killedWhile(work, func() error { return h.profilesAreWhole("anna", "zoe") })
	h.eventually("no slot without a profile", func() error { return h.expect() })
}

// TestCommandKilledWhileProfilesChange is the same where nothing supervises:
// the command does it all, is killed, and given again.
func TestCommandKilledWhileProfilesChange(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	rnd := rand.New(rand.NewPCG(seeded(t), 0))
	c := &chaos{host: h}
	for range soak(writeKills) / 3 {
		for _, args := range [][]string{{"create", "anna"}, {"rename", "anna", "zoe"}, {"delete", "--yes", "zoe"}} {
			args = append([]string{"profile"}, args...)
			after := 1 + upTo(rnd, 12*time.Millisecond)
			if stderr, _ := c.command(after, args...); stderr != "" {
				t.Fatalf("hermes %v: %s", args, stderr)
			}
			if err := h.profilesAreWhole("anna", "zoe"); err != nil {
				t.Fatal(err)
			}
			stderr, _ := c.command(0, args...)
			done := strings.Contains(stderr, "exists already") || strings.Contains(stderr, "no such gateway")
			if stderr != "" && !done {
				t.Fatalf("hermes %v again: %s", args, stderr)
			}
		}
		if left := visible(t, h); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	}
}

// visible are the names in profiles/ that are not hermes's own.
func visible(t *testing.T, h *host) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.home, "profiles"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// profilesAreWhole checks that a profile that can be seen has all of its files,
// and that at most one can.
func (h *host) profilesAreWhole(known ...string) error {
	names := visible(h.t, h)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("profiles/%s is nobody's", name)
		}
		before, err := os.Lstat(h.dir(name))
		if err != nil {
			continue // moved or removed since
		}
		for _, file := range []string{"SOUL.md", "config.yaml", ".env"} {
			_, missing := os.Lstat(filepath.Join(h.dir(name), file))
			after, err := os.Lstat(h.dir(name))
			if missing != nil && err == nil && os.SameFile(before, after) {
				return missing
			}
		}
	}
	if len(names) > 1 {
		return fmt.Errorf("one profile has the names %v", names)
	}
	return nil
}
