package store_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

func TestGatewayLockHeldAndRemoveStale(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	if held, pid, err := p.GatewayLockHeld(); held || pid != 0 || err != nil {
		t.Fatalf("without a lock: %v, %d, %v", held, pid, err)
	}
	for _, name := range []string{"gateway.pid", "processes.json"} {
		write(t, p.Path()+"/"+name, "4711\n")
	}
	lock, err := os.Create(p.Path() + "/gateway.lock")
	must(t, err)
	defer lock.Close()
	must(t, flock(lock, unix.LOCK_EX))
	if held, pid, err := p.GatewayLockHeld(); !held || pid != 4711 || err != nil {
		t.Errorf("held: %v, %d, %v", held, pid, err)
	}
	write(t, p.Path()+"/gateway.lock", `{"pid": 42, "kind": "hermes-gateway"}`)
	if _, pid, _ := p.GatewayLockHeld(); pid != 42 {
		t.Errorf("pid %d, want that of the lock itself", pid)
	}
	for _, content := range []string{"-1", "99999999999999999999", `{"pid": -5}`, `{"pid": "7"}`, `{"pid": 1.5}`, "[", "\xff"} {
		write(t, p.Path()+"/gateway.lock", content)
		write(t, p.Path()+"/gateway.pid", content)
		if held, pid, err := p.GatewayLockHeld(); !held || pid != 0 || err != nil {
			t.Errorf("%q: %v, %d, %v", content, held, pid, err)
		}
	}
	if removed, err := p.RemoveStale(); len(removed) != 0 || err != nil {
		t.Errorf("removed %v of a living gateway, %v", removed, err)
	}
	must(t, flock(lock, unix.LOCK_UN))
	if held, _, err := p.GatewayLockHeld(); held || err != nil {
		t.Errorf("released: %v, %v", held, err)
	}

	old := p.Path() + "/.gateway_intent.json.tmp-abc"
	young := p.Path() + "/.supervision.json.tmp-abc"
	write(t, old, "x")
	write(t, young, "x")
	must(t, os.Chtimes(old, time.Now(), time.Now().Add(-time.Hour)))
	removed, err := p.RemoveStale()
	if diff := cmp.Diff([]string{"gateway.pid", "processes.json"}, removed); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	if _, err := os.Lstat(old); err == nil {
		t.Error("an abandoned temporary file is kept")
	}
	if _, err := os.Lstat(young); err != nil {
		t.Error("the temporary file of a write in progress is gone")
	}
	if removed, err := p.RemoveStale(); len(removed) != 0 || err != nil {
		t.Errorf("again: %v, %v", removed, err)
	}

	must(t, os.Remove(p.Path()+"/gateway.lock"))
	must(t, unix.Mkfifo(p.Path()+"/gateway.lock", 0o644))
	_, _, err = p.GatewayLockHeld()
	wantFault(t, err, fault.Unreadable, "gateway.lock", "a FIFO")
}

func flock(f *os.File, how int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = unix.Flock(int(fd), how) }); err != nil {
		return err
	}
	return result
}
