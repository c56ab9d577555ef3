package enginetest

import (
	"cmp"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
)

// firstPID keeps the Fake's pids out of the way of real ones.
const firstPID = 1 << 28

func (w *world) find(slot string, generation uint64) *fakeRun {
	for _, r := range w.runs {
		if r.Slot == slot && r.Generation == generation {
			return r
		}
	}
	return nil
}

func (w *world) living(slot string) *fakeRun {
	for _, r := range w.runs {
		if r.Slot == slot && r.Run.Exit == nil {
			return r
		}
	}
	return nil
}

// start makes a living run.
func (w *world) start(s engine.Spec, p Program) (*fakeRun, error) {
	w.pids++
	r := &fakeRun{spec: s, prog: p, write: -1, Run: engine.Run{
		Slot: s.Slot, Generation: s.Generation, PID: firstPID + w.pids, StartTime: uint64(w.pids),
		Started: time.Now(), Log: -1, Notify: -1,
	}}
	if w.descriptors {
		if err := r.open(); err != nil {
			r.close()
			return nil, err
		}
	}
	w.runs = append(w.runs, r)
	w.spawned[s.Slot]++
	return r, nil
}

// end ends r, once, and tells.
func (w *world) end(r *fakeRun, e engine.Exit) {
	if r.Run.Exit != nil {
		return
	}
	r.Run.Exit = &e
	if r.write >= 0 {
		_ = unix.Close(r.write)
		r.write = -1
	}
	w.send(engine.Event{Kind: engine.Exited, Slot: r.Slot, Generation: r.Generation, Exit: e})
}

// send delivers an event to the current Fake; one that is gone learns of an
// exit by List, if its successor asks.
func (w *world) send(e engine.Event) {
	if !w.current.over {
		w.current.events <- e
	}
}

// open makes r's descriptors.
func (r *fakeRun) open() error {
	failed := func(stage string, err error) error {
		errno, _ := err.(unix.Errno)
		return &engine.SpawnError{Path: r.spec.Path, Stage: stage, Errno: cmp.Or(errno, unix.EIO)}
	}
	if !r.spec.Main {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return failed("pipe", err)
		}
		r.Log, r.write = p[0], p[1]
		if err := unix.SetNonblock(r.Log, true); err != nil {
			return failed("pipe", err)
		}
	}
	if r.spec.Notify == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return failed("notify", err)
	}
	r.Notify = fd
	_ = unix.Unlink(r.spec.Notify)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return failed("notify", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: r.spec.Notify}); err != nil {
		return failed("notify", err)
	}
	return nil
}

func (r *fakeRun) close() {
	for _, fd := range []*int{&r.Log, &r.Notify, &r.write} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// handOut is r with descriptors of the caller's own.
func (r *fakeRun) handOut() engine.Run {
	run := r.Run
	if run.Exit != nil {
		e := *run.Exit
		run.Exit = &e
	}
	for _, fd := range []*int{&run.Log, &run.Notify} {
		if *fd < 0 {
			continue
		}
		dup, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			dup = -1
		}
		*fd = dup
	}
	return run
}
