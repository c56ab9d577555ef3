package config

import "fmt"

// FallbackID is the user and group gateways run as in a container whose home
// belongs to root: the hermes user of the original's image.
const FallbackID = 10000

// Situation is what decides, beside the settings, who gateways run as.
type Situation struct {
	CallerUID, CallerGID uint32 // the effective ids of this process
	HomeUID, HomeGID     uint32 // the owner of the home
	Container            bool   // this is a container
	Init                 bool   // this process is `hermes init`
}

// Identity is who gateways run as.
type Identity struct {
	UID, GID uint32
	Source   string // why, for the first lines of the boot: "HERMES_UID", "owner of the home"
	Warning  string // a sentence an operator should see, "" for none
}

// Identity decides who gateways run as: HERMES_UID:HERMES_GID, else PUID:PGID;
// under `up` on a host the caller; else the owner of the home unless that is
// root, else [FallbackID]. Ids are numbers: no user needs to exist. In a
// container nobody runs as root unless a variable says 0. A process that is
// not root can only give its own identity, whatever was asked for.
func (s Settings) Identity(at Situation) Identity {
	if at.CallerUID != 0 {
		return s.unprivileged(at)
	}
	id := at.unsaid()
	if s.UID.Set() {
		id = Identity{UID: s.UID.ID, GID: at.groupOf(s.UID.ID), Source: s.UID.Variable}
	}
	if s.GID.Set() {
		id.GID = s.GID.ID
	}
	if id.UID == 0 && !at.Container && !s.UID.Set() {
		id.Warning = "gateways run as root: set HERMES_UID and HERMES_GID, or start hermes as an ordinary user"
	}
	return id
}

func (s Settings) unprivileged(at Situation) Identity {
	id := Identity{UID: at.CallerUID, GID: at.CallerGID, Source: "the caller"}
	switch {
	case s.UID.Set() && s.UID.ID != id.UID:
		id.Warning = fmt.Sprintf("%s=%d has no effect: hermes runs as uid %d and only root can run a gateway as somebody else", s.UID.Variable, s.UID.ID, id.UID)
	case s.GID.Set() && s.GID.ID != id.GID:
		id.Warning = fmt.Sprintf("%s=%d has no effect: hermes runs as gid %d and only root can run a gateway in another group", s.GID.Variable, s.GID.ID, id.GID)
	}
	return id
}

// unsaid is the identity root gives when no variable names one.
func (at Situation) unsaid() Identity {
	switch {
	case !at.Container && !at.Init:
		return Identity{UID: at.CallerUID, GID: at.CallerGID, Source: "the caller"}
	case at.HomeUID != 0:
		return Identity{UID: at.HomeUID, GID: at.groupOf(at.HomeUID), Source: "owner of the home"}
	}
	return Identity{UID: FallbackID, GID: FallbackID, Source: "default"}
}

// groupOf is the group for a uid nobody named a group for: the home's if the
// home is that uid's, else the one of the same number; never root's unsaid.
func (at Situation) groupOf(uid uint32) uint32 {
	if uid == at.HomeUID && at.HomeGID != 0 {
		return at.HomeGID
	}
	return uid
}
