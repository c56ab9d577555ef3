package keeper

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/wire"
)

// answerIn is how long a request may wait for a fork before it is answered
// with an error. The fork goes on: see claim and landed.
const answerIn = 5 * time.Second

// serve handles e's requests until its connection ends.
func (k *keeper) serve(e *engineProcess) {
	for {
		m, fds, err := e.sock.Recv()
		if err != nil {
			e.link.Close()
			return
		}
		wire.CloseFDs(fds...) // no request carries any
		k.handle(e, m)
	}
}

// handle carries out one request. Only what may have to wait for a fork leaves
// this goroutine.
func (k *keeper) handle(e *engineProcess, m *wire.Message) {
	if m.Op == wire.OpHello {
		k.hello(e, m)
		return
	}
	if !closed(e.greeted) {
		e.fail(m, &wire.Failure{Kind: wire.FailRequest})
		return
	}
	switch m.Op {
	case wire.OpSpawn:
		k.spawn(e, m)
	case wire.OpSignal:
		k.signal(e, m)
	case wire.OpForget:
		k.forget(runKey{m.Slot, m.Generation})
		e.reply(m, &wire.Message{})
	case wire.OpList:
		k.list(e, m)
	case wire.OpAck:
		e.ack()
		e.reply(m, &wire.Message{})
	case wire.OpExit:
		k.finish(e, m.Code)
		e.reply(m, &wire.Message{})
	default:
		e.fail(m, &wire.Failure{Kind: wire.FailRequest})
	}
}

func (k *keeper) hello(e *engineProcess, m *wire.Message) {
	if m.Version != wire.Version {
		e.fail(m, &wire.Failure{Kind: wire.FailVersion})
		return
	}
	k.stopDrain() // before any descriptor is handed on
	k.mu.Lock()
	defer k.mu.Unlock()
	e.reply(m, &wire.Message{Version: wire.Version, PID: os.Getpid(), Stamp: k.stamp, Runtime: k.o.Runtime})
	e.greet()
}

// list replies with a page of runs, in the order of (slot, generation).
func (k *keeper) list(e *engineProcess, m *wire.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	after := runKey{m.Slot, m.Generation}
	var keys []runKey
	for key, r := range k.runs {
		if r.pid != 0 && r.ended == nil && key.compare(after) > 0 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, runKey.compare)
	out := &wire.Message{More: len(keys) > wire.ListPage}
	var fds []int
	for _, key := range keys[:min(len(keys), wire.ListPage)] {
		run, dups := k.describeLocked(k.runs[key])
		out.Runs = append(out.Runs, run)
		fds = append(fds, dups...)
	}
	e.reply(m, out, fds...)
}

// infoLocked is r for the wire, without descriptors.
func (k *keeper) infoLocked(r *run) wire.RunInfo {
	w := wire.RunInfo{
		Slot: r.slot, Generation: r.generation, PID: r.pid, StartTime: r.birth,
		Started: r.started.UnixNano(), Dropped: r.dropped, Exit: r.exit,
		Credential: r.credential, Signal: int(r.signal), Grace: r.grace, Main: r.isMain,
	}
	if r.kept {
		name := r.backlogName()
		var st unix.Stat_t
		if r.kept = unix.Lstat(filepath.Join(k.o.Runtime, backlogDir, name), &st) == nil; r.kept {
			w.Backlog = name
		}
	}
	return w
}

// describeLocked is r for the wire, with duplicates of its descriptors.
func (k *keeper) describeLocked(r *run) (wire.RunInfo, []int) {
	w := k.infoLocked(r)
	var fds []int
	dup := func(fd int) bool {
		if fd < 0 {
			return false
		}
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			fds = append(fds, d)
		}
		return err == nil
	}
	w.Log, w.Notify = dup(r.log), dup(r.notify)
	return w, fds
}

// spawn starts a run, or finds the one of that generation.
func (k *keeper) spawn(e *engineProcess, m *wire.Message) {
	r, fresh, fail := k.claim(m)
	if fail != nil {
		e.fail(m, fail)
		return
	}
	if fresh {
		go k.fork(r) // not waited for: its exec may hang for ever
	}
	k.work.Go(func() {
		_ = within(answerIn, r.done, k.over)
		k.answer(e, m, r)
	})
}

// claim finds or registers the run m asks for and counts the caller among
// those who wait for it; [keeper.answer] ends that.
func (k *keeper) claim(m *wire.Message) (r *run, fresh bool, fail *wire.Failure) {
	if m.Spec == nil || !wire.ValidSlot(m.Slot) || len(m.Spec.Argv) == 0 {
		return nil, false, &wire.Failure{Kind: wire.FailRequest}
	}
	key := runKey{m.Slot, m.Generation}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r = k.runs[key]; r != nil && !r.void {
		r.waiting++
		return r, false, nil
	}
	switch {
	case k.live[m.Slot] != nil:
		return nil, false, &wire.Failure{Kind: wire.FailBusy}
	case k.stopping:
		return nil, false, &wire.Failure{Kind: wire.FailSpawn, Stage: "shutdown", Path: m.Spec.Path, Errno: int(unix.ESHUTDOWN)}
	}
	r = &run{runKey: key, plan: planOf(m.Spec), spec: m.Spec, waiting: 1, done: make(chan struct{}), log: -1, notify: -1, lock: -1}
	k.runs[key], k.live[m.Slot] = r, r
	return r, true, nil
}

// answer replies to a spawn request with what has become of r.
func (k *keeper) answer(e *engineProcess, m *wire.Message, r *run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.waiting--
	switch {
	case r.fail != nil:
		e.fail(m, r.fail)
	case r.pid == 0:
		e.fail(m, &wire.Failure{Kind: wire.FailSpawn, Stage: "exec", Path: r.spec.Path, Errno: int(unix.ETIMEDOUT)})
	default:
		run, fds := k.describeLocked(r)
		e.reply(m, &wire.Message{Runs: []wire.RunInfo{run}}, fds...)
	}
}

// signal delivers a signal; one for a run that is being forked waits for it.
func (k *keeper) signal(e *engineProcess, m *wire.Message) {
	if m.Signal < 0 || m.Signal > 64 {
		e.fail(m, &wire.Failure{Kind: wire.FailRequest})
		return
	}
	k.mu.Lock()
	r := k.runs[runKey{m.Slot, m.Generation}]
	k.mu.Unlock()
	deliver := func() {
		e.reply(m, &wire.Message{Failure: k.deliver(r, unix.Signal(m.Signal), m.Group)})
	}
	if r == nil || closed(r.done) {
		deliver()
		return
	}
	k.work.Go(func() {
		_ = within(answerIn, r.done, k.over)
		deliver()
	})
}

func (k runKey) compare(o runKey) int {
	return cmp.Or(cmp.Compare(k.slot, o.slot), cmp.Compare(k.generation, o.generation))
}
