package slotlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
)

// sweepWait is how long killed runs may take to let go of a lock, sweepPoll how
// often it is tried.
const (
	sweepWait = 5 * time.Second
	sweepPoll = 10 * time.Millisecond
	// letGo is how long a holder that was not killed is given.
	letGo = time.Second
)

// Swept is a run that had outlived its keeper and was killed.
type Swept struct {
	Slot string
	PIDs []int
}

// Sweep ends the runs whose lock files are in dir and that still live, so that
// no second copy of them is started. The error names every slot whose lock is
// held by a process that cannot be proven to be the run on record; nothing may
// be started then. A dir that is missing has none. The slots in except are left
// alone.
func Sweep(dir string, except map[string]bool) ([]Swept, error) {
	locks, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot look for earlier runs: %w", err)
	}
	var killed []Swept
	var errs []error
	for _, l := range locks {
		slot, ok := strings.CutSuffix(l.Name(), Suffix)
		if !ok || !l.Type().IsRegular() || except[slot] {
			continue
		}
		pids, err := sweepSlot(slot, filepath.Join(dir, l.Name()))
		if len(pids) > 0 {
			killed = append(killed, Swept{slot, pids})
		}
		errs = append(errs, err)
	}
	return killed, errors.Join(errs...)
}

// endRecorded ends a run that is on record and lives though its lock is free:
// a program may close every descriptor it did not open itself.
func endRecorded(fd int, here Place, poll <-chan time.Time) []int {
	r, ok := Read(fd)
	if !ok || r.Place != here || !killGroupOf(r.PID, r.Birth) {
		return nil
	}
	for began := time.Now(); time.Since(began) < sweepWait; <-poll {
		if st, err := process.ReadStat(r.PID); err != nil || st.Start != r.Birth || st.State == 'Z' {
			break
		}
	}
	return []int{r.PID}
}

// sweepSlot frees the lock of one slot.
func sweepSlot(slot, path string) ([]int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	defer unix.Close(fd)
	here := Here()
	tick := time.NewTicker(sweepPoll)
	defer tick.Stop()
	if Try(fd) == nil {
		return endRecorded(fd, here, tick.C), nil
	}
	var killed []int
	for began := time.Now(); time.Since(began) < letGo || len(killed) > 0 && time.Since(began) < sweepWait; <-tick.C {
		if Try(fd) == nil {
			return killed, nil
		}
		for _, pid := range Evict(fd, here) { // again: strays of a group may come to light
			if !slices.Contains(killed, pid) {
				killed = append(killed, pid)
			}
		}
	}
	r, ok := Read(fd)
	if !ok {
		return killed, fmt.Errorf("cannot free slot %s: a process holds %s, and there is no record of it", slot, path)
	}
	return killed, fmt.Errorf("cannot free slot %s: a process holds %s, and it is not process %d of the record", slot, path, r.PID)
}
