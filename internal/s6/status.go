package s6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Status is what s6-supervise last wrote about its service: the content of
// supervise/status. It is stale when no s6-supervise lives, see [State].
type Status struct {
	// Since is when the service last went up or down, ReadySince when it last
	// became ready, up or down.
	Since, ReadySince time.Time
	// PID is the process of run or, while Finishing, of finish; 0 when down.
	PID int
	// Code is the exit code of the last run, -1 if Signal ended it. Both are 0
	// before the first run has ended.
	Code   int
	Signal unix.Signal
	// Finishing: run has ended and finish is at work.
	Finishing bool
	// WantUp: when it is down, s6-supervise starts it (again).
	WantUp bool
	// Ready: an up service has said so, a down one has finished.
	Ready bool
	// Paused: s6-supervise was told to stop it with SIGSTOP.
	Paused bool
	// NotStarted: this s6-supervise has not started it yet. Only s6 2.13.2 and
	// later tells.
	NotStarted bool
}

// Up reports a run that lives.
func (s Status) Up() bool { return s.PID != 0 && !s.Finishing }

// Down reports that nothing of the service lives: neither run nor finish.
func (s Status) Down() bool { return s.PID == 0 }

// Stopping reports a run that lives and is not to be started again: it was told
// to stop, or is to run once.
func (s Status) Stopping() bool { return s.Up() && !s.WantUp }

// The layout of the status file, all numbers big-endian. Versions 2.13.* had
// the process group after the pid; every other has none.
const (
	statusSize      = 35
	statusSizeGroup = 43

	offSince = 0
	offReady = 12
	offPID   = 24
	offWait  = 32 // 40 with the group
)

// The flags in its last byte.
const (
	flagPaused = 1 << iota
	flagFinishing
	flagWantUp
	flagReady
	flagsKnown = flagPaused | flagFinishing | flagWantUp | flagReady
)

// errStatus: the bytes are no status file.
var errStatus = errors.New("this is no status file of s6")

// ParseStatus reads the content of a supervise/status file.
func ParseStatus(b []byte) (Status, error) {
	wait := offWait
	switch len(b) {
	case statusSize:
	case statusSizeGroup:
		wait += statusSizeGroup - statusSize
	default:
		return Status{}, fmt.Errorf("%w: it has %d bytes, not %d", errStatus, len(b), statusSize)
	}
	since, err := parseStamp(b[offSince:])
	if err != nil {
		return Status{}, err
	}
	ready, err := parseStamp(b[offReady:])
	if err != nil {
		return Status{}, err
	}
	pid := binary.BigEndian.Uint64(b[offPID:])
	const mostPID = 1<<31 - 1
	if pid > mostPID {
		return Status{}, fmt.Errorf("%w: %d is no pid", errStatus, pid)
	}
	flags := b[wait+2]
	if flags&^byte(flagsKnown) != 0 {
		return Status{}, fmt.Errorf("%w: its flags are %#02x", errStatus, flags)
	}
	s := Status{
		Since: since, ReadySince: ready, PID: int(pid),
		Finishing:  flags&flagFinishing != 0,
		WantUp:     flags&flagWantUp != 0,
		Ready:      flags&flagReady != 0,
		Paused:     flags&flagPaused != 0 && pid != 0,
		NotStarted: flags&flagPaused != 0 && pid == 0,
	}
	s.Code, s.Signal = parseWait(binary.BigEndian.Uint16(b[wait:]))
	return s, nil
}

// parseWait reads the low 16 bits of a status of wait(2).
func parseWait(w uint16) (code int, sig unix.Signal) {
	ws := unix.WaitStatus(w)
	if ws.Signaled() {
		return -1, ws.Signal()
	}
	return ws.ExitStatus(), 0
}

// TAI64N: seconds since 1970 in TAI, plus 2^62, and nanoseconds. s6 on Linux
// counts the leap seconds up to 2017, the last there was.
const (
	stampSize = 12
	taiEpoch  = 1<<62 + 10 + 27
)

// parseStamp reads a TAI64N label. One of zeros only is the zero time.
func parseStamp(b []byte) (time.Time, error) {
	sec, nsec := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if sec == 0 && nsec == 0 {
		return time.Time{}, nil
	}
	const reserved, second = 1 << 63, 1_000_000_000
	if sec >= reserved || nsec >= second {
		return time.Time{}, fmt.Errorf("%w: %x is no time stamp", errStatus, b[:stampSize])
	}
	return time.Unix(int64(sec)-taiEpoch, int64(nsec)), nil
}
