package logfile

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
)

// benchmarkCopy reads what a writer of its own process writes, perWrite bytes
// at a time in lines of 100. The writer's time is included.
func benchmarkCopy(b *testing.B, perWrite int, o Options) {
	const size = 64 << 20
	o.Dir = b.TempDir()
	b.SetBytes(size)
	for b.Loop() {
		l, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		r, w := newPipe(b)
		cmd := actor(b, "writer", strconv.Itoa(perWrite), strconv.Itoa(size))
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		_ = w.Close()
		if err := l.Copy(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		if s := l.Stats(); s.Lost > 0 || s.Bytes < size {
			b.Fatalf("%+v", s)
		}
		_ = l.Close()
	}
}

func BenchmarkCopyBulk(b *testing.B) { benchmarkCopy(b, 64000, Options{}) }

func BenchmarkCopyLinewise(b *testing.B) { benchmarkCopy(b, 100, Options{}) }

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
			benchmarkCopy(b, 100, Options{Tee: tee, Profile: "coder"})
			s := tee.Stats()
			b.ReportMetric(float64(s.Lost)/float64(b.N), "lost/op")
		})
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
