package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/profile"
)

// IntentWrite is one of the intents that are written together.
type IntentWrite struct {
	Name   profile.Name
	Record profile.IntentRecord
}

// worthOneSync is how many intents are written at the cost of two syncs of the
// whole file system. Fewer wait for their own files alone: what others have
// not written out yet, gigabytes at times, is then not waited for.
const worthOneSync = 8

// WriteIntents replaces the intents of many profiles, in the order of
// [Profile.WriteIntent] but in step: every new file is written, then all are
// synced at once, then every one is renamed, then all names are synced at once.
// The result has an error for each that may not be on disk; the others are.
func (h *Home) WriteIntents(all []IntentWrite) []error {
	b := newBatch(h, all, syncHome)
	b.run()
	return b.errs
}

// batch is one call of WriteIntents.
type batch struct {
	home  *Home
	all   []IntentWrite
	errs  []error
	tmp   []string // the new file of each that is written in step, "" for the others
	whole func(*Home) error
}

// newBatch makes a batch that syncs by whole.
func newBatch(h *Home, all []IntentWrite, whole func(*Home) error) *batch {
	return &batch{home: h, all: all, errs: make([]error, len(all)), tmp: make([]string, len(all)), whole: whole}
}

func (b *batch) run() {
	inStep := len(b.all) >= worthOneSync && !b.home.Remote()
	b.each(func(i int) error { return b.write(i, inStep) })
	if !b.pending() {
		return
	}
	err := b.whole(b.home)
	b.each(func(i int) error { return b.rename(i, err) })
	if !b.pending() {
		return
	}
	err = b.whole(b.home)
	b.each(func(i int) error {
		if b.tmp[i] == "" || err == nil {
			return nil
		}
		return homeFault("write", filepath.Join(b.home.ProfilePath(b.all[i].Name), intentFile), err)
	})
}

// pending says whether any intent is being written in step.
func (b *batch) pending() bool {
	for _, tmp := range b.tmp {
		if tmp != "" {
			return true
		}
	}
	return false
}

// each does a step for every intent that has not failed, several at a time.
func (b *batch) each(step func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), len(b.all)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(b.all); i = int(next.Add(1)) - 1 {
				if b.errs[i] == nil {
					b.errs[i] = step(i)
				}
			}
		})
	}
	wg.Wait()
}

// write writes the new file. A profile on a file system of its own, which the
// home's sync does not reach, gets its intent at once.
func (b *batch) write(i int, inStep bool) error {
	p, err := b.home.Profile(b.all[i].Name)
	if err != nil {
		return err
	}
	defer p.Close()
	if !inStep || p.id.Dev != b.home.id.Dev {
		return p.WriteIntent(b.all[i].Record)
	}
	data, err := p.encodeIntent(b.all[i].Record)
	if err == nil {
		err = p.writable()
	}
	if err != nil {
		return err
	}
	tmp, err := p.dir.temporary(intentFile, data, intentMode, false)
	if err != nil {
		return homeFault("write", p.at(intentFile), err)
	}
	b.tmp[i] = tmp
	return nil
}

// rename gives the new file its name, or removes it if it may not be on disk.
// In a directory that has taken the profile's place there is no such file.
func (b *batch) rename(i int, syncErr error) error {
	if b.tmp[i] == "" {
		return nil
	}
	p, err := b.home.Profile(b.all[i].Name)
	if err != nil {
		return err // the file goes with the profile, or is swept
	}
	defer p.Close()
	if err = syncErr; err == nil {
		err = p.dir.root.Rename(b.tmp[i], intentFile)
	}
	if err != nil {
		_ = p.dir.root.Remove(b.tmp[i])
		return homeFault("write", p.at(intentFile), err)
	}
	return nil
}

// syncHome writes out the file system of the home.
func syncHome(h *Home) error {
	return h.dir.root.with("sync", "", unix.Syncfs)
}

// Remote says whether the home is on a file system that others may change
// without this kernel's knowing, and that a sync of this kernel's may not reach
// the disk of: NFS, FUSE and their like. One that does not tell counts as such.
func (h *Home) Remote() bool {
	far, err := lease.Remote(h.path)
	return far || err != nil
}

// withDescriptor lends f the descriptor of a file.
func withDescriptor(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = f(int(fd)) })
	return errors.Join(err, result)
}

// encodeIntent is the content of gateway_intent.json.
func (p *Profile) encodeIntent(r profile.IntentRecord) ([]byte, error) {
	err := r.Validate()
	var data []byte
	if err == nil {
		data, err = encode(r)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "cannot write %s", p.at(intentFile))
	}
	return data, nil
}
