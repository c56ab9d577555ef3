package s6

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"hermes/internal/stray"
)

// Copy is what lives of a slot beside the run that its s6-supervise knows: a
// process group of an earlier run. When s6-supervise is killed the gateway lives
// on, and the next s6-supervise, which knows nothing of it, starts another.
type Copy struct {
	Slot string
	// Group is the process group; PIDs are its marked processes, the oldest
	// first, and Name, UID and Start are that one's.
	Group int
	PIDs  []int
	Name  string
	UID   uint32
	Start uint64 // clock ticks since boot
	Mark  stray.Mark
}

// End is the command that ends the copy.
func (c Copy) End() string { return fmt.Sprintf("kill -- -%d", c.Group) }

// Helper is how processes of another uid are looked at: root without
// CAP_SYS_PTRACE, as in Docker, may not read their environment, so their own
// uid does. The zero Helper looks with this process's eyes only.
type Helper struct {
	Path     string // of hermes
	UID, GID uint32
}

// helperTime bounds a look at all processes.
const helperTime = 5 * time.Second

// FindCopies finds the copies of slots, by the mark in the environment of every
// run. Lineage is the fleet's, see [stray.Mark]; "" is any. What cannot be
// looked at is not found.
func (d Scandir) FindCopies(ctx context.Context, slots []string, lineage string, h Helper) ([]Copy, error) {
	const attempts = 5
	for i := 1; ; i++ {
		before := d.runs(slots)
		found, err := h.find(ctx, stray.Request{Lineage: lineage, Slots: slots})
		if err != nil {
			return nil, err
		}
		// A run that was started meanwhile is no copy.
		if after := d.runs(slots); slices.Equal(before, after) || i == attempts {
			return copies(found, slots, before), nil
		}
	}
}

// runs are the pids of the slots' runs, 0 for none.
func (d Scandir) runs(slots []string) []int {
	pids := make([]int, len(slots))
	for i, slot := range slots {
		if s, err := d.State(slot); err == nil && s.Supervised() && s.Up() {
			pids[i] = s.PID
		}
	}
	return pids
}

// copies are the groups of the slots whose mark is not their run's.
func copies(found []stray.Report, slots []string, runs []int) []Copy {
	current := map[string]string{} // slot → mark
	for i, slot := range slots {
		for _, r := range found {
			if r.PID == runs[i] && r.Slot == slot {
				current[slot] = r.Mark
			}
		}
	}
	type key struct {
		slot  string
		group int
	}
	groups := map[key]*Copy{}
	slices.SortFunc(found, func(a, b stray.Report) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID)) })
	var all []*Copy
	for _, r := range found {
		if r.Mark == current[r.Slot] || r.Group < 2 {
			continue
		}
		c := groups[key{r.Slot, r.Group}]
		if c == nil {
			m, _ := stray.ParseMark(r.Mark)
			c = &Copy{Slot: r.Slot, Group: r.Group, Name: r.Name, UID: r.UID, Start: r.Start, Mark: m}
			groups[key{r.Slot, r.Group}] = c
			all = append(all, c)
		}
		c.PIDs = append(c.PIDs, r.PID)
	}
	out := make([]Copy, len(all))
	for i, c := range all {
		out[i] = *c
	}
	return out
}

// find looks with this process's eyes and, where they do not reach, with the
// helper's.
func (h Helper) find(ctx context.Context, r stray.Request) ([]stray.Report, error) {
	var found []stray.Report
	take := func(line stray.Report) {
		known := slices.ContainsFunc(found, func(f stray.Report) bool { return f.PID == line.PID })
		if !line.Done && !known {
			found = append(found, line)
		}
	}
	hidden := stray.Find(r, take)
	if h.Path == "" || os.Geteuid() != 0 || !slices.Contains(hidden, h.UID) {
		return found, nil
	}
	arg, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Path, stray.Command, string(arg))
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{}, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: h.UID, Gid: h.GID}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot look for copies as uid %d: %w", h.UID, err)
	}
	lines, done := json.NewDecoder(out), false
	for !done {
		var line stray.Report
		if err = lines.Decode(&line); err != nil {
			break
		}
		done = line.Done
		// It runs in their uid, and says no more than anybody may check.
		if p, alive := stray.Look(line.PID); alive && p.Start == line.Start && p.UID == h.UID {
			line.Process = p
			take(line)
		}
	}
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return nil, fmt.Errorf("cannot look for copies as uid %d: %w", h.UID, err)
	}
	return found, nil
}
