package logfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Format is how lines look in a [Tee].
type Format string

// The formats. Control characters and bytes that are no UTF-8 are escaped in
// both: what a gateway prints does not steer the operator's terminal.
const (
	Plain Format = "plain" // [coder] line
	JSON  Format = "json"  // {"ts":"2026-05-28T12:42:13.123456Z","profile":"coder","line":"line"}
)

// teeLimit is how many bytes wait for a slow stdout before lines are lost; as
// many again may be in the write under way.
const teeLimit = 1 << 20

// ourName is the name of the tee's own lines; no profile can have it.
const ourName = "hermes"

// Tee is the stream of all logs' lines. One goroutine writes it, and blocks
// there if it must; nobody who adds lines ever waits for it.
type Tee struct {
	format Format
	w      io.Writer
	own    stream        // of what is written to the tee itself
	wake   chan struct{} // something is pending or the tee was closed
	done   chan struct{} // the goroutine has ended

	mu      sync.Mutex // guards what follows; never held while writing
	pending batch
	spare   batch // the buffers pending does not use
	gap     int64 // lines lost that the stream does not mention yet
	torn    bool  // the last line written has no end
	stats   TeeStats
	closed  bool
}

// TeeStats is what became of a tee's lines.
type TeeStats struct {
	Bytes   int64  // written
	Lost    int64  // lines not written
	Why     string // the last of them; "" if there are none
	Failing bool   // no line was written since
}

// batch is lines of several logs.
type batch struct {
	text   []byte
	shares []share // in the order of text
}

// share is a part of a batch that comes from one log, and goes up to end.
type share struct {
	of  *stream // nil for the tee's own line,
	gap int64   // which mentions so many
	end int
}

// tooSlow is why lines are lost that nobody has tried to write.
const tooSlow = "standard output is not read fast enough"

// NewTee starts a tee to w. [Tee.Close] ends it. An *os.File is written without
// its poller, because stdout may be shared with programs that set or clear
// O_NONBLOCK, and without Go's rule that a closed stdout kills.
func NewTee(w io.Writer, format Format) *Tee {
	if f, ok := w.(*os.File); ok {
		if conn, err := f.SyscallConn(); err == nil {
			w = blockingFile{conn}
		}
	}
	t := &Tee{format: format, w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go t.run()
	return t
}

// Write adds p as it is, whole lines of another source; it never waits and
// never fails. They are counted like the others.
func (t *Tee) Write(p []byte) (int, error) {
	t.add(&t.own, p, appendStamp(nil, time.Now()))
	return len(p), nil
}

// Stats returns the counters. It never waits for the writer.
func (t *Tee) Stats() TeeStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// Close writes what is pending and ends the goroutine. When ctx is done first
// it returns an error, and the goroutine ends as soon as its write does, or
// with the process. Lines that are added after Close are lost.
func (t *Tee) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wakeUp()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot write all lines to standard output: %w", ctx.Err())
	}
}

// add appends whole lines of a log in the tee's format, or counts them as lost.
func (t *Tee) add(of *stream, lines, stamp []byte) {
	t.mu.Lock()
	if t.closed || len(t.pending.text)+len(lines) > teeLimit {
		t.loseLocked(of, lines, tooSlow)
		t.mu.Unlock()
		return
	}
	t.markGapLocked(stamp)
	t.pending.text = append(t.pending.text, lines...)
	t.pending.share(of, 0)
	t.mu.Unlock()
	t.wakeUp()
}

// share says whose the text is that was appended last.
func (b *batch) share(of *stream, gap int64) {
	if n := len(b.shares); n > 0 && of != nil && b.shares[n-1].of == of {
		b.shares[n-1].end = len(b.text)
		return
	}
	b.shares = append(b.shares, share{of: of, gap: gap, end: len(b.text)})
}

func (t *Tee) loseLocked(of *stream, lines []byte, why string) {
	n := int64(bytes.Count(lines, newline()))
	of.lost.Add(n)
	t.gap += n
	t.stats.Lost += n
	t.stats.Why, t.stats.Failing = why, true
}

func (t *Tee) wakeUp() {
	select {
	case t.wake <- struct{}{}:
	default: // the goroutine has not seen the last one yet
	}
}

// markGapLocked says on a line of its own what is missing.
func (t *Tee) markGapLocked(stamp []byte) {
	if t.gap == 0 {
		return
	}
	if t.torn {
		t.pending.text = append(t.pending.text, '\n')
	}
	line := fmt.Appendf(nil, "%d lines of output are missing here: %s", t.gap, t.stats.Why)
	t.pending.text = t.format.append(t.pending.text, stamp, ourName, line)
	t.pending.share(nil, t.gap)
	t.gap = 0
}

func (t *Tee) run() {
	defer close(t.done)
	for {
		b, closed := t.take()
		if len(b.text) > 0 {
			n, err := t.w.Write(b.text)
			t.wrote(b, n, err)
			continue
		}
		if closed {
			return
		}
		<-t.wake
	}
}

// take empties the pending batch. After Close a last gap is mentioned, if
// anything can be written.
func (t *Tee) take() (b batch, closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed && t.stats.Why == tooSlow {
		t.markGapLocked(appendStamp(nil, time.Now()))
	}
	if len(t.pending.text) > 0 {
		b = t.pending
		t.pending, t.spare = batch{t.spare.text[:0], t.spare.shares[:0]}, batch{}
	}
	return b, t.closed
}

// wrote accounts for a write of b and keeps its buffers for the next turn. What
// was not written is lost, but the next line says so.
func (t *Tee) wrote(b batch, n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Bytes += int64(n)
	t.stats.Failing = t.stats.Failing && n == 0
	if n > 0 {
		t.torn = b.text[n-1] != '\n'
	}
	if err != nil {
		from := n
		for _, s := range b.shares {
			switch {
			case s.end <= n:
			case s.of == nil:
				t.gap += s.gap
			default:
				t.loseLocked(s.of, b.text[from:s.end], err.Error())
			}
			from = max(from, s.end)
		}
	}
	t.spare = b
}

// blockingFile writes to a descriptor whatever its O_NONBLOCK flag says.
type blockingFile struct{ conn syscall.RawConn }

func (f blockingFile) Write(p []byte) (n int, err error) {
	ctlErr := f.conn.Control(func(fd uintptr) { n, err = writeBlocking(int(fd), p) })
	if ctlErr != nil {
		return n, ctlErr
	}
	return n, err
}

func writeBlocking(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(fd, p[n:])
		switch err {
		case nil:
			n += m
		case unix.EINTR:
		case unix.EAGAIN:
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
				return n, err
			}
		default:
			return n, err
		}
	}
	return n, nil
}
