package supervisor

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/profile"
	"hermes/internal/store"
)

// reported is what a gateway of the original said of itself, and the file it
// said it in.
type reported struct {
	file   fileID
	legacy store.Legacy
}

// fileID tells one content of a file from the next.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// racy is the age below which a file may be written once more without any of
// its times showing it.
const racy = time.Second

// reportedHealth is what a gateway of the original says in gateway_state.json,
// if that gateway is the one that runs. Most have no such file, or one that has
// not changed since it was read: then the profile is not opened.
func (s *slot) reportedHealth(pid int) profile.Health {
	var st unix.Stat_t
	if unix.Lstat(filepath.Join(s.fleet.home.ProfilePath(s.name), "gateway_state.json"), &st) != nil {
		return profile.HealthUnknown
	}
	now := fileID{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim} //nolint:unconvert // Dev's type differs between architectures
	known := s.reported.Load()
	if known == nil || known.file != now {
		legacy, ok := s.fleet.legacy(s.name)
		if !ok {
			return profile.HealthUnknown
		}
		known = &reported{now, legacy}
		// What a link leads to changes without the link.
		if st.Mode&unix.S_IFMT == unix.S_IFREG && time.Since(time.Unix(st.Ctim.Unix())) > racy {
			s.reported.Store(known)
		}
	}
	if known.legacy.PID != pid {
		return profile.HealthUnknown
	}
	switch known.legacy.GatewayState {
	case "running":
		return profile.HealthOK
	case "degraded":
		return profile.HealthDegraded
	case "draining":
		return profile.HealthDraining
	case "starting":
		return profile.HealthUnready
	}
	return profile.HealthUnknown
}
