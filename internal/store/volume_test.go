package store_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

// A volume that is full, then one that is mounted read-only: every write says
// what to do, and what was there stays.
func TestFullAndReadOnlyVolume(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		testkit.Unavailable(t, "cannot mount a small volume: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	h, err := store.Create(dir + "/home")
	must(t, err)
	defer h.Close()
	_, err = h.CreateProfile("coder")
	must(t, err)
	p := open(t, h, "coder")
	must(t, p.WriteIntent(intent(profile.Running, 1)))
	must(t, p.WriteSupervision(supervision()))

	fill, err := os.Create(dir + "/fill")
	must(t, err)
	for err == nil {
		_, err = fill.Write(make([]byte, 512))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, fill.Close())
	before := tree(t, h.Path())
	attempts := func(check func(error)) {
		check(p.WriteIntent(intent(profile.Stopped, 2)))
		check(p.WriteSupervision(supervision()))
		_, err := p.EnsureAPIKey()
		check(err)
		_, err = h.CreateProfile("writer")
		check(err)
		check(h.AppendBootLog([]store.BootLine{{At: moment, Profile: "default", Action: store.BootStarted}}))
		if r, state, err := p.Intent(); state != store.Valid || err != nil || r.Generation != 1 {
			t.Errorf("the intent is %v, %v, %v", r, state, err)
		}
	}
	attempts(func(err error) {
		wantFault(t, err, fault.HomeUnusable, h.Path(), "no space left on device", "df -h "+h.Path())
	})
	must(t, os.RemoveAll(h.Path()+"/logs"))
	if after := tree(t, h.Path()); len(after) != len(before) {
		t.Errorf("failed writes left something: %q, %q", before, after)
	}

	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	attempts(func(err error) {
		wantFault(t, err, fault.HomeUnusable, h.Path(), "read-only file system", "mount the volume of "+h.Path())
	})
	wantFault(t, h.CheckWritable(), fault.HomeUnusable, h.Path(), "read-only file system")
	must(t, p.CheckReadable(uint32(os.Geteuid()), uint32(os.Getegid()))) // a gateway may do with less
}
