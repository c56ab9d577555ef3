package s6

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hermes/internal/fault"
)

// Scandir is the scan directory of one s6-svscan. The zero Tools are those of
// the machine.
type Scandir struct {
	Dir   string
	Tools Tools
}

// path is the directory of a slot, whether there is one or not.
func (d Scandir) path(slot string) string { return filepath.Join(d.Dir, slot) }

// State is a slot as it is.
type State struct {
	Slot string
	// Supervisor is the pid of its s6-supervise, 0 if there is none: Status is
	// then what the last one wrote, and the run may live on unsupervised. It is
	// -1 if it lives in another pid namespace.
	Supervisor int
	// KeptDown says that the slot has a file named down: the next s6-supervise
	// will not start it.
	KeptDown bool
	Status
}

// Supervised reports that an s6-supervise cares for the slot.
func (s State) Supervised() bool { return s.Supervisor != 0 }

// State tells how a slot is. It runs nothing. Without a slot of that name it is
// a [*NotRegisteredError].
func (d Scandir) State(slot string) (State, error) {
	if err := d.lookFor(slot); err != nil {
		return State{}, err
	}
	s := State{Slot: slot}
	var err error
	dir := d.path(slot)
	if s.Supervisor, err = supervisor(dir); err != nil {
		return State{}, d.denied(slot, err)
	}
	if s.Status, err = readStatus(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return State{}, d.denied(slot, err)
	}
	_, err = os.Lstat(filepath.Join(dir, downFile))
	s.KeptDown = err == nil
	return s, nil
}

// List names the slots, sorted: every directory of the scan directory that
// s6-svscan would take.
func (d Scandir) List() ([]string, error) {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return nil, err
	}
	var slots []string
	for _, e := range entries {
		if checkSlot(e.Name()) == nil && d.lookFor(e.Name()) == nil {
			slots = append(slots, e.Name())
		}
	}
	slices.Sort(slots)
	return slots, nil
}

// lookFor finds the directory of a slot, before any tool is run.
func (d Scandir) lookFor(slot string) error {
	if checkSlot(slot) != nil {
		return notRegistered(slot)
	}
	st, err := os.Stat(d.path(slot))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !st.IsDir():
		return notRegistered(slot)
	case err != nil:
		return d.denied(slot, err)
	}
	return nil
}

// maxSlot is the longest name s6-svscan takes.
const maxSlot = 251

// checkSlot says whether a name may be a slot's: s6-svscan leaves out what
// begins with a dot.
func checkSlot(slot string) error {
	if slot == "" || slot[0] == '.' || len(slot) > maxSlot || strings.ContainsAny(slot, "/\x00\n") {
		return fault.New(fault.InvalidName, "cannot use %q as the name of a slot", slot)
	}
	return nil
}
