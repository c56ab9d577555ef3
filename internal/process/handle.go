package process

import (
	"cmp"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Handle is one process, whatever becomes of its pid: it is signalled by
// identity, and its end can be waited for though it is nobody's child here. All
// methods may be called from any goroutine.
type Handle struct {
	pid   int
	birth uint64
	file  *os.File
	raw   syscall.RawConn // file's: once that is closed it calls nothing
}

// Open opens process pid if it is the one that started at birth, see
// [StartTime]; else the error is [unix.ESRCH].
func Open(pid int, birth uint64) (*Handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	if st, err := ReadStat(pid); err != nil || st.Start != birth {
		_ = unix.Close(fd)
		return nil, unix.ESRCH
	}
	if err := unix.SetNonblock(fd, true); err != nil { // the netpoller waits, not a thread each
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &Handle{pid, birth, file, raw}, nil
}

// Wait returns nil when the process has ended, and [os.ErrClosed] when the
// handle was closed before.
func (h *Handle) Wait() error {
	return h.raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n > 0 && err == nil
	})
}

// signalGroup is PIDFD_SIGNAL_PROCESS_GROUP of Linux 6.9: it reaches the group
// by identity, also when its leader is gone.
const signalGroup = 1 << 2

// Signal signals the process or the group it leads, never one that has only its
// number: [unix.ESRCH] if it cannot be told apart. After Close it signals nobody.
func (h *Handle) Signal(sig unix.Signal, group bool) error {
	flags := 0
	if group {
		flags = signalGroup
	}
	var sent error
	err := h.raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, flags) })
	if err != nil || !group || !errors.Is(sent, unix.EINVAL) {
		return cmp.Or(err, sent)
	}
	if st, err := ReadStat(h.pid); err != nil || st.Start != h.birth {
		return unix.ESRCH
	}
	return unix.Kill(-h.pid, sig)
}

// Close gives the handle up.
func (h *Handle) Close() { _ = h.file.Close() }
