package supervisor

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// notifySockets waits for all notify sockets at once, on one goroutine: one for
// each would cost every gateway a stack for something that it says once in its
// life. The zero value is ready to use, from any goroutine.
type notifySockets struct {
	mu     sync.Mutex // guards what follows
	set    *os.File   // an epoll set; nil while there is no socket in it
	byID   map[uint64]*notifySocket
	lastID uint64
	reader sync.WaitGroup
}

// notifySocket is one of them. Its descriptor is closed once nobody uses it.
type notifySocket struct {
	all  *notifySockets
	id   uint64
	said func(*notifySocket) // called when there is a datagram, once for each await

	mu sync.Mutex // guards fd; never held for long, as nothing is waited for
	fd int        // -1 once closed
}

// add takes fd over and has said called when there is something to read, once;
// notifySocket.await asks for it again. said must not block.
func (n *notifySockets) add(fd int, said func(*notifySocket)) (*notifySocket, error) {
	s := &notifySocket{all: n, said: said, fd: fd}
	err := n.admit(s)
	if err == nil {
		err = s.control(unix.EPOLL_CTL_ADD)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("cannot wait for notifications: %w", err)
	}
	return s, nil
}

// admit gives a socket its id and makes the set when it is the first.
func (n *notifySockets) admit(s *notifySocket) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set == nil {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, true); err != nil { // or package os would give it a thread
			unix.Close(fd)
			return err
		}
		n.set, n.byID = os.NewFile(uintptr(fd), "notify sockets"), map[uint64]*notifySocket{}
		set := n.set
		n.reader.Go(func() { n.read(set) })
	}
	n.lastID++
	s.id = n.lastID
	n.byID[s.id] = s
	return nil
}

// read hands out what happens in the set, until that is closed.
func (n *notifySockets) read(set *os.File) {
	raw, err := set.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 64)
	for {
		got := 0
		err := raw.Read(func(fd uintptr) bool {
			got, _ = unix.EpollWait(int(fd), events, 0)
			return got > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:got] {
			if s := n.get(idOfEvent(e)); s != nil {
				s.said(s)
			}
		}
	}
}

// wait returns once the last socket's reader has, if there is no socket.
func (n *notifySockets) wait() {
	n.mu.Lock()
	idle := n.set == nil
	n.mu.Unlock()
	if idle {
		n.reader.Wait()
	}
}

func (n *notifySockets) get(id uint64) *notifySocket {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byID[id]
}

// drop forgets a socket. Without sockets nobody reads the set.
func (n *notifySockets) drop(id uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byID, id)
	if n.set != nil && len(n.byID) == 0 {
		_ = n.set.Close()
		n.set = nil
	}
}

// control has the set add the socket, or wait for it once more. The reader's
// answer comes by id, as a descriptor's number may have gone to another one.
func (s *notifySocket) control(op int) error {
	s.all.mu.Lock()
	set := s.all.set
	s.all.mu.Unlock()
	if set == nil {
		return os.ErrClosed
	}
	raw, err := set.SyscallConn()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(uint32(s.id)), Pad: int32(uint32(s.id >> 32))}
	var ctlErr error
	if err := raw.Control(func(fd uintptr) { ctlErr = unix.EpollCtl(int(fd), op, s.fd, &event) }); err != nil {
		return err
	}
	return ctlErr
}

func idOfEvent(e unix.EpollEvent) uint64 {
	return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
}

// await asks for the next datagram, also for one that is there already.
func (s *notifySocket) await() {
	_ = s.control(unix.EPOLL_CTL_MOD) // it is closed, or the set takes it as it took it before
}

// receive takes or looks at a datagram; unix.EAGAIN if there is none.
func (s *notifySocket) receive(flags int, uid uint32) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil, os.ErrClosed
	}
	return receive(s.fd, flags, uid)
}

// close takes the socket out of the set, where it would stay as long as the
// keeper has it open, and closes the descriptor. It may be called again.
func (s *notifySocket) close() {
	_ = s.control(unix.EPOLL_CTL_DEL) // it may not be in the set
	s.mu.Lock()
	fd := s.fd
	s.fd = -1
	s.mu.Unlock()
	if fd >= 0 {
		unix.Close(fd)
		s.all.drop(s.id)
	}
}
