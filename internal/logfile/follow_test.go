package logfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// follower collects what Follow emits.
type follower struct {
	mu    sync.Mutex
	lines []string
	done  chan error
}

func follow(t *testing.T, dir string, n int) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{done: make(chan error, 1)}
	go func() {
		f.done <- Follow(ctx, dir, n, func(line string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.lines = append(f.lines, line)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-f.done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
	})
	return f
}

func (f *follower) bodies() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bodies(f.lines)
}

func (f *follower) wait(t *testing.T, want []string) {
	t.Helper()
	eventually(t, "all lines", func() bool { return len(f.bodies()) >= len(want) })
	if got := f.bodies(); !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: %.200q", len(got), len(want), got)
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 200)
	f := follow(t, dir, 100)
	f.wait(t, numbers(100, 200))
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 100})
	write(t, l, "2")
	write(t, l, "00\n201\n20")
	f.wait(t, numbers(100, 202))
	_ = l.Close()
	l = openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 100})
	write(t, l, "2\n")
	for i := 203; i < 3000; i++ { // forty rotations, several between two looks
		write(t, l, fmt.Sprintf("%d\n", i))
	}
	f.wait(t, numbers(100, 3000))
}

func TestFollowWaitsForALog(t *testing.T) {
	dir := t.TempDir()
	f := follow(t, dir, 1000) // all, whether Follow comes before the log or after
	numbered(t, dir, 0, 200)
	f.wait(t, numbers(0, 200))
	if err := Follow(t.Context(), filepath.Join(dir, "missing"), 1, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestFollowGoesOnWithAnEmptiedFile(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 20)
	f := follow(t, dir, 5)
	f.wait(t, numbers(15, 20))
	must(t, os.Truncate(filepath.Join(dir, current), 0))
	numbered(t, dir, 0, 3)
	f.wait(t, append(numbers(15, 20), numbers(0, 3)...))
}

// TestFollowRepeatsNothing: somebody removes current; what was shown of older
// files is not new because of that.
func TestFollowRepeatsNothing(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 300)
	f := follow(t, dir, 200)
	f.wait(t, numbers(100, 300))
	must(t, os.Remove(filepath.Join(dir, current)))
	numbered(t, dir, 300, 600)
	f.wait(t, numbers(100, 600))
}

// TestCursorWhileRotating: whatever happens between the steps of opening a log,
// its lines come once and in order.
func TestCursorWhileRotating(t *testing.T) {
	dir := t.TempDir()
	var writer sync.WaitGroup
	defer writer.Wait()
	stop := make(chan struct{})
	defer close(stop)
	l := openLog(t, Options{Dir: dir, MaxSize: minMaxSize, MaxFiles: 60})
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = fmt.Fprintf(l, "%0100d\n", i)
			}
		}
	})
	eventually(t, "rotations", func() bool { return len(fileNamesAnyway(dir)) > 20 })
	for range 200 {
		lines, err := Tail(dir, 200)
		if err != nil {
			t.Fatal(err)
		}
		last := -1
		for i, body := range bodies(lines) {
			n, err := strconv.Atoi(body)
			if err != nil || i > 0 && n != last+1 {
				t.Fatalf("line %d is %q after %d", i, body, last)
			}
			last = n
		}
	}
}

func TestFollowEndsWithEmit(t *testing.T) {
	dir := t.TempDir()
	numbered(t, dir, 0, 20)
	enough := errors.New("enough")
	n := 0
	err := Follow(t.Context(), dir, 10, func(string) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 3 {
		t.Errorf("%v after %d", err, n)
	}
}

// TestWatchWithoutInotify: where no events come, time passes.
func TestWatchWithoutInotify(t *testing.T) {
	dir := t.TempDir()
	watched, err := watchDirectory(dir)
	must(t, err)
	defer watched.close()
	for name, w := range map[string]*watch{"no inotify": {}, "no event": watched} {
		start := time.Now()
		must(t, w.wait(t.Context()))
		if d := time.Since(start); d < pollInterval/2 || d > 5*pollInterval {
			t.Errorf("%s: waited %v", name, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := w.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
