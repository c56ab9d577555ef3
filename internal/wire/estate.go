package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// EstateVersion is the version of [Estate]. As with the protocol, fields may be
// added, never changed, and what is unknown is ignored.
const EstateVersion = 1

// Estate is what a keeper leaves to its successor: to the next binary in the
// same process, or, when it was killed, to the engine, which takes its place.
// The descriptors in it are those of the process that reads it.
type Estate struct {
	Version        int         `json:"version"`
	Stamp          string      `json:"stamp"`   // the first keeper's: its runs are the successor's
	Runtime        []byte      `json:"runtime"` // a path need not be UTF-8
	EngineArgv     [][]byte    `json:"engine_argv"`
	Listener       int         `json:"listener"`
	Lease          int         `json:"lease"`
	MainZeroOnStop bool        `json:"main_zero_on_stop,omitempty"`
	Stopping       bool        `json:"stopping,omitempty"` // everything was being stopped
	Spare          []int       `json:"spare,omitempty"`    // children that are not its business
	Runs           []Inherited `json:"runs"`
}

// Inherited is one run of an [Estate].
type Inherited struct {
	RunInfo
	// Child says that the run is a child of the process that reads this; any
	// other can be watched but not waited for.
	Child bool `json:"child,omitempty"`
	TTY   bool `json:"tty,omitempty"` // it was given the terminal
	// LogFD, NotifyFD and LockFD are descriptors, -1 for none.
	LogFD    int `json:"log_fd"`
	NotifyFD int `json:"notify_fd"`
	LockFD   int `json:"lock_fd"`
	// NotifyPath is the notify socket's, removed with the run; nil for unknown.
	NotifyPath []byte `json:"notify_path,omitempty"`
}

// maxEstate bounds what is read of an estate, in bytes: 10,000 runs need 4 MiB.
const maxEstate = 64 << 20

// Pass writes e where a successor of this process finds it: a file in memory
// whose descriptor, like all those e names, the next exec keeps open. A keeper
// reads it with [ReceiveEstate].
func (e *Estate) Pass() (fd int, err error) {
	e.Version = EstateVersion
	b, err := json.Marshal(e)
	if err != nil {
		return -1, fmt.Errorf("cannot encode the estate: %w", err)
	}
	fd, err = unix.MemfdCreate("estate", unix.MFD_NOEXEC_SEAL) // a hardened kernel insists, see vm.memfd_noexec
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("estate", 0) // Linux before 6.3
	}
	if err != nil {
		return -1, fmt.Errorf("cannot make a file for the estate: %w", err)
	}
	for at := 0; at < len(b); {
		n, err := unix.Pwrite(fd, b[at:], int64(at))
		if err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("cannot write the estate: %w", err)
		}
		at += n
	}
	for _, d := range e.descriptors() {
		if _, err := unix.FcntlInt(uintptr(d), unix.F_SETFD, 0); err != nil {
			e.Keep()
			_ = unix.Close(fd)
			return -1, fmt.Errorf("cannot pass on descriptor %d: %w", d, err)
		}
	}
	return fd, nil
}

// Keep makes every descriptor of e close-on-exec again.
func (e *Estate) Keep() {
	for _, d := range e.descriptors() {
		unix.CloseOnExec(d)
	}
}

// RunFDs lists the descriptors of e's runs; a nil estate has none.
func (e *Estate) RunFDs() []int {
	if e == nil {
		return nil
	}
	var fds []int
	for _, r := range e.Runs {
		for _, fd := range []int{r.LogFD, r.NotifyFD, r.LockFD} {
			if fd >= 0 {
				fds = append(fds, fd)
			}
		}
	}
	return fds
}

// descriptors lists all that e names.
func (e *Estate) descriptors() []int {
	fds := e.RunFDs()
	for _, fd := range []int{e.Listener, e.Lease} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// ReceiveEstate reads what [Estate.Pass] left in fd and closes it. What e names
// is close-on-exec then.
func ReceiveEstate(fd int) (*Estate, error) {
	f := os.NewFile(uintptr(fd), "estate "+strconv.Itoa(fd))
	if f == nil {
		return nil, fmt.Errorf("cannot read an estate from descriptor %d", fd)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxEstate))
	if err != nil {
		return nil, fmt.Errorf("cannot read the estate: %w", err)
	}
	e, err := decodeEstate(b)
	if err != nil {
		return nil, err
	}
	e.Keep()
	return e, nil
}

// decodeEstate checks what a successor relies on: every name is one that can be
// a file's, and no descriptor is a standard one or belongs to two.
func decodeEstate(b []byte) (*Estate, error) {
	e := new(Estate)
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("cannot read the estate: %w", err)
	}
	if e.Version != EstateVersion {
		return nil, fmt.Errorf("cannot take on an estate of version %d: this binary knows %d", e.Version, EstateVersion)
	}
	if len(e.EngineArgv) == 0 || len(e.Runtime) == 0 {
		return nil, errors.New("cannot take on an estate without an engine or a runtime directory")
	}
	for _, r := range e.Runs {
		if !ValidSlot(r.Slot) || r.PID <= 1 {
			return nil, fmt.Errorf("cannot take on run %q of process %d", r.Slot, r.PID)
		}
	}
	seen := make(map[int]bool)
	for _, fd := range e.descriptors() {
		if fd <= 2 || seen[fd] {
			return nil, fmt.Errorf("cannot take on an estate with descriptor %d in it", fd)
		}
		seen[fd] = true
	}
	return e, nil
}
