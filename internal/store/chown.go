package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"hermes/internal/lease"
	"hermes/internal/profile"
)

// Refused is something whose owner was not changed, and why.
type Refused struct {
	Path   string
	Reason string // completes "the owner of … is left alone: …"
}

// ownedFiles are the top-level files of a profile that a gateway needs: ours,
// and the original's.
func ownedFiles() []string {
	return []string{
		soulFile, configFile, dotenvFile, intentFile, supervisionFile, legacyFile, pidFile, lockFile, foregroundFile, processesFile,
		"auth.json", "auth.lock", "state.db", "state.db-shm", "state.db-wal", "hermes_state.db",
		"response_store.db", "response_store.db-shm", "response_store.db-wal", "active_profile",
	}
}

// ChownFixed gives a fixed list to uid:gid: the home, logs/, logs/gateways/ and
// what is in it, profiles/, each directory in it that can be a profile, and of
// each profile the known top-level files. Nothing else, no recursion, and no
// link is followed or changed: a home of 80,000 files costs nothing, and one
// with links into /etc changes nothing there. It returns what it left alone
// although it belongs to somebody else.
func (h *Home) ChownFixed(uid, gid int) ([]Refused, error) {
	if err := h.writable(); err != nil {
		return nil, err
	}
	c := chowner{uid: uid, gid: gid}
	c.home(h)
	return c.refused, nil
}

// Misowned are the paths whose owner ChownFixed would change.
func (h *Home) Misowned(uid, gid int) []string {
	c := chowner{uid: uid, gid: gid, dry: true}
	c.home(h)
	return c.others
}

type chowner struct {
	uid, gid int
	refused  []Refused
	dry      bool     // change nothing
	others   []string // what would be changed
}

// home gives away the fixed list.
func (c *chowner) home(h *Home) {
	c.profile(h.dir)
	c.give(h.dir, lease.File) // the next supervisor may be another uid
	c.within(h.dir, logsDir, func(logs dir) {
		c.give(logs, bootLogFile)
		c.within(logs, gatewaysDir, func(gateways dir) {
			c.each(gateways, func(string) {})
		})
	})
	c.within(h.dir, profilesDir, func(profiles dir) {
		c.each(profiles, func(name string) {
			if d, _, err := profiles.sub(name); err == nil {
				c.profile(d)
				_ = d.root.Close()
			}
		})
	})
}

// profile gives away a profile's directory and its known files.
func (c *chowner) profile(d dir) {
	c.give(d, ".")
	for _, name := range ownedFiles() {
		c.give(d, name)
	}
}

// within gives away a directory and calls f in it.
func (c *chowner) within(d dir, name string, f func(dir)) {
	c.give(d, name)
	inside, _, err := d.sub(name)
	if err != nil {
		return
	}
	defer inside.root.Close()
	f(inside)
}

// each gives away the directories of d that can be a profile's.
func (c *chowner) each(d dir, f func(name string)) {
	names, err := d.names()
	if err != nil {
		c.refuse(d.path, cause(err).Error())
		return
	}
	for _, name := range names {
		if _, err := profile.Parse(name); err == nil {
			c.give(d, name)
			f(name)
		}
	}
}

func (c *chowner) refuse(path, reason string) {
	c.refused = append(c.refused, Refused{Path: path, Reason: reason})
}

// give changes the owner of one file or directory of d. It is opened as a path
// first, so that what was examined is what is changed.
func (c *chowner) give(d dir, name string) {
	path := filepath.Join(d.path, name)
	err := d.root.with("chown", name, func(fd int) error { return c.giveAt(fd, name, path) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.refuse(path, cause(err).Error())
	}
}

func (c *chowner) giveAt(at int, name, path string) error {
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Uid) == c.uid && int(st.Gid) == c.gid {
		return nil
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return &badFile{"a link"}
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		return &badFile{"neither a file nor a directory"}
	case kind == unix.S_IFREG && st.Nlink > 1 && int(st.Uid) != c.uid:
		return &badFile{fmt.Sprintf("another name of a file of uid %d", st.Uid)}
	}
	if c.dry {
		if !slices.Contains(c.others, path) {
			c.others = append(c.others, path)
		}
		return nil
	}
	return unix.Fchownat(fd, "", c.uid, c.gid, unix.AT_EMPTY_PATH)
}
