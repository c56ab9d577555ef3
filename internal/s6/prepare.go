package s6

import (
	"context"
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
	return errors.Join(d.removeDead(stagingMark, 0), d.removeDead(removedMark, 0))
}

// leftover is how old a registration under way has to be to be nobody's.
const leftover = time.Minute

// removeDead removes what was put aside, is that old, and is not supervised.
func (d Scandir) removeDead(mark string, age time.Duration) error {
	return d.eachHidden(mark, func(_, name string) error {
		if st, err := os.Lstat(d.path(name)); err == nil && time.Since(st.ModTime()) < age {
			return nil
		}
		if pid, err := supervisor(d.path(name)); err != nil || pid != 0 {
			return err
		}
		return d.remove(name)
	})
}

// Sweep ends what an interrupted command has left: registrations are taken back
// and unregistrations done to their end. It waits for those that others are at.
func (d Scandir) Sweep(ctx context.Context) error {
	ctx, cancel := deadline(ctx, registerTime)
	defer cancel()
	return errors.Join(d.removeDead(stagingMark, leftover), d.finishRemovals(ctx, ""))
}

// finishRemovals finishes the unregistrations of a slot that are under way, ""
// is all: their s6-supervise may live, and a gateway under it.
func (d Scandir) finishRemovals(ctx context.Context, only string) error {
	return d.eachHidden(removedMark, func(slot, name string) error {
		if only != "" && slot != only {
			return nil
		}
		if pid, err := supervisor(d.path(name)); err != nil || pid != 0 {
			_ = d.rescan(ctx, slot, "unregister", "-an") // what it could not tell is waited for in vain
		}
		return d.bury(ctx, slot, name)
	})
}

// eachHidden calls f with the slot and the name of every directory that was put
// aside.
func (d Scandir) eachHidden(mark string, f func(slot, name string) error) error {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		slot, id, ok := strings.Cut(e.Name(), mark)
		if rest, dot := strings.CutPrefix(slot, "."); ok && dot && id != "" && checkSlot(rest) == nil {
			errs = append(errs, f(rest, e.Name()))
		}
	}
	return errors.Join(errs...)
}
