package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Version is the version this build writes into [Record].
const Version = 1

// maxRecord bounds what is read of the lock file: a record is under 1 KiB, and
// a home may be hostile.
const maxRecord = 16 << 10

// maxField bounds one string of a record, in bytes; HOST_NAME_MAX and a
// container's id (64) are far below it.
const maxField = 255

// maxSocketPath is what sockaddr_un holds beside its final NUL.
const maxSocketPath = 107

// Record says who holds a home and how to reach them. It is the content of
// the lock file, one line of JSON.
type Record struct {
	Version   int    `json:"version"`
	Host      string `json:"host"`
	Container string `json:"container,omitempty"` // unique id, "" on a host
	BootID    string `json:"boot_id"`
	// PIDNamespace is the inode of the namespace in which PID means something.
	PIDNamespace uint64    `json:"pid_namespace"`
	PID          int       `json:"pid"`
	UID          int       `json:"uid"`
	Since        time.Time `json:"since"`
	// Socket is the control socket's path, "" until it is bound.
	Socket  string `json:"socket,omitempty"`
	Manager string `json:"manager,omitempty"` // "native (container supervisor)", …
	// Heartbeat is when the holder last said that it lives; set only where the
	// file system is remote.
	Heartbeat time.Time `json:"heartbeat,omitzero"`
}

// Same reports whether r and o were written by one and the same holder.
func (r Record) Same(o Record) bool {
	return r.SameHost(o) && r.BootID == o.BootID && r.PIDNamespace == o.PIDNamespace &&
		r.PID == o.PID && r.Since.Equal(o.Since)
}

// SameHost reports whether r and o come from one host, and there from one
// container: then a free lock proves that the other is dead.
func (r Record) SameHost(o Record) bool {
	return r.Host == o.Host && r.Container == o.Container
}

// decode reads a record out of the bytes of a lock file. Only the first line
// counts: a shorter record may be followed by the tail of a longer one.
func decode(b []byte) (Record, error) {
	if len(b) > maxRecord {
		b = b[:maxRecord]
	}
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	if len(bytes.TrimSpace(line)) == 0 {
		return Record{}, errors.New("the record is empty")
	}
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("the record is not JSON: %w", err)
	}
	if err := r.validate(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// validate reports a record that no hermes can have written. What passes is
// safe to print and to dial.
func (r Record) validate() error {
	if r.Version < 1 {
		return fmt.Errorf("version %d is not one hermes writes", r.Version)
	}
	if r.PID < 1 || r.UID < 0 {
		return fmt.Errorf("pid %d or uid %d is impossible", r.PID, r.UID)
	}
	for _, s := range []string{r.Host, r.Container, r.BootID, r.Manager, r.Socket} {
		if len(s) > maxField || !utf8.ValidString(s) || strings.ContainsFunc(s, notPrintable) {
			return fmt.Errorf("%.40q is not a text hermes writes", s)
		}
	}
	if r.Socket != "" && (!filepath.IsAbs(r.Socket) || len(r.Socket) > maxSocketPath) {
		return fmt.Errorf("%.120q is no socket hermes binds", r.Socket)
	}
	return nil
}

// notPrintable guards terminals: a record's fields end up in error messages.
func notPrintable(c rune) bool { return !unicode.IsPrint(c) }

// encode is the inverse of decode.
func encode(r Record) ([]byte, error) {
	r.Version = Version
	if err := r.validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
