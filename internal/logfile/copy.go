package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// source is what can be read without a thread or a buffer waiting: an *os.File
// made of a nonblocking pipe.
type source interface {
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// Copy writes what r has until its end (nil, and a missing last newline is
// added), until ctx is done (its error), or until reading fails. All that was
// read is written, or counted as lost, when it returns; what r still has stays
// there for another reader, and an unfinished line is left for it to continue.
//
// If r is a nonblocking pipe as an [*os.File], waiting costs no thread, buffer
// or timer; its read deadline is used for ctx and cleared afterwards. Any other
// reader is waited for even when ctx is done.
func (l *Log) Copy(ctx context.Context, r io.Reader) error {
	var err error
	if s, ok := r.(source); ok {
		err = l.copySource(ctx, s)
	} else {
		err = l.copyReader(ctx, r)
	}
	if err == nil {
		l.endLine()
	}
	return err
}

func (l *Log) copySource(ctx context.Context, s source) error {
	conn, err := s.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot read output: %w", err)
	}
	defer interrupt(ctx, s)()
	b := puller{pool: l.pool}
	defer b.release()
	pull := b.pull
	var last time.Time
	for ctx.Err() == nil {
		if err := conn.Read(pull); err != nil {
			if ctx.Err() != nil {
				break
			}
			return fmt.Errorf("cannot read output: %w", err)
		}
		if b.n == 0 {
			return b.end()
		}
		if _, err := l.Write(b.buf[:b.n]); err != nil {
			return err
		}
		now := time.Now()
		if b.n < smallBatch && now.Sub(last) < hurry {
			l.pool.linger()
			now = time.Now()
		}
		last = now
	}
	return ctx.Err()
}

// interrupt ends reads of s when ctx is done. The function it returns undoes
// that; it has to be called.
func interrupt(ctx context.Context, s source) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.SetReadDeadline(time.Unix(1, 0)) // a file that cannot wait needs none
	})
	return func() {
		if !stop() {
			<-done
			_ = s.SetReadDeadline(time.Time{})
		}
	}
}

// puller takes what a descriptor has, in a buffer that it holds only while
// there is some.
type puller struct {
	pool *Pool
	buf  *batchBuffer
	n    int
	err  error
}

// pull is for syscall.RawConn.Read: false asks to be called again when the
// descriptor is readable. It reads once: to read until nothing is left would be
// to race a writer of single lines for each of them.
func (b *puller) pull(fd uintptr) bool {
	if b.buf == nil {
		b.buf = b.pool.batches.Get().(*batchBuffer)
	}
	b.n, b.err = unix.Read(int(fd), b.buf[:])
	switch b.err {
	case nil:
		return true
	case unix.EINTR:
		return b.pull(fd)
	case unix.EAGAIN:
		b.release()
		return false
	}
	b.n = 0
	return true
}

// end is what a read of nothing means: the end of the output, or an error.
func (b *puller) end() error {
	if b.err != nil {
		return fmt.Errorf("cannot read output: %w", b.err)
	}
	return nil
}

func (b *puller) release() {
	if b.buf != nil {
		b.pool.batches.Put(b.buf)
		b.buf = nil
	}
}

func (l *Log) copyReader(ctx context.Context, r io.Reader) error {
	buf := l.pool.batches.Get().(*batchBuffer)
	defer l.pool.batches.Put(buf)
	for ctx.Err() == nil {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, err := l.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read output: %w", err)
		}
	}
	return ctx.Err()
}
