package holder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// killWait is how long a process may take to be gone after SIGKILL; longer
// means it hangs in the kernel.
const killWait = 5 * time.Second

// pollStep bounds how late a cancelled context is noticed.
const pollStep = 100 * time.Millisecond

// End stops the holder: SIGTERM, and SIGKILL once grace has passed or ctx is
// done. It returns when the process is gone; nil also if it was gone before.
// A holder that is no longer the holder is not signalled: ErrHidden.
func (h Holder) End(ctx context.Context, grace time.Duration) error {
	pidfd, err := unix.PidfdOpen(h.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case err != nil:
		return fmt.Errorf("cannot open process %d: %w", h.PID, err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	// The pidfd pins a process; only now is it certain which.
	switch now, err := Of(h.file); {
	case errors.Is(err, ErrFree):
		return nil
	case err != nil:
		return err
	case now.PID != h.PID || now.id != h.id:
		return ErrHidden
	}
	if err := send(pidfd, h.PID, unix.SIGTERM); err != nil {
		return err
	}
	if gone, err := waitGone(ctx, pidfd, grace); gone || err != nil {
		return err
	}
	if err := send(pidfd, h.PID, unix.SIGKILL); err != nil {
		return err
	}
	gone, err := waitGone(context.WithoutCancel(ctx), pidfd, killWait) // it is dying: see it through
	if err == nil && !gone {
		err = fmt.Errorf("process %d is still there %s after SIGKILL", h.PID, killWait)
	}
	return err
}

func send(pidfd, pid int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("cannot signal process %d: %w", pid, err)
}

// waitGone waits for the process to end, at most d or until ctx is done.
func waitGone(ctx context.Context, pidfd int, d time.Duration) (bool, error) {
	deadline := time.Now().Add(d)
	for {
		left := time.Until(deadline)
		if ctx.Err() != nil {
			left = 0
		}
		left = max(0, min(left, pollStep))
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("cannot wait for the process: %w", err)
		case n > 0:
			return true, nil
		case left == 0:
			return false, nil
		}
	}
}
