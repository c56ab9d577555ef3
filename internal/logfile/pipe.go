package logfile

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The widths of a pipe, in bytes. A busy one has to hold what its writer writes
// in a tick. Pipes of users without CAP_SYS_RESOURCE share 64 MiB
// (fs.pipe-user-pages-soft), beyond which new ones hold two pages: of that,
// maxWide × wide is an eighth.
const (
	usualWidth = 64 << 10
	wide       = 512 << 10
	leastWide  = 256 << 10
	maxWide    = 16
	maxWidth   = 1 << 20 // fs.pipe-max-size
)

// Pipe is the read end of a run's output. It is in Go's poller only while it is
// quiet: where somebody polls a pipe, each write to it runs through the poller,
// and wakes it up, which costs a writer of short lines more than its write.
//
// It is for one goroutine at a time.
type Pipe struct {
	fd    int             // -1 while file has it, or none
	file  *os.File        // nil unless it is in the poller
	conn  syscall.RawConn // of file
	width int             // what it had before it was widened; 0 if it was not
}

// NewPipe takes fd over, which has to be nonblocking and stays so: others may
// share its flags.
func NewPipe(fd int) *Pipe { return &Pipe{fd: fd} }

// Close closes the descriptor.
func (p *Pipe) Close() error {
	if p.file != nil {
		return p.file.Close()
	}
	fd := p.fd
	if p.fd = -1; fd < 0 {
		return os.ErrClosed
	}
	return unix.Close(fd)
}

// enter makes the pipe one that is waited for without a thread.
func (p *Pipe) enter() error {
	if p.file != nil {
		return nil
	}
	if p.fd < 0 {
		return os.ErrClosed
	}
	file := os.NewFile(uintptr(p.fd), "pipe")
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	p.file, p.conn, p.fd = file, conn, -1
	return nil
}

// exit takes the pipe out of the poller. Only closing the descriptor does that,
// so another one goes on; it fails when there is none left.
func (p *Pipe) exit() error {
	if p.file == nil {
		return nil
	}
	fd, err := -1, error(nil)
	ctlErr := p.conn.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(ctlErr, err); err != nil {
		return err
	}
	_ = p.file.Close()
	p.file, p.conn, p.fd = nil, nil, fd
	return nil
}

// interrupt ends waiting for the pipe when ctx is done. The function it returns
// undoes that; it has to be called before the pipe leaves the poller.
func (p *Pipe) interrupt(ctx context.Context) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = p.file.SetReadDeadline(time.Unix(1, 0)) // a file that cannot wait needs none
	})
	return func() {
		if !stop() {
			<-done
			_ = p.file.SetReadDeadline(time.Time{})
		}
	}
}

// widen makes the pipe hold what its writer writes in a tick, if it may.
func (p *Pipe) widen() bool {
	was, err := unix.FcntlInt(uintptr(p.fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return false
	}
	for width := wide; width > was && width >= leastWide; width /= 2 {
		if _, err = unix.FcntlInt(uintptr(p.fd), unix.F_SETPIPE_SZ, width); err == nil {
			p.width = was
			return true
		}
	}
	p.width = usualWidth // a supervisor before us widened it
	return was >= leastWide
}

// narrow undoes widen, unless the pipe holds too much for that: then whoever
// finds it busy again will.
func (p *Pipe) narrow() { _, _ = unix.FcntlInt(uintptr(p.fd), unix.F_SETPIPE_SZ, p.width) }

// readNow reads what a descriptor has; EAGAIN if it has nothing.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
