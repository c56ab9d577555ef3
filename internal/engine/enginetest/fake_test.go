package enginetest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFakeConforms(t *testing.T) {
	t.Run("without descriptors", func(t *testing.T) {
		Run(t, func(*testing.T) engine.Runner { return NewFake() })
	})
	t.Run("with descriptors", func(t *testing.T) {
		Run(t, func(t *testing.T) engine.Runner {
			f := NewFakeWithPipes()
			t.Cleanup(f.Close)
			return f
		})
	})
}

func TestFakeSuccessorFindsEverything(t *testing.T) {
	f, ctx := NewFake(), context.Background()
	for _, slot := range []string{"a", "b"} {
		if _, err := f.Spawn(ctx, engine.Spec{Slot: slot, Generation: 1}); err != nil {
			t.Fatal(err)
		}
	}
	f.End("b", 78)
	next := f.Successor()
	for range f.Events() { // ends because it is closed
	}
	if _, err := f.List(ctx); !errors.Is(err, engine.ErrGone) {
		t.Errorf("the old one's List: %v, want ErrGone", err)
	}
	runs, err := next.List(ctx)
	if err != nil || len(runs) != 2 || runs[0].Exit != nil || runs[1].Exit == nil || runs[1].Exit.Code != 78 {
		t.Errorf("the successor's List: %+v, %v", runs, err)
	}
	next.AskShutdown()
	if e := <-next.Events(); e.Kind != engine.Shutdown {
		t.Errorf("event %+v, want a shutdown", e)
	}
	if err := errors.Join(next.AckShutdown(ctx), next.Exit(ctx, 3)); err != nil {
		t.Fatal(err)
	}
	if code, ok := next.ExitCode(); !next.Acked() || !ok || code != 3 {
		t.Errorf("acked %v, exit %d %v", next.Acked(), code, ok)
	}
}

func TestFakePrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ctx := NewFake(), context.Background()
		boom := errors.New("boom")
		f.Script("bad", Program{Fail: boom})
		if _, err := f.Spawn(ctx, engine.Spec{Slot: "bad"}); !errors.Is(err, boom) {
			t.Errorf("Spawn: %v, want the script's error", err)
		}
		f.Script("hung", Program{Hang: true})
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := f.Spawn(short, engine.Spec{Slot: "hung"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Spawn: %v, want its context's error", err)
		}
		f.Script("slow", Program{Linger: time.Hour})
		if _, err := f.Spawn(ctx, engine.Spec{Slot: "slow"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := f.Signal(ctx, "slow", 0, unix.SIGTERM, true); err != nil {
			t.Fatal(err)
		}
		if e := <-f.Events(); e.Slot != "slow" || time.Since(began) != time.Hour {
			t.Errorf("%+v after %v, want slow after an hour", e, time.Since(began))
		}
		if f.Spawned("slow") != 1 || f.Kill("slow", unix.SIGKILL) {
			t.Error("the run is still there, or was never counted")
		}
	})
}

func TestFailing(t *testing.T) {
	f, ctx := NewFailing(engine.ErrGone), context.Background()
	_, spawn := f.Spawn(ctx, engine.Spec{})
	_, list := f.List(ctx)
	for _, err := range []error{
		spawn, list, f.Signal(ctx, "", 0, 0, false), f.Forget(ctx, "", 0), f.AckShutdown(ctx), f.Exit(ctx, 0),
	} {
		if !errors.Is(err, engine.ErrGone) {
			t.Errorf("%v, want ErrGone", err)
		}
	}
	if _, ok := <-f.Events(); ok {
		t.Error("the channel of events delivers")
	}
}
