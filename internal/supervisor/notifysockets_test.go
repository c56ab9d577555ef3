package supervisor

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func socketPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	return pair[0], pair[1]
}

func TestNotifySocketTellsOfEachDatagram(t *testing.T) {
	var all notifySockets
	said := make(chan *notifySocket)
	var in, theirs [3]int
	var sockets [3]*notifySocket
	for i := range in {
		in[i], theirs[i] = socketPair(t)
		var err error
		if sockets[i], err = all.add(in[i], func(s *notifySocket) { said <- s }); err != nil {
			t.Fatal(err)
		}
	}
	// Two are there before anybody is told of the first, and nothing elsewhere.
	for _, text := range []string{"READY=1", "STATUS=a"} {
		if _, err := unix.Write(theirs[1], []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"READY=1", "STATUS=a"} {
		s := told(t, said)
		if s != sockets[1] {
			t.Fatal("another socket is told of")
		}
		for _, flags := range []int{unix.MSG_PEEK, 0} {
			if got, err := s.receive(flags, uint32(os.Getuid())); err != nil || string(got) != want {
				t.Fatalf("%q, %v", got, err)
			}
		}
		select {
		case <-said:
			t.Fatal("it is told of again before anybody awaits it")
		default:
		}
		s.await()
	}
	if _, err := sockets[1].receive(0, 0); !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	for _, s := range sockets {
		s.close()
		s.close() // harmless
		s.await() // so is this
	}
	if _, err := sockets[1].receive(0, 0); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	all.wait() // would hang if the set were still read
	if all.set != nil {
		t.Error("the set is kept without sockets")
	}
}

func told(t *testing.T, said <-chan *notifySocket) *notifySocket {
	t.Helper()
	select {
	case s := <-said:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is told of a datagram")
		return nil
	}
}

// A socket that somebody else has open too, as the keeper has, is not told of
// once it is closed here, nor is the next one of its number mistaken for it.
func TestNotifySocketIsForgottenWhenClosed(t *testing.T) {
	var all notifySockets
	keeps, _ := socketPair(t) // the set stays
	kept, err := all.add(keeps, func(*notifySocket) {})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := socketPair(t)
	dup, err := unix.FcntlInt(uintptr(ours), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	said := make(chan *notifySocket, 1)
	s, err := all.add(ours, func(s *notifySocket) { said <- s })
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if _, err := unix.Write(theirs, []byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	raw, err := all.set.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	events := make([]unix.EpollEvent, 1)
	if err := raw.Control(func(fd uintptr) { n, _ = unix.EpollWait(int(fd), events, 0) }); err != nil || n != 0 {
		t.Errorf("%d events of a socket that is closed, %v", n, err)
	}
	kept.close()
	all.wait()
}

func TestWorkersAreUsedAgainAndLeave(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorkers(ctx.Done())
	first := make(chan struct{})
	w.run(func() { close(first) })
	<-first
	// The worker that did the first job takes the second one.
	second := make(chan struct{})
	select {
	case w.jobs <- func() { close(second) }:
		<-second
	case <-time.After(10 * time.Second):
		t.Error("a worker does not wait for another job")
	}
	cancel()
	third := make(chan struct{})
	w.run(func() { close(third) }) // is done all the same; that all leave is TestMain's to see
	<-third
}
