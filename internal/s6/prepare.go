package s6

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const svscanDir = ".s6-svscan"

// Access says who else than root may use a scan directory.
type Access struct {
	// Group may start, stop and look at every slot.
	Group int
	// Owner may register and unregister as well. Whoever may do that decides
	// what s6-supervise runs, as the uid of s6-svscan: with Owner not 0 and an
	// s6-svscan of root's, Owner is root in this container.
	Owner int
}

// Prepare makes the scan directory for an s6-svscan that is not running yet:
// s6-svscan and s6-supervise take directories and FIFOs that they find as they
// are. It removes what an interrupted registration left behind. What it finds
// otherwise it keeps, and gives it owner and mode.
func (d Scandir) Prepare(a Access) error {
	if err := os.MkdirAll(d.Dir, modeDir); err != nil {
		return d.cannot("prepare", d.Dir, err)
	}
	t, err := openTree(d.Dir, owner{0, a.Group})
	if err != nil {
		return err
	}
	defer t.close()
	if os.Geteuid() != 0 {
		t.owner = owner{os.Geteuid(), a.Group} // its s6-svscan is no other's
	}
	mode := uint32(modeControl)
	if a.Owner == 0 && t.owner.uid == 0 {
		mode &^= 0o070 // who registers nothing has nothing to tell s6-svscan, and it can be told to end
	}
	if err := unix.Mkdirat(t.fd, svscanDir, modePrivate); err != nil && err != unix.EEXIST {
		return d.cannot("prepare", d.Dir, failure("make", svscanDir, err))
	}
	if err := t.enter(svscanDir, modeSupervise, func(t tree) error { return t.fifo(controlFile, mode) }); err != nil {
		return d.cannot("prepare", d.Dir, err)
	}
	if t.owner.uid == 0 {
		t.owner.uid = a.Owner
	}
	if err := errors.Join(t.chown(t.fd), unix.Fchmod(t.fd, modeDir)); err != nil {
		return d.cannot("prepare", d.Dir, err)
	}
	return d.sweep()
}

// leftover is how old a directory that is no slot has to be to be nobody's work
// in progress.
const leftover = time.Minute

// sweep removes what was being registered or unregistered when it was
// interrupted.
func (d Scandir) sweep() error {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") || !strings.Contains(name, stagingMark) && !strings.Contains(name, removedMark) {
			continue
		}
		st, err := e.Info()
		if err != nil || time.Since(st.ModTime()) < leftover {
			continue
		}
		if pid, err := supervisor(d.path(name)); err == nil && pid == 0 {
			errs = append(errs, d.remove(name))
		}
	}
	return errors.Join(errs...)
}
