package store

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"hermes/internal/profile"
)

// soulFile marks a directory as a profile.
const soulFile = "SOUL.md"

// Scan is what profiles a home has.
type Scan struct {
	// Entries has the default profile first, which always is, then the others
	// by name.
	Entries []Entry
	// Skipped has the names in profiles/ that are no profile, except plain
	// files and names that start with a dot and are hermes's own.
	Skipped []Skipped
	// HasProfiles says that there is a profiles/ directory, Profiles which.
	HasProfiles bool
	Profiles    ID
}

// Entry is one profile.
type Entry struct {
	Name profile.Name
	Path string
	ID   ID
	// Marked says that the directory has a SOUL.md; only the default profile
	// can be without.
	Marked bool
}

// Skipped is a name in profiles/ that is not taken for a profile.
type Skipped struct {
	Name   string
	Reason string // completes "… is skipped: …"
	// Err is set when the profile could not be looked at: it may well be one.
	Err error
}

// Unmarked is the Reason of a directory that has no SOUL.md.
const Unmarked = "it has no SOUL.md"

// Scan looks for the profiles. An error means that the list is not to be
// trusted, not that there is nothing; Entries has the default profile even
// then.
func (h *Home) Scan() (Scan, error) {
	var s Scan
	marked, err := h.dir.marked()
	s.Entries = append(s.Entries, Entry{Name: profile.Default, Path: h.path, ID: h.id, Marked: marked})
	if err != nil {
		return s, homeFault("examine", filepath.Join(h.path, soulFile), err)
	}
	profiles, info, err := h.profiles(false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case isBad(err):
		s.Skipped = append(s.Skipped, Skipped{Name: profilesDir, Reason: err.Error()})
		return s, nil
	case err != nil:
		return s, homeFault("examine", filepath.Join(h.path, profilesDir), err)
	}
	defer profiles.root.Close()
	s.HasProfiles, s.Profiles = true, idOf(info)
	names, err := profiles.names()
	if err != nil {
		return s, homeFault("list", profiles.path, err)
	}
	for _, name := range names {
		s.look(profiles, name)
	}
	return s, nil
}

// look adds what profiles/<name> is to the scan.
func (s *Scan) look(profiles dir, name string) {
	skip := func(reason string, err error) {
		s.Skipped = append(s.Skipped, Skipped{Name: name, Reason: reason, Err: err})
	}
	if isStaging(name) {
		return
	}
	info, err := profiles.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return // gone since the directory was listed
	case err != nil:
		skip("it cannot be looked at: "+cause(err).Error(), err)
		return
	case info.Mode()&fs.ModeSymlink != 0:
		skip("it is a link, and a profile is a directory of its own", nil)
		return
	case !info.IsDir():
		return
	case strings.HasPrefix(name, "."):
		skip("its name starts with a dot", nil)
		return
	}
	n, err := profile.ParseNew(name)
	if err != nil {
		reason := err.Error()
		if e, ok := errors.AsType[*profile.NameError](err); ok {
			reason = "its name cannot be used: " + e.Reason
		}
		if name == string(profile.Default) {
			reason = "the default profile is the home itself"
		}
		skip(reason, nil)
		return
	}
	_, err = profiles.root.Lstat(name + "/" + soulFile)
	if errors.Is(err, fs.ErrNotExist) {
		skip(Unmarked, nil)
		return
	}
	// One whose mark cannot be looked at now is taken for a profile: it must
	// fail loudly, not vanish.
	s.Entries = append(s.Entries, Entry{Name: n, Path: filepath.Join(profiles.path, name), ID: idOf(info), Marked: true})
}

// marked reports whether the directory has a SOUL.md. A broken one counts: its
// profile must fail loudly, not vanish.
func (d dir) marked() (bool, error) {
	_, err := d.root.Lstat(soulFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
