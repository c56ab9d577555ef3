package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// Names in a home.
const (
	profilesDir = "profiles"
	logsDir     = "logs"
	gatewaysDir = "gateways" // in logsDir
)

// dirMode is the mode of every directory hermes makes in a home: what agents
// are told is private. Root reaches it, and the owner, which is the fleet's
// uid: that covers `docker exec` as either.
const dirMode = 0o700

// Home is an open home directory. [Home.Close] releases it.
type Home struct {
	path     string
	dir      dir
	id       ID
	readOnly bool

	mu   sync.Mutex  // guards what follows
	kept dir         // profiles/, as it was last opened to open a profile
	seen fs.FileInfo // what kept is; nil before there is one
}

// ID identifies a directory across renames.
type ID struct {
	Dev, Ino uint64
}

// Open opens the home at path, which may be reached through links. The error
// is a home_unusable fault. That the home can be written is not checked: see
// [Home.CheckWritable].
func Open(path string) (*Home, error) {
	if path == "" {
		return nil, fault.New(fault.HomeUnusable, "cannot open the home: neither HERMES_HOME nor HOME is set").
			WithHint("set HERMES_HOME to a directory that is kept, such as /opt/data")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fault.Wrap(fault.HomeUnusable, err, "cannot open home %s", path)
	}
	root, err := openRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.HomeUnusable, cause(err), "cannot open home %s", path).WithHint("mkdir -p %s", quote(path))
	}
	if err != nil {
		return nil, homeFault("open", path, err)
	}
	info, err := root.Stat()
	if err != nil {
		_ = root.Close()
		return nil, homeFault("open", path, err)
	}
	h := &Home{path: path, id: idOf(info)}
	h.dir = dir{root: root, path: path, owner: ownerFor(info)}
	return h, nil
}

// OpenReadOnly is [Open] for a caller that only looks: nothing is set aside,
// and every method that writes fails.
func OpenReadOnly(path string) (*Home, error) {
	h, err := Open(path)
	if err != nil {
		return nil, err
	}
	h.readOnly = true
	return h, nil
}

// parentMode is that of the parents of a home: whoever gateways run as has to
// pass through them.
const parentMode = 0o755

// Create is [Open] for a home that need not exist: it and its missing parents
// are made.
func Create(path string) (*Home, error) {
	if path != "" {
		err := os.MkdirAll(filepath.Dir(path), parentMode)
		if err == nil {
			err = os.MkdirAll(path, dirMode)
		}
		if err != nil {
			return nil, homeFault("create", path, err)
		}
	}
	return Open(path)
}

// Close releases the descriptors. Profiles stay open.
func (h *Home) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.dir.root.Close()
	if h.seen != nil {
		err = errors.Join(err, h.kept.root.Close())
	}
	return err
}

// SetOwner says whom new files belong to when hermes is root; without it that
// is the owner of the home. For any other caller it does nothing.
func (h *Home) SetOwner(uid, gid int) {
	if os.Geteuid() == 0 {
		h.dir.owner = &owner{uid: uid, gid: gid}
	}
}

// Path is the home's absolute path.
func (h *Home) Path() string { return h.path }

// ProfilePath is the path of a profile's directory, whether it exists or not.
func (h *Home) ProfilePath(n profile.Name) string {
	if n == profile.Default {
		return h.path
	}
	return filepath.Join(h.path, profilesDir, string(n))
}

// ID identifies the home's directory.
func (h *Home) ID() ID { return h.id }

// Owner is the uid and gid of the home's directory.
func (h *Home) Owner() (uid, gid uint32, err error) {
	info, err := h.dir.root.Stat()
	if err != nil {
		return 0, 0, homeFault("examine", h.path, err)
	}
	st := statOf(info)
	return st.Uid, st.Gid, nil
}

// CheckWritable reports, as a home_unusable fault, why files cannot be made in
// the home or in its profiles/.
func (h *Home) CheckWritable() error {
	for _, name := range []string{".", profilesDir} {
		path := filepath.Join(h.path, name)
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if err != nil && (name == "." || !errors.Is(err, fs.ErrNotExist)) {
			return homeFault("write to", path, err)
		}
	}
	return nil
}

// writable fails for a home that was opened only to be looked at.
func (h *Home) writable() error {
	if h.readOnly {
		return fault.New(fault.Internal, "cannot write to home %s: it was opened read-only", h.path)
	}
	return nil
}

// EnsureLogs makes logs/gateways/, so that gateways which start at the same
// time do not have to: of a directory two make at once nobody knows whether it
// is new, and only a new one may be given away.
func (h *Home) EnsureLogs() error {
	if err := h.writable(); err != nil {
		return err
	}
	if err := h.dir.mkdir(logsDir); err != nil {
		return err
	}
	logs, _, err := h.dir.sub(logsDir)
	if err != nil {
		return homeFault("open", filepath.Join(h.path, logsDir), err)
	}
	defer logs.root.Close()
	return logs.mkdir(gatewaysDir)
}

// profiles opens profiles/, making it if asked to. Without it the error is
// fs.ErrNotExist.
func (h *Home) profiles(create bool) (dir, fs.FileInfo, error) {
	if create {
		if err := h.dir.mkdir(profilesDir); err != nil {
			return dir{}, nil, err
		}
	}
	return h.dir.sub(profilesDir)
}

// keptProfiles is profiles/ without opening it for each profile: the directory
// opened before, if that is still the one of that name. It is not the caller's
// to close. Without it the error is fs.ErrNotExist.
func (h *Home) keptProfiles() (dir, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, err := h.dir.root.Lstat(profilesDir)
	if err != nil {
		return dir{}, err
	}
	if h.seen == nil || !sameFile(h.seen, now) {
		opened, info, err := h.dir.sub(profilesDir)
		if err != nil {
			return dir{}, err
		}
		h.kept, h.seen = opened, info // another one is closed once nobody uses it
	}
	h.kept.owner = h.dir.owner
	return h.kept, nil
}

func idOf(info fs.FileInfo) ID {
	st := statOf(info)
	return ID{Dev: uint64(st.Dev), Ino: st.Ino} //nolint:unconvert // Dev is 32 bits wide on some platforms
}

func statOf(info fs.FileInfo) *syscall.Stat_t {
	return info.Sys().(*syscall.Stat_t) // os on Linux gives nothing else
}
