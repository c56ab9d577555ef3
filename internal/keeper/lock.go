package keeper

import (
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/slotlock"
)

const (
	// lockWait is how long a spawn waits for the slot's lock: processes of the
	// last run's group that were just killed may hold it a moment longer.
	lockWait = time.Second
	// lockPatience is when waiting alone seems not to help.
	lockPatience = 200 * time.Millisecond
	lockPoll     = 2 * time.Millisecond
)

// lockSlot opens and locks a slot's lock file; -1 if it has none. A holder that is
// proven to be of an earlier run is killed; any other makes it fail.
func (k *keeper) lockSlot(path string) (int, error) {
	if path == "" {
		return -1, nil
	}
	fd, err := slotlock.Open(path)
	if err != nil {
		return -1, err
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	began, evicted := time.Now(), false
	for {
		err := slotlock.Try(fd)
		if err == nil {
			return fd, nil
		}
		if err != unix.EAGAIN && err != unix.EACCES || time.Since(began) > lockWait {
			_ = unix.Close(fd)
			return -1, err
		}
		if !evicted && time.Since(began) > lockPatience {
			slotlock.Evict(fd, k.here) // looks at every process there is
			evicted, began = true, time.Now()
		}
		<-tick.C
	}
}

// record says in the lock file fd which process r is.
func (k *keeper) record(r *run, fd, pid int, birth uint64) {
	if fd < 0 {
		return
	}
	rec := slotlock.Record{Slot: r.slot, Generation: r.generation, PID: pid, Birth: birth, Place: k.here}
	if err := rec.Write(fd); err != nil {
		k.say("cannot record the process of %s: %v", r.slot, err)
	}
}
