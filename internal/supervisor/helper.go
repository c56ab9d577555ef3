package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"hermes/internal/engine"
	"hermes/internal/stray"
)

// helperPrefix begins the slots of helpers: runs like any other, but of no
// profile.
const helperPrefix = "strays-"

// helperLeaves is how long the end of a helper that has said all is waited for.
const helperLeaves = time.Second

// runHelper has `hermes strays` do a request as a run of its own, with the
// credential of those it looks for: root may not look into the processes of
// another uid everywhere. finish waits for its end, not too long.
func (f *Fleet) runHelper(
	ctx context.Context, place int, request stray.Request, as *engine.Credential, each func(stray.Report),
) (finish func(), err error) {
	arg, err := json.Marshal(request)
	if err != nil {
		return func() {}, err
	}
	generation := uint64(time.Now().UnixNano())
	ended := make(chan struct{})
	f.strays.expect(generation, ended)
	run, err := f.spawnHelper(ctx, engine.Spec{
		Slot: helperPrefix + strconv.Itoa(place), Generation: generation,
		Path: f.options.Self, Argv: []string{"hermes", stray.Command, string(arg)},
		Env: []string{"GOMAXPROCS=1", "GOGC=off", "GOTRACEBACK=none"}, Dir: "/", Credential: as,
		Plan: engine.Plan{Signal: stopSignal, Grace: strayGrace},
	})
	if err != nil {
		f.strays.expect(generation, nil)
		return func() {}, fmt.Errorf("cannot run a helper: %w", err)
	}
	f.strays.track(run.PID)
	finish = func() {
		late := time.NewTimer(helperLeaves)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
		case <-f.leave.Done():
		}
		f.strays.untrack(run.PID)
	}
	return finish, readReports(ctx, run, each)
}

// spawnHelper starts a helper, once the one before has left its place.
func (f *Fleet) spawnHelper(ctx context.Context, spec engine.Spec) (engine.Run, error) {
	tick := time.NewTicker(strayPoll)
	defer tick.Stop()
	for {
		run, err := f.runner.Spawn(ctx, spec)
		if !errors.Is(err, engine.ErrBusy) {
			return run, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return run, err
		}
	}
}

// readReports reads what a helper says until it has said all. What is no report
// are its last words.
func readReports(ctx context.Context, run engine.Run, each func(stray.Report)) error {
	if run.Notify >= 0 {
		closeRun(engine.Run{Log: -1, Notify: run.Notify})
	}
	if run.Log < 0 {
		return errors.New("the helper's output cannot be read")
	}
	in := os.NewFile(uintptr(run.Log), "output of "+run.Slot)
	defer in.Close()
	defer context.AfterFunc(ctx, func() { in.Close() })() // wakes the reader
	lines := bufio.NewScanner(in)
	words := ""
	for lines.Scan() {
		var r stray.Report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			words = clean(lines.Text())
			continue
		}
		if r.Done {
			return nil
		}
		each(r)
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("the helper's output cannot be read: %w", err)
	case words != "":
		return errors.New("the helper failed: " + words)
	}
	return fmt.Errorf("the helper failed: %w", io.ErrUnexpectedEOF)
}

// expect keeps where the end of a helper is to be told; nil drops it.
func (s *strays) expect(generation uint64, ended chan<- struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended == nil {
		delete(s.helpers, generation)
		return
	}
	s.helpers[generation] = ended
}

// helperEnded takes note of the end of a helper, whose output nobody wants any
// more. What is no helper's, as the main program's, is the runner's own.
func (f *Fleet) helperEnded(slot string, generation uint64) {
	if !strings.HasPrefix(slot, helperPrefix) {
		return
	}
	f.strays.mu.Lock()
	if ended := f.strays.helpers[generation]; ended != nil {
		close(ended)
		delete(f.strays.helpers, generation)
	}
	f.strays.mu.Unlock()
	f.forget(slot, generation)
}
