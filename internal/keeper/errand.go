package keeper

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/wire"
)

// errandSlot names the runs that the keeper starts for itself. No slot of an
// engine's begins with a dot.
const errandSlot = ".keeper"

// errandLocked starts a run of the keeper's own. The engine never hears of it, and
// its exit is forgotten by itself.
func (k *keeper) errandLocked(s *wire.Spec) *run {
	k.errands++
	r := &run{
		runKey: runKey{errandSlot, k.errands}, plan: planOf(s), spec: s, waiting: 1,
		done: make(chan struct{}), ended: make(chan struct{}), log: -1, notify: -1, lock: -1,
	}
	k.runs[r.runKey] = r
	go k.fork(r) // not waited for: its exec may hang for ever
	return r
}

// errandDoneLocked tells whoever waits that r, if it is the keeper's own, is over.
func (k *keeper) errandDoneLocked(r *run) {
	if r.ended == nil {
		return
	}
	close(r.ended)
	if r.helps != nil {
		r.helps.helpers--
		nudge(k.wake)
	}
}

// delegateSignalLocked has a process of r's own uid signal it: root without CAP_KILL
// may not (user_namespaces(7): it needs the capability, or that uid). It is
// false if r has this process's uid, so that nothing is gained.
func (k *keeper) delegateSignalLocked(r *run, sig unix.Signal, group bool) bool {
	c := r.credential
	if c == nil || c.UID == uint32(os.Geteuid()) || k.image < 0 || r.ended != nil {
		return false
	}
	target := r.pid
	if group {
		target = -r.pid
	}
	h := k.errandLocked(&wire.Spec{
		Path: pinned(k.image), Dir: "/", Credential: c,
		Argv: []string{"hermes", "keeper", "--signal", strconv.Itoa(int(sig)), "--to", strconv.Itoa(target), "--born", strconv.FormatUint(r.birth, 10)},
	})
	r.helpers++
	h.helps = r
	return true
}

// SignalAs is what a helper of [Run] does: it signals process to, or the group
// -to, if its leader is the one born at birth.
func SignalAs(sig unix.Signal, to int, birth uint64) error {
	w, err := process.Open(max(to, -to), birth)
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Signal(sig, to < 0)
}
