package wire

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is one end of the connection between a keeper and its engine. Send
// may be called from any goroutine, Recv from one, Close from any and often.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	send sync.Mutex
	buf  []byte
	oob  []byte
}

// NewSocket takes over fd, a SOCK_SEQPACKET socket, and makes it
// close-on-exec and non-blocking.
func NewSocket(fd int) (*Socket, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("cannot use descriptor %d as a keeper's connection: it is no such socket", fd)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot make descriptor %d non-blocking: %w", fd, err)
	}
	// The kernel takes what it allows; MaxFrame fits its default.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*MaxFrame)
	file := os.NewFile(uintptr(fd), "keeper")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("cannot use descriptor %d: %w", fd, err)
	}
	return &Socket{
		file: file, raw: raw,
		buf: make([]byte, MaxFrame),
		oob: make([]byte, unix.CmsgSpace(4*MaxFDs)),
	}, nil
}

// Send sends m with duplicates of fds, at most [MaxFDs]; it waits while the
// other end's buffer is full. A message that cannot be encoded or is larger
// than [MaxFrame] is not sent and leaves the connection as it was.
func (s *Socket) Send(m *Message, fds []int) error {
	frame, err := Encode(m)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	s.send.Lock()
	defer s.send.Unlock()
	var op error
	err = s.raw.Write(func(fd uintptr) bool {
		for {
			op = unix.Sendmsg(int(fd), frame, oob, nil, unix.MSG_NOSIGNAL)
			if op != unix.EINTR {
				return op != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = op
	}
	return err
}

// Recv returns the next message and the descriptors that came with it, which
// the caller owns. It is [io.EOF] once the other end is closed.
func (s *Socket) Recv() (*Message, []int, error) {
	var n, oobn, flags int
	var op error
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, op = unix.Recvmsg(int(fd), s.buf, s.oob, unix.MSG_CMSG_CLOEXEC)
			if op != unix.EINTR {
				return op != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return nil, nil, err
	case op != nil:
		return nil, nil, op
	}
	fds := Rights(s.oob[:oobn])
	if n == 0 {
		CloseFDs(fds...)
		return nil, nil, io.EOF
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		CloseFDs(fds...)
		return nil, nil, fmt.Errorf("%w: it was cut short", errMalformed)
	}
	m, err := Decode(s.buf[:n])
	if err != nil {
		CloseFDs(fds...)
		return nil, nil, err
	}
	return m, fds, nil
}

// Close ends the connection; a blocked Send or Recv returns. It shuts it down
// as well: the child of a hung exec may hold a copy of the descriptor.
func (s *Socket) Close() {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	_ = s.file.Close()
}

// Rights collects the descriptors of a control message.
func Rights(oob []byte) []int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var fds []int
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// CloseFDs closes descriptors; negative ones are none.
func CloseFDs(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
