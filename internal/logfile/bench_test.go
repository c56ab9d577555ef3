package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// load is what a gateway of the benchmarks writes: size bytes, perWrite at a time.
type load struct{ perWrite, line, size int }

var ( // constants in all but syntax
	bulk     = load{64000, 100, 128 << 20}
	linewise = load{100, 100, 48 << 20}
	short    = load{50, 50, 24 << 20}
)

// reader reads the output of one writer to its end.
type reader func(b *testing.B, fd int)

// pass has a reader read the load of each of n processes, and says how long
// that took; the writers' own time is included.
func (w load) pass(b *testing.B, n int, read reader) time.Duration {
	b.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for range n {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			b.Fatal(err)
		}
		end := os.NewFile(uintptr(p[1]), "pipe")
		cmd := actor(b, "writer", strconv.Itoa(w.perWrite), strconv.Itoa(w.line), strconv.Itoa(w.size))
		cmd.Stdout = end
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		_ = end.Close()
		all.Go(func() {
			read(b, p[0])
			if err := cmd.Wait(); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// ours reads as the supervisor does.
func ours(w load, o Options) reader {
	o.Pool = NewPool()
	return func(b *testing.B, fd int) {
		if err := unix.SetNonblock(fd, true); err != nil {
			b.Error(err)
			return
		}
		o := o
		o.Dir = b.TempDir()
		l, err := Open(o)
		if err != nil {
			b.Error(err)
			return
		}
		p := NewPipe(fd)
		err = errors.Join(l.Copy(b.Context(), p), p.Close(), l.Close())
		if s := l.Stats(); err != nil || s.Lost > 0 || s.Bytes < int64(w.size) {
			b.Errorf("%+v %v", s, err)
		}
	}
}

// discard is the floor: a thread that reads and does nothing else.
func discard(b *testing.B, fd int) {
	buf := new(batchBuffer)
	for {
		n, err := readNow(fd, buf[:])
		if err != nil {
			b.Error(err)
		}
		if n == 0 {
			_ = unix.Close(fd)
			return
		}
	}
}

// s6Log is the peer, with the same work to do; nil where it is not installed.
func s6Log() reader {
	path, err := exec.LookPath("s6-log")
	if err != nil {
		return nil
	}
	return func(b *testing.B, fd int) {
		in := os.NewFile(uintptr(fd), "pipe")
		defer in.Close()
		cmd := exec.Command(path, "T", "n10", "s1000000", b.TempDir())
		cmd.Stdin, cmd.Stderr = in, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Error(err)
		}
	}
}

// compare reads the load in turn with each reader, and reports the best pass of
// each: what else the machine does at the time only ever adds.
func (w load) compare(b *testing.B, n int, o Options) {
	readers := map[string]reader{"": ours(w, o), "discard": discard}
	if r := s6Log(); r != nil {
		readers["s6-log"] = r
	}
	best := map[string]float64{}
	for b.Loop() {
		for name, r := range readers {
			took := w.pass(b, n, r)
			best[name] = max(best[name], float64(n*w.size)/1e6/took.Seconds())
		}
	}
	for name, rate := range best {
		if name == "" {
			b.ReportMetric(rate, "MB/s")
			continue
		}
		b.ReportMetric(rate, name+"-MB/s")
		b.ReportMetric(best[""]/rate, "×"+name)
	}
}

func BenchmarkCopyBulk(b *testing.B) { bulk.compare(b, 1, Options{}) }

func BenchmarkCopyLinewise(b *testing.B) { linewise.compare(b, 1, Options{}) }

func BenchmarkCopyShortLines(b *testing.B) { short.compare(b, 1, Options{}) }

func BenchmarkCopyEightAtOnce(b *testing.B) {
	load{linewise.perWrite, linewise.line, linewise.size / 8}.compare(b, 8, Options{})
}

func BenchmarkCopyLinewiseTee(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for _, format := range []Format{Plain, JSON} {
		b.Run(string(format), func(b *testing.B) {
			tee := NewTee(null, format)
			defer tee.Close(b.Context())
			linewise.compare(b, 1, Options{Tee: tee, Profile: "coder"})
			s := tee.Stats()
			b.ReportMetric(float64(s.Lost)/float64(b.N), "lost/op")
		})
	}
}

// BenchmarkLatency is the time from a gateway's write to the line's arrival at
// one who follows the log, for a quiet pipe and for one that is busy.
func BenchmarkLatency(b *testing.B) {
	for name, busy := range map[string]bool{"quiet": false, "busy": true} {
		b.Run(name, func(b *testing.B) { benchmarkLatency(b, busy) })
	}
}

func benchmarkLatency(b *testing.B, busy bool) {
	dir := b.TempDir()
	l := openLog(b, Options{Dir: dir})
	r, w := newPipe(b)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := copying(ctx, l, r)
	var parts sync.WaitGroup
	seen := make(chan time.Time, 1)
	parts.Go(func() {
		_ = Follow(ctx, dir, 0, func(line string) error {
			if strings.HasSuffix(line, " single") {
				seen <- time.Now()
			}
			return nil
		})
	})
	if busy {
		parts.Go(func() {
			for t := time.NewTicker(tick); ctx.Err() == nil; <-t.C {
				for range 2 * hurried {
					_, _ = w.WriteString("noise\n")
				}
			}
		})
		eventually(b, "the pipe is busy", func() bool { return len(l.pool.wide) > 0 })
	}
	var took []time.Duration
	pause := time.NewTicker(7*time.Millisecond + 300*time.Microsecond)
	defer pause.Stop()
	for b.Loop() {
		<-pause.C
		began := time.Now()
		if _, err := w.WriteString("single\n"); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-seen).Sub(began))
	}
	cancel()
	<-done
	parts.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkIdle is what a thousand logs cost that have written and wait.
func BenchmarkIdle(b *testing.B) {
	const logs = 1000
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC() // the second empties the pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		pool, base, before := NewPool(), b.TempDir(), inUse()
		ctx, cancel := context.WithCancel(b.Context())
		var ends []<-chan error
		var all []*Log
		for i := range logs {
			l := openLog(b, Options{Dir: filepath.Join(base, strconv.Itoa(i)), Pool: pool})
			r, w := newPipe(b)
			ends, all = append(ends, copying(ctx, l, r)), append(all, l)
			for range 20 { // busy for a while
				if _, err := w.WriteString("hello\n"); err != nil {
					b.Fatal(err)
				}
			}
		}
		eventually(b, "all lines", func() bool {
			return !slices.ContainsFunc(all, func(l *Log) bool { return l.Stats().Bytes < 120 })
		})
		eventually(b, "nothing is busy", func() bool { return len(pool.wide) == 0 })
		b.ReportMetric(float64(inUse()-before)/logs, "B/log")
		woken := wakeUps()
		<-time.After(time.Second)
		b.ReportMetric(float64(wakeUps()-woken)*8, "wake-ups/s")
		cancel()
		for _, end := range ends {
			<-end
		}
	}
}

// BenchmarkStore is the log without pipe and writer.
func BenchmarkStore(b *testing.B) {
	for _, lineLen := range []int{20, 100, 1000} {
		b.Run(fmt.Sprint(lineLen), func(b *testing.B) {
			l, err := Open(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			p := make([]byte, batchSize)
			for i := range p {
				p[i] = 'x'
				if i%lineLen == lineLen-1 {
					p[i] = '\n'
				}
			}
			b.SetBytes(batchSize)
			for b.Loop() {
				_, _ = l.Write(p)
			}
		})
	}
}

func BenchmarkTeeFormat(b *testing.B) {
	for _, format := range []Format{Plain, JSON} {
		b.Run(string(format), func(b *testing.B) {
			t := NewTee(io.Discard, format)
			defer t.Close(b.Context())
			s := newStream(t, NewPool(), "coder")
			p := lines100(batchSize)
			stamp := []byte("2026-05-28T12:42:13.123456Z ")
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				s.write(p, stamp)
			}
		})
	}
}
