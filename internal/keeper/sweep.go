package keeper

import (
	"errors"
	"os"
	"path/filepath"

	"hermes/internal/slotlock"
	"hermes/internal/wire"
)

// Sweep clears a runtime directory of what an earlier keeper left in it: runs
// that outlived it are ended, so that no second copy of them is started, and
// what it kept for them is removed. Call it before [Run], as the holder of the
// home's lease. Its error is that of [slotlock.Sweep]: nothing may be started.
func Sweep(runtimeDir string) ([]slotlock.Swept, error) {
	killed, err := slotlock.Sweep(filepath.Join(runtimeDir, slotsDir), nil)
	if err != nil {
		return killed, err
	}
	var errs []error
	for _, name := range []string{slotsDir, notifyDir, backlogDir} {
		errs = append(errs, empty(filepath.Join(runtimeDir, name)))
	}
	return killed, errors.Join(errs...)
}

// SweepUnknown ends the runs that live in the runtime directory of a keeper that
// is gone and are not in what it left: those it was just starting.
func SweepUnknown(left *wire.Estate) ([]slotlock.Swept, error) {
	known := make(map[string]bool)
	for _, r := range left.Runs {
		if r.Exit == nil {
			known[r.Slot] = true
		}
	}
	return slotlock.Sweep(filepath.Join(string(left.Runtime), slotsDir), known)
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
