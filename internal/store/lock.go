package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Files of a gateway's identity.
const (
	lockFile      = "gateway.lock"
	pidFile       = "gateway.pid"
	processesFile = "processes.json"
)

// GatewayLockHeld reports whether a process holds gateway.lock, which is the
// proof that a gateway of this profile lives, in this container or another.
// The pid is advice: it comes from a file, may be of another pid namespace and
// is 0 when unknown.
//
// The question itself takes the lock, shared, for microseconds: a gateway that
// takes it must try more than once.
func (p *Profile) GatewayLockHeld() (held bool, pid int, err error) {
	f, err := p.dir.root.OpenFile(lockFile, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, readFault(p.at(lockFile), p.dir.explain(lockFile, err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, 0, readFault(p.at(lockFile), err)
	}
	if !info.Mode().IsRegular() {
		return false, 0, readFault(p.at(lockFile), &badFile{kindOf(info.Mode())})
	}
	held, err = flockHeld(f)
	if err != nil {
		return false, 0, readFault(p.at(lockFile), err)
	}
	if held {
		pid = p.advisedPID()
	}
	return held, pid, nil
}

func flockHeld(f *os.File) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var held bool
	var flockErr error
	err = raw.Control(func(fd uintptr) {
		flockErr = unix.Flock(int(fd), unix.LOCK_SH|unix.LOCK_NB)
		if errors.Is(flockErr, unix.EWOULDBLOCK) {
			held, flockErr = true, nil
			return
		}
		if flockErr == nil {
			flockErr = unix.Flock(int(fd), unix.LOCK_UN)
		}
	})
	if err != nil {
		return false, err
	}
	return held, flockErr
}

// advisedPID is the pid the gateway wrote into its lock or its pid file: JSON
// with a pid, or, in old homes, a bare number.
func (p *Profile) advisedPID() int {
	for _, name := range []string{lockFile, pidFile} {
		data, err := p.dir.read(name, maxStateSize)
		if err != nil {
			continue
		}
		if pid := parsePID(data); pid != 0 {
			return pid
		}
	}
	return 0
}

func parsePID(data []byte) int {
	if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
		return pidOf(float64(n))
	}
	var record struct {
		PID any `json:"pid"`
	}
	if json.Unmarshal(data, &record) != nil {
		return 0
	}
	return pidOf(record.PID)
}

// maxPID is the kernel's limit, PID_MAX_LIMIT.
const maxPID = 1 << 22

// pidOf is a pid out of untrusted JSON, 0 when it is none.
func pidOf(v any) int {
	if n, ok := v.(float64); ok && n >= 1 && n <= maxPID && n == float64(int(n)) {
		return int(n)
	}
	return 0
}

// RemoveStale removes what a gateway that is gone left behind, gateway.pid and
// processes.json, and the temporary files of killed writes. It returns the
// names of the former. While gateway.lock is held it removes nothing: these
// files belong to somebody.
func (p *Profile) RemoveStale() ([]string, error) {
	if err := p.writable(); err != nil {
		return nil, err
	}
	held, _, err := p.GatewayLockHeld()
	if held || err != nil {
		return nil, err
	}
	p.dir.sweep(time.Now())
	var removed []string
	for _, name := range []string{pidFile, processesFile} {
		switch err := p.dir.root.Remove(name); {
		case err == nil:
			removed = append(removed, name)
		case !errors.Is(err, fs.ErrNotExist):
			return removed, homeFault("remove", p.at(name), err)
		}
	}
	return removed, nil
}
