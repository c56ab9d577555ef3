package store_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/holder"
)

func TestTakeForegroundLock(t *testing.T) {
	p := open(t, newHome(t, "coder"), "coder")
	fd, err := p.TakeForegroundLock(t.Context())
	must(t, err)
	if h, err := holder.Of(p.ForegroundLock()); err != nil || h.PID != os.Getpid() {
		t.Errorf("got %+v, %v, want this process", h, err)
	}
	info, err := os.Lstat(p.ForegroundLock())
	if err != nil || info.Mode()&^0o644 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 || fd < 3 {
		t.Errorf("descriptor %d has flags %#x, %v", fd, flags, err)
	}
	if _, err := p.TakeForegroundLock(t.Context()); fault.CodeOf(err) != fault.GatewayHeld {
		t.Errorf("taken twice: %v", err)
	}
	must(t, unix.Close(fd))
	if _, err := holder.Of(p.ForegroundLock()); !errors.Is(err, holder.ErrFree) {
		t.Errorf("after close: %v", err)
	}
	must(t, os.Remove(p.ForegroundLock()))
	must(t, os.WriteFile(p.Path()+"/other", nil, 0o644))
	must(t, os.Symlink("other", p.ForegroundLock())) // inside the profile, too
	if _, err := p.TakeForegroundLock(t.Context()); err == nil {
		t.Error("a link was locked")
	}
}
