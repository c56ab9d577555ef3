package native_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
	"hermes/internal/wire"
)

// scripted is a keeper of the test's own making: it answers what answer says.
func scripted(t *testing.T, answer func(s *wire.Socket, m *wire.Message)) (*native.Runner, *wire.Socket, error) {
	t.Helper()
	sv, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.NewSocket(sv[0])
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, _, err := s.Recv()
			if err != nil {
				return
			}
			answer(s, m)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	r, err := native.Dial(sv[1])
	if err == nil {
		t.Cleanup(r.Close)
	}
	return r, s, err
}

// greets answers hello, and leaves the rest to then.
func greets(then func(*wire.Socket, *wire.Message)) func(*wire.Socket, *wire.Message) {
	return func(s *wire.Socket, m *wire.Message) {
		if m.Op == wire.OpHello {
			_ = s.Send(&wire.Message{Op: wire.OpReply, Seq: m.Seq, Version: m.Version, PID: 1, Stamp: "s"}, nil)
			return
		}
		then(s, m)
	}
}

func TestDialRefusesAnotherVersion(t *testing.T) {
	_, _, err := scripted(t, func(s *wire.Socket, m *wire.Message) {
		_ = s.Send(&wire.Message{Op: wire.OpReply, Seq: m.Seq, Failure: &wire.Failure{Kind: wire.FailVersion}}, nil)
	})
	if err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("Dial: %v, want an error about the version", err)
	}
}

func TestDialRefusesOtherDescriptors(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := native.Dial(p[0]); err == nil {
		t.Error("Dial takes a pipe")
	}
}

func TestALateAnswerLeaksNothing(t *testing.T) {
	asked := make(chan *wire.Message, 1)
	r, s, err := scripted(t, greets(func(_ *wire.Socket, m *wire.Message) { asked <- m }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	spawned := make(chan error, 1)
	go func() {
		_, err := r.Spawn(ctx, engine.Spec{Slot: "a", Path: "/bin/true", Argv: []string{"true"}})
		spawned <- err
	}()
	m := <-asked
	cancel()
	if err := <-spawned; !errors.Is(err, context.Canceled) {
		t.Errorf("Spawn: %v, want the context's error", err)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	late := &wire.Message{Op: wire.OpReply, Seq: m.Seq, Runs: []wire.RunInfo{{Slot: "a", Log: true}}}
	if err := s.Send(late, []int{p[1]}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(p[1])
	// What is kept for a successor is closed with the Runner; once every copy
	// that was sent is closed the pipe is at its end.
	r.Close()
	enginetest.Until(t, "the descriptor is closed", func() bool {
		n, err := unix.Read(p[0], make([]byte, 1))
		return n == 0 && err == nil
	})
}

func TestAnswersDoNotWaitForEvents(t *testing.T) {
	r, _, err := scripted(t, greets(func(s *wire.Socket, m *wire.Message) {
		for range 1000 {
			_ = s.Send(&wire.Message{Op: wire.OpExited, Slot: "a", Exit: &wire.Exit{Code: 1}}, nil)
		}
		_ = s.Send(&wire.Message{Op: wire.OpReply, Seq: m.Seq}, nil)
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Forget(ctx, "a", 1); err != nil { // nobody receives events
		t.Fatalf("Forget: %v", err)
	}
	for range 1000 {
		if e := <-r.Events(); e.Kind != engine.Exited || e.Exit.Code != 1 {
			t.Fatalf("event %+v", e)
		}
	}
}

func TestKeeperGone(t *testing.T) {
	r, _, err := scripted(t, greets(func(s *wire.Socket, _ *wire.Message) {
		s.Close()
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AckShutdown(context.Background()); !errors.Is(err, engine.ErrGone) {
		t.Errorf("AckShutdown: %v, want ErrGone", err)
	}
	if _, ok := <-r.Events(); ok {
		t.Error("the channel of events is not closed")
	}
	if err := r.Exit(context.Background(), 0); !errors.Is(err, engine.ErrGone) {
		t.Errorf("Exit: %v, want ErrGone", err)
	}
}

func TestSignalErrorsAreTheKernels(t *testing.T) {
	r, _, err := scripted(t, greets(func(s *wire.Socket, m *wire.Message) {
		_ = s.Send(&wire.Message{Op: wire.OpReply, Seq: m.Seq, Failure: &wire.Failure{
			Kind: wire.FailSignal, Errno: int(unix.EPERM),
		}}, nil)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Signal(context.Background(), "a", 1, unix.SIGTERM, true); !errors.Is(err, unix.EPERM) {
		t.Errorf("Signal: %v, want EPERM", err)
	}
}
