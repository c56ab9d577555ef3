package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe is busy when hurried batches in a row came within a tick of each
// other. From then on it is read once per tick, whatever happens on it, until
// there was nothing in calm ticks in a row. So its writer never wakes anybody,
// and its lines are written many at a time.
const (
	tick    = time.Millisecond // the poller's timers are no finer
	hurried = 8
	calm    = 4
)

// Copy writes what p has until its end (nil, and a missing last newline is
// added), until ctx is done (its error), or until reading fails. All that was
// read is written, or counted as lost, when it returns; what p still has stays
// there for another reader, and an unfinished line is left for it to continue.
//
// Waiting for a quiet pipe costs no thread, buffer or timer. A line is written
// as soon as it comes, in a busy pipe within about a tick, which is 1 ms.
func (l *Log) Copy(ctx context.Context, p *Pipe) error {
	c := copier{log: l, pipe: p}
	defer c.release()
	for ctx.Err() == nil {
		err := c.quiet(ctx)
		if err == nil {
			err = c.busy(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, io.EOF):
			l.endLine()
			return nil
		case err != nil:
			return fmt.Errorf("cannot read output: %w", err)
		}
	}
	return ctx.Err()
}

// CopyRest writes what p has now, and not more than a pipe holds: one who keeps
// writing gets no more than that. Then it ends the line.
func (l *Log) CopyRest(p *Pipe) error {
	if err := p.enter(); err != nil {
		return fmt.Errorf("cannot read output: %w", err)
	}
	c := copier{log: l, pipe: p}
	defer c.release()
	var err error
	for left := maxWidth; left > 0 && err == nil; left -= c.n {
		c.most = left
		if ctlErr := p.conn.Control(func(fd uintptr) { c.pull(int(fd)) }); ctlErr != nil {
			c.n, c.err = 0, ctlErr
		}
		err = c.store()
	}
	if err == nil || err == unix.EAGAIN || err == io.EOF {
		l.endLine()
		return nil
	}
	return fmt.Errorf("cannot read output: %w", err)
}

// copier moves batches from a pipe to a log.
type copier struct {
	log  *Log
	pipe *Pipe
	buf  *batchBuffer // nil while there is nothing in it
	most int          // how much may be read, if that is less than a batch
	n    int          // how much was read
	err  error        // why it was nothing
}

// quiet copies each batch as it comes. It returns nil when the pipe is busy.
func (c *copier) quiet(ctx context.Context) error {
	if err := c.pipe.enter(); err != nil {
		return err
	}
	defer c.pipe.interrupt(ctx)()
	pull := func(fd uintptr) bool {
		c.pull(int(fd))
		return c.err != unix.EAGAIN // false: again when there is something
	}
	var last time.Time
	for row := 0; row < hurried; {
		if err := c.pipe.conn.Read(pull); err != nil {
			return err
		}
		if err := c.store(); err != nil {
			return err
		}
		now := time.Now()
		if row++; now.Sub(last) > tick {
			row = 0
		}
		last = now
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// busy copies once per tick while there is something. A pipe that may not be
// widened is left as it is: its writer would have to wait for the ticks.
func (c *copier) busy(ctx context.Context) error {
	select {
	case c.log.pool.wide <- struct{}{}:
		defer func() { <-c.log.pool.wide }()
	default:
		return nil
	}
	if c.pipe.exit() != nil || !c.pipe.widen() {
		return nil // without a descriptor to spare, or a page
	}
	defer c.pipe.narrow()
	t := time.NewTimer(0)
	defer t.Stop()
	for idle := 0; idle < calm; {
		t.Reset(c.log.pool.untilTick())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		some, err := c.empty(ctx)
		if err != nil {
			return err
		}
		if idle++; some {
			idle = 0
		}
	}
	return nil
}

// empty copies until the pipe has no more, and says whether there was some.
func (c *copier) empty(ctx context.Context) (some bool, err error) {
	defer c.release()
	for ctx.Err() == nil {
		c.pull(c.pipe.fd)
		if c.err == unix.EAGAIN {
			return some, nil
		}
		full := c.n == batchSize
		if err := c.store(); err != nil {
			return some, err
		}
		if some = true; !full {
			return some, nil
		}
		runtime.Gosched() // others are in a hurry too
	}
	return some, ctx.Err()
}

// pull reads once. To read until nothing is left would be to race a writer of
// single lines for each of them.
func (c *copier) pull(fd int) {
	if c.buf == nil {
		c.buf = c.log.pool.batches.Get().(*batchBuffer)
	}
	p := c.buf[:]
	if c.most > 0 {
		p = p[:min(c.most, len(p))]
	}
	if c.n, c.err = readNow(fd, p); c.n == 0 {
		c.release()
		if c.err == nil {
			c.err = io.EOF
		}
	}
}

// store writes what was read.
func (c *copier) store() error {
	if c.n == 0 {
		return c.err
	}
	_, err := c.log.Write(c.buf[:c.n])
	c.release()
	return err
}

func (c *copier) release() {
	if c.buf != nil {
		c.log.pool.batches.Put(c.buf)
		c.buf = nil
	}
}
