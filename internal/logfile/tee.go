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
	wake   chan struct{} // something is pending or the tee was closed
	done   chan struct{} // the goroutine has ended

	mu      sync.Mutex // guards what follows; never held while writing
	pending []byte
	spare   []byte // the buffer pending does not use
	gap     int64  // lines lost that the stream does not mention yet
	stats   TeeStats
	closed  bool
}

// TeeStats is what became of a tee's lines.
type TeeStats struct {
	Bytes     int64  // written
	Lost      int64  // lines not written
	LastError string // of the last write that failed; "" if none did
}

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

// add appends whole lines of the tee's format, or counts them as lost.
func (t *Tee) add(lines, stamp []byte) {
	t.mu.Lock()
	if t.closed || len(t.pending)+len(lines) > teeLimit {
		n := int64(bytes.Count(lines, newline()))
		t.stats.Lost += n
		t.gap += n
		t.mu.Unlock()
		return
	}
	t.markGapLocked(stamp)
	t.pending = append(t.pending, lines...)
	t.mu.Unlock()
	t.wakeUp()
}

func (t *Tee) wakeUp() {
	select {
	case t.wake <- struct{}{}:
	default: // the goroutine has not seen the last one yet
	}
}

func (t *Tee) markGapLocked(stamp []byte) {
	if t.gap > 0 {
		line := fmt.Appendf(nil, "%d lines of output are missing here, standard output was too slow", t.gap)
		t.pending = t.format.append(t.pending, stamp, ourName, line)
		t.gap = 0
	}
}

func (t *Tee) run() {
	defer close(t.done)
	for {
		p, closed := t.take()
		if len(p) > 0 {
			n, err := t.w.Write(p)
			t.wrote(p, n, err)
			continue
		}
		if closed {
			return
		}
		<-t.wake
	}
}

// take empties the pending buffer. After Close a last gap is mentioned.
func (t *Tee) take() (p []byte, closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed && t.gap > 0 {
		t.markGapLocked(appendStamp(nil, time.Now()))
	}
	if len(t.pending) > 0 {
		p = t.pending
		t.pending, t.spare = t.spare[:0], nil
	}
	return p, t.closed
}

// wrote accounts for a write of p and keeps its buffer for the next turn.
func (t *Tee) wrote(p []byte, n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Bytes += int64(n)
	if err != nil {
		t.stats.Lost += int64(bytes.Count(p[n:], newline()))
		t.stats.LastError = err.Error()
	}
	t.spare = p
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
