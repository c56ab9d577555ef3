package keeper

import (
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// drainAfter is how long log pipes are left alone without an engine: a
	// restart takes 50 ms, a pipe holds 64 KiB.
	drainAfter = 2 * time.Second
	// backlogMax is how many bytes are kept for one run; what comes later is
	// counted and discarded.
	backlogMax = 1 << 20
	drainChunk = 64 << 10 // a pipe's capacity
)

// drain is the goroutine that reads log pipes while no engine does.
type drain struct {
	wake  int           // eventfd: the runs or stop have changed
	stop  chan struct{} // closed to end it
	done  chan struct{} // closed when it has ended
	now   chan struct{} // closed by hurry: the delay is over
	hurry func()
}

// startDrain begins to read the log pipes after a delay. If it has begun
// before, that drain goes on, without its delay if after is 0.
func (k *keeper) startDrain(after time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if closed(k.over) {
		return // there would be nobody to stop it
	}
	if k.drain != nil {
		if after == 0 {
			k.drain.hurry()
		}
		return
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		k.say("cannot keep the output of gateways while there is no engine: %v", err)
		return
	}
	d := &drain{wake: wake, stop: make(chan struct{}), done: make(chan struct{}), now: make(chan struct{})}
	d.hurry = sync.OnceFunc(func() { close(d.now) })
	k.drain = d
	k.work.Go(func() {
		defer close(d.done)
		d.run(k, after)
	})
}

// stopDrain ends the drain and waits for it: two readers would tear the output
// apart.
func (k *keeper) stopDrain() {
	k.mu.Lock()
	d := k.drain
	k.drain = nil
	k.mu.Unlock()
	if d == nil {
		return
	}
	close(d.stop)
	d.nudge()
	<-d.done
	_ = unix.Close(d.wake)
}

// nudge makes a waiting drain look again.
func (d *drain) nudge() { _, _ = unix.Write(d.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (d *drain) run(k *keeper, after time.Duration) {
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.now:
	case <-d.stop:
		return
	}
	buf := make([]byte, drainChunk)
	for {
		runs, polls := k.logPipes(d.wake)
		if _, err := unix.Poll(polls, -1); err != nil && err != unix.EINTR {
			k.say("cannot wait for the output of gateways: %v", err)
			return
		}
		if closed(d.stop) {
			return
		}
		_, _ = unix.Read(d.wake, buf[:8])
		for i, r := range runs {
			if polls[i+1].Revents != 0 {
				k.drainPipe(r, buf)
			}
		}
	}
}

// logPipes lists what the drain waits for: wake, and the pipes not yet at
// their end. By the time it is used a descriptor may be another's: whoever
// reads must look it up again.
func (k *keeper) logPipes(wake int) ([]*run, []unix.PollFd) {
	k.mu.Lock()
	defer k.mu.Unlock()
	polls := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	var runs []*run
	for _, r := range k.runs {
		if r.log >= 0 && !r.eof {
			runs = append(runs, r)
			polls = append(polls, unix.PollFd{Fd: int32(r.log), Events: unix.POLLIN})
		}
	}
	return runs, polls
}

// drainPipe moves what r's pipe holds to its backlog, as far as there is room.
func (k *keeper) drainPipe(r *run, buf []byte) {
	k.mu.Lock()
	if r.log < 0 {
		k.mu.Unlock()
		return
	}
	n, err := unix.Read(r.log, buf)
	r.eof = n == 0 && err == nil
	k.mu.Unlock()
	if n <= 0 {
		return
	}
	kept := appendBacklog(filepath.Join(k.o.Runtime, backlogDir, r.backlogName()), buf[:n])
	k.mu.Lock()
	defer k.mu.Unlock()
	r.dropped += int64(n - kept)
	r.kept = r.kept || kept > 0
}

// appendBacklog appends what of b fits, and returns how many bytes that was.
func appendBacklog(path string, b []byte) int {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0
	}
	n, err := unix.Write(fd, b[:min(int64(len(b)), max(0, backlogMax-st.Size))])
	if err != nil {
		return 0
	}
	return n
}
