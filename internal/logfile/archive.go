package logfile

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The kinds of archive, as s6-log marks them.
const (
	safe       = 's' // filled and closed
	unfinished = 'u' // its last line was cut by a crash
)

// tai is what a TAI64 label adds to a Unix second: 2^62, the 10 s between TAI
// and UTC in 1970, and the 27 leap seconds since; what s6 adds.
const tai = 1<<62 + 10 + 27

// label is a TAI64N time stamp.
type label struct {
	sec  uint64
	nsec uint32
}

func labelOf(t time.Time) label {
	return label{uint64(t.Unix()) + tai, uint32(t.Nanosecond())}
}

func (a label) less(b label) bool {
	return a.sec < b.sec || a.sec == b.sec && a.nsec < b.nsec
}

// after is the next label.
func (a label) after() label {
	if a.nsec++; a.nsec == 1e9 {
		a.sec, a.nsec = a.sec+1, 0
	}
	return a
}

// archiveName is the file name of an archive.
func archiveName(l label, kind byte) string {
	return fmt.Sprintf("@%016x%08x.%c", l.sec, l.nsec, kind)
}

// parseArchive reads an archive's file name; ok is false for any other name.
func parseArchive(name string) (l label, kind byte, ok bool) {
	const digits = 24
	if len(name) != 1+digits+2 || name[0] != '@' || name[1+digits] != '.' {
		return label{}, 0, false
	}
	for _, c := range []byte(name[1 : 1+digits]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return label{}, 0, false
		}
	}
	kind = name[len(name)-1]
	sec, err1 := strconv.ParseUint(name[1:17], 16, 63) // labels from 2^63 are reserved
	nsec, err2 := strconv.ParseUint(name[17:25], 16, 32)
	if err1 != nil || err2 != nil || nsec >= 1e9 || kind != safe && kind != unfinished {
		return label{}, 0, false
	}
	return label{sec, uint32(nsec)}, kind, true
}

// maxArchives bounds what is read of a directory somebody else may have
// filled; what is beyond comes up when these are gone.
const maxArchives = 4096

// archives lists the archives, oldest first.
func (d directory) archives() ([]string, error) {
	var found []string
	err := d.each(func(name string) bool {
		if _, _, ok := parseArchive(name); ok {
			found = append(found, name)
		}
		return len(found) < maxArchives
	})
	slices.Sort(found)
	return found, err
}

// archive renames current, if there is one, and removes the oldest archives
// until there are at most keep. The new name sorts after all others even when
// the clock was set back, so that order of names is order of writing.
func (d directory) archive(now time.Time, kind byte, keep int) error {
	names, err := d.archives()
	if err != nil {
		return err
	}
	l := labelOf(now)
	if len(names) > 0 {
		if newest, _, _ := parseArchive(names[len(names)-1]); !newest.less(l) {
			l = newest.after()
		}
	}
	// Removing first keeps the promise about space, whatever happens next.
	for _, name := range names[:max(0, len(names)+1-keep)] {
		err := unix.Unlinkat(d.fd, name, 0)
		// A directory of that name is no log of ours.
		if err != nil && err != unix.ENOENT && err != unix.EISDIR {
			return fmt.Errorf("cannot remove %s/%s: %w", d.path, name, err)
		}
	}
	err = unix.Renameat(d.fd, current, d.fd, archiveName(l, kind))
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("cannot rename %s/%s: %w", d.path, current, err)
	}
	return nil
}
