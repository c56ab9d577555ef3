package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweepWait is how long killed runs may take to let go of a lock, sweepPoll how
// often it is tried.
const (
	sweepWait = 5 * time.Second
	sweepPoll = 10 * time.Millisecond
)

// Swept is a run that had outlived its keeper and was killed.
type Swept struct {
	Slot string
	PIDs []int
}

// Sweep clears a runtime directory of what an earlier keeper left in it: runs
// that outlived it are killed, so that no second copy of them is started, and
// what it kept for them is removed. Call it before [Run], as the holder of the
// home's lease. The error names every slot whose lock is held by a process
// that cannot be proven to be the run on record; nothing may be started then.
func Sweep(runtimeDir string) ([]Swept, error) {
	slots := filepath.Join(runtimeDir, "slots")
	locks, err := os.ReadDir(slots)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot look for earlier runs: %w", err)
	}
	var killed []Swept
	var errs []error
	for _, l := range locks {
		slot, ok := strings.CutSuffix(l.Name(), ".lock")
		if !ok || !l.Type().IsRegular() {
			continue
		}
		pids, err := sweepSlot(slot, filepath.Join(slots, l.Name()))
		if len(pids) > 0 {
			killed = append(killed, Swept{slot, pids})
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return killed, err
	}
	for _, name := range []string{"slots", "n", backlogDir} {
		errs = append(errs, empty(filepath.Join(runtimeDir, name)))
	}
	return killed, errors.Join(errs...)
}

// empty removes what is in dir and keeps dir: a directory that is removed and
// made again in a container's layer can fail with EIO (fuse-overlayfs, seen
// after `docker kill` and `docker start`).
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// endRecorded ends a run that is on record and lives though its lock is free:
// a program may close every descriptor it did not open itself.
func endRecorded(fd int, boot string, pidns uint64, poll <-chan time.Time) []int {
	r, ok := readRecord(fd)
	if !ok || r.boot != boot || r.pidns != pidns || !killGroupOf(r.pid, r.birth) {
		return nil
	}
	for began := time.Now(); time.Since(began) < sweepWait; <-poll {
		if st, err := readStat(r.pid); err != nil || st.start != r.birth || st.state == 'Z' {
			break
		}
	}
	return []int{r.pid}
}

// sweepSlot frees the lock of one slot.
func sweepSlot(slot, path string) ([]int, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	defer unix.Close(fd)
	boot, pidns := BootID(), PIDNamespace()
	tick := time.NewTicker(sweepPoll)
	defer tick.Stop()
	if tryLock(fd) == nil {
		return endRecorded(fd, boot, pidns, tick.C), nil
	}
	var killed []int
	for began := time.Now(); time.Since(began) < lockWait || len(killed) > 0 && time.Since(began) < sweepWait; <-tick.C {
		if tryLock(fd) == nil {
			return killed, nil
		}
		for _, pid := range evict(fd, boot, pidns) { // again: strays of a group may come to light
			if !slices.Contains(killed, pid) {
				killed = append(killed, pid)
			}
		}
	}
	r, ok := readRecord(fd)
	if !ok {
		return killed, fmt.Errorf("cannot free slot %s: a process holds %s, and there is no record of it", slot, path)
	}
	return killed, fmt.Errorf("cannot free slot %s: a process holds %s, and it is not process %d of the record", slot, path, r.pid)
}
