package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// copying runs a Copy and returns its error when it ends.
func copying(ctx context.Context, l *Log, r *os.File) <-chan error {
	done := make(chan error, 1)
	go func() { done <- l.Copy(ctx, r) }()
	return done
}

func TestCopyToTheEnd(t *testing.T) {
	clk := newClock()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, Now: clk.now})
	r, w := newPipe(t)
	done := copying(t.Context(), l, r)
	for _, s := range []string{"a\nb", "b\n", "no newline"} {
		_, err := w.WriteString(s)
		must(t, err)
	}
	must(t, w.Close())
	must(t, <-done)
	write(t, l, "the next run\n")
	want := testStamp + "a\n" + testStamp + "bb\n" + testStamp + "no newline\n" + testStamp + "the next run\n"
	if got := content(t, dir); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCopyOfOtherReaders(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	in := string(lines100(300_000)) + "end"
	must(t, l.Copy(t.Context(), strings.NewReader(in)))
	broken := iotest.ErrReader(errors.New("broken"))
	if err := l.Copy(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "backlog") // no pipe: nothing to wait for
	must(t, os.WriteFile(path, []byte("from a file"), 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, l.Copy(t.Context(), f))
	if got := unstamped(t, content(t, dir)); got != in+"\nfrom a file\n" {
		t.Errorf("%d bytes came out", len(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Copy(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestCopyHandsOver: supervisors follow each other while a gateway writes on;
// no byte is lost, none is there twice, no line is torn.
func TestCopyHandsOver(t *testing.T) {
	dir := t.TempDir()
	r, w := newPipe(t)
	var in bytes.Buffer
	var writer sync.WaitGroup
	stop := make(chan struct{})
	writer.Go(func() {
		defer w.Close()
		rng := rand.New(rand.NewPCG(1, 2))
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			p := bytes.Repeat([]byte{'a' + byte(i%26)}, rng.IntN(300))
			if i%3 != 0 {
				p = append(p, '\n')
			}
			in.Write(p)
			if _, err := w.Write(p); err != nil {
				t.Error(err)
				return
			}
		}
	})
	o := Options{Dir: dir, MaxFiles: 1 << 20, MaxSize: 100_000}
	for range 30 {
		l := openLog(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := copying(ctx, l, r)
		eventually(t, "some output", func() bool { return l.Stats().Bytes > 50_000 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	close(stop)
	must(t, openLog(t, o).Copy(t.Context(), r))
	writer.Wait()
	want := in.String()
	if !strings.HasSuffix(want, "\n") {
		want += "\n"
	}
	if got := unstamped(t, content(t, dir)); got != want {
		t.Errorf("%d bytes came out, want %d", len(got), len(want))
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	l := openLog(t, Options{Dir: t.TempDir()})
	r, _ := newPipe(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Copy(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	// Its own deadline is cleared: the file can be waited for again.
	ctx, cancel2 := context.WithCancel(t.Context())
	done := copying(ctx, l, r)
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	must(t, r.SetReadDeadline(time.Now())) // the caller's is respected
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	cancel2()
}

func TestCopyOfClosedFile(t *testing.T) {
	l := openLog(t, Options{Dir: t.TempDir()})
	r, _ := newPipe(t)
	_ = r.Close()
	if err := l.Copy(t.Context(), r); err == nil {
		t.Error("no error")
	}
}

// wakeUps counts how often the scheduler ran a goroutine that had been waiting,
// about one in eight of them.
func wakeUps() uint64 {
	s := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(s)
	n := uint64(0)
	for _, c := range s[0].Value.Float64Histogram().Counts {
		n += c
	}
	return n
}

// TestIdleLogsCostNothing: a hundred logs that have written and wait run no
// goroutine and hold no buffer.
func TestIdleLogsCostNothing(t *testing.T) {
	const logs = 100
	tee := NewTee(io.Discard, Plain)
	defer tee.Close(t.Context())
	pool := NewPool()
	base := t.TempDir()
	var copies sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer copies.Wait()
	defer cancel()
	for i := range logs {
		l := openLog(t, Options{Dir: filepath.Join(base, fmt.Sprint(i)), Tee: tee, Profile: "p", Pool: pool})
		r, w := newPipe(t)
		copies.Go(func() { _ = l.Copy(ctx, r) })
		_, err := w.WriteString("hello\npart")
		must(t, err)
		eventually(t, "a line", func() bool { return l.Stats().Bytes == 10 })
	}
	runtime.GC()
	runtime.GC() // the second empties the pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > logs*batchSize {
		t.Errorf("%d bytes in use for %d logs", m.HeapInuse, logs)
	}
	before := wakeUps()
	<-time.After(400 * time.Millisecond)
	if n := wakeUps() - before; n > logs/16 {
		t.Errorf("about %d goroutines woke up", n*8)
	}
}
