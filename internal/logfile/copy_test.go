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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copying runs a Copy and returns its error when it ends.
func copying(ctx context.Context, l *Log, r *Pipe) <-chan error {
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

// TestCopyRest takes what there is, ends the line and waits for nobody.
func TestCopyRest(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	r, w := newPipe(t) // never closed: a stray holds it
	in := string(lines100(50_000)) + "within a line"
	_, err := w.WriteString(in)
	must(t, err)
	must(t, l.CopyRest(r))
	must(t, l.CopyRest(r)) // nothing
	_, err = w.WriteString("the next\n")
	must(t, err)
	must(t, w.Close())
	must(t, l.CopyRest(r))
	must(t, l.CopyRest(r)) // its end
	if got := unstamped(t, content(t, dir)); got != in+"\nthe next\n" {
		t.Errorf("%d bytes came out", len(got))
	}
	must(t, r.Close())
	if err := l.CopyRest(r); err == nil {
		t.Error("no error from a closed pipe")
	}
}

// TestCopyRestEnds however much there is.
func TestCopyRestEnds(t *testing.T) {
	l := openLog(t, Options{Dir: t.TempDir()})
	path := filepath.Join(t.TempDir(), "endless")
	must(t, os.WriteFile(path, lines100(3*maxWidth), 0o600))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	r := NewPipe(fd)
	defer r.Close()
	must(t, l.CopyRest(r))
	if n := l.Stats().Bytes; n != maxWidth {
		t.Errorf("%d bytes", n)
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
	cancel2()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCopyOfClosedFile(t *testing.T) {
	l := openLog(t, Options{Dir: t.TempDir()})
	r, _ := newPipe(t)
	_ = r.Close()
	if err := l.Copy(t.Context(), r); err == nil {
		t.Error("no error")
	}
}

// TestBusyPipe is read by the tick, many lines at a time, and left as it was
// when it is quiet again: then each line comes at once.
func TestBusyPipe(t *testing.T) {
	const lines = 20_000
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir, MaxSize: 64 << 20})
	r, w := newPipe(t)
	other, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 3) // the keeper's
	must(t, err)
	defer unix.Close(other)
	width := func() int {
		n, err := unix.FcntlInt(uintptr(other), unix.F_GETPIPE_SZ, 0)
		must(t, err)
		return n
	}
	usual := width()
	ctx, cancel := context.WithCancel(t.Context())
	done := copying(ctx, l, r)
	widest := usual
	for i := range lines {
		_, err := w.Write(lines100(100))
		must(t, err)
		if i%100 == 0 {
			widest = max(widest, width())
		}
	}
	eventually(t, "all of it", func() bool { return l.Stats().Bytes == lines*100 })
	stamps := map[string]bool{}
	for line := range strings.Lines(content(t, dir)) {
		stamps[line[:stampLen]] = true
	}
	if widest == usual || len(stamps) > lines/20 {
		t.Errorf("%d lines were read in %d batches, the pipe held %d at most", lines, len(stamps), widest)
	}
	eventually(t, "the usual width", func() bool { return width() == usual })
	began := time.Now()
	for i := range 5 {
		_, err := w.WriteString("single\n")
		must(t, err)
		eventually(t, "a line", func() bool { return l.Stats().Bytes == lines*100+7*int64(i+1) })
	}
	t.Logf("%d batches; a single line took %v", len(stamps), time.Since(began)/5)
	cancel()
	<-done
	if flags, err := unix.FcntlInt(uintptr(other), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %o, %v", flags, err)
	}
}

// TestPipeThatCannotBeWidened is read as it is.
func TestPipeThatCannotBeWidened(t *testing.T) {
	const lines = 5000
	copyLines := func(l *Log, r *Pipe, w *os.File) {
		t.Helper()
		done := copying(t.Context(), l, r)
		for range lines {
			_, err := w.Write(lines100(100))
			must(t, err)
		}
		must(t, w.Close())
		must(t, <-done)
		if n := l.Stats().Bytes; n != lines*100 {
			t.Errorf("%d bytes", n)
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	r := NewPipe(fds[0])
	defer r.Close()
	copyLines(openLog(t, Options{Dir: t.TempDir()}), r, os.NewFile(uintptr(fds[1]), "socket"))

	pool := NewPool()
	for range maxWide { // as many as may be are busy
		pool.wide <- struct{}{}
	}
	r, w := newPipe(t)
	copyLines(openLog(t, Options{Dir: t.TempDir(), Pool: pool}), r, w)
}

// TestBusyLogsAreFair: of eight floods none gets much less than another, and
// the rest of the process goes on.
func TestBusyLogsAreFair(t *testing.T) {
	pool := NewPool()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var logs []*Log
	for range 8 {
		l := openLog(t, Options{Dir: t.TempDir(), Pool: pool})
		r, w := newPipe(t)
		cmd := actor(t, "writer", "100", "100", strconv.Itoa(1<<40))
		cmd.Stdout, cmd.Stderr = w, nil // it ends when nobody reads any more
		must(t, cmd.Start())
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		must(t, w.Close())
		done := copying(ctx, l, r)
		defer func() { cancel(); <-done }()
		logs = append(logs, l)
		eventually(t, "the first lines", func() bool { return l.Stats().Bytes > 0 })
	}
	before := make([]int64, len(logs))
	for i, l := range logs {
		before[i] = l.Stats().Bytes
	}
	least, most := int64(0), int64(0)
	began, looks := time.Now(), 0
	eventually(t, "2 MB from each", func() bool {
		looks++
		least, most = 1<<62, 0
		for i, l := range logs {
			n := l.Stats().Bytes - before[i]
			least, most = min(least, n), max(most, n)
		}
		return least > 2<<20
	})
	t.Logf("between %d and %d bytes; a turn of another goroutine every %v", least, most, time.Since(began)/time.Duration(looks))
	if most > 8*least {
		t.Errorf("one log got %d bytes, another %d", most, least)
	}
	if mean := time.Since(began) / time.Duration(looks); mean > 50*time.Millisecond {
		t.Errorf("another goroutine had a turn every %v", mean)
	}
}

// TestCopyLeaksNothing: a pipe changes its descriptor, but has one.
func TestCopyLeaksNothing(t *testing.T) {
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	l := openLog(t, Options{Dir: t.TempDir()})
	write(t, l, "open\n")
	before := descriptors()
	for range 20 {
		r, w := newPipe(t)
		done := copying(t.Context(), l, r)
		for len(l.pool.wide) == 0 {
			_, err := w.WriteString("line\n")
			must(t, err)
		}
		must(t, w.Close())
		must(t, <-done)
		must(t, r.Close())
		if err := r.Close(); err == nil {
			t.Error("closed twice")
		}
	}
	if n := descriptors(); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
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
