package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockWait is how long a spawn waits for the slot's lock: processes of the
	// last run's group that were just killed may hold it a moment longer.
	lockWait = time.Second
	// lockPatience is when waiting alone seems not to help.
	lockPatience = 200 * time.Millisecond
	lockPoll     = 2 * time.Millisecond
)

// lockSlot opens and locks r's lock file; -1 if it has none. A holder that is
// proven to be of an earlier run is killed; any other makes it fail.
func (k *keeper) lockSlot(r *run) (int, error) {
	if r.spec.Lock == "" {
		return -1, nil
	}
	fd, err := unix.Open(r.spec.Lock, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return -1, err
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	began, evicted := time.Now(), false
	for {
		err := tryLock(fd)
		if err == nil {
			return fd, nil
		}
		if err != unix.EAGAIN && err != unix.EACCES || time.Since(began) > lockWait {
			_ = unix.Close(fd)
			return -1, err
		}
		if !evicted && time.Since(began) > lockPatience {
			k.unlinger(r.slot)
			evict(fd, k.boot, k.pidns)
			evicted = true
		}
		<-tick.C
	}
}

// tryLock takes the OFD lock on fd: it belongs to the open description, so it
// is held until the last process with a copy of fd is gone.
func tryLock(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// releaseLock gives up the lock of a run that did not start.
func (k *keeper) releaseLock(slot string, fd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lingerLocked(slot, fd)
}

// lingerLocked closes the lock of an ended run, which frees it unless a stray
// of the run still holds it. But the child of a fork in flight holds a copy of
// every descriptor as well, and if its exec hangs would keep the slot locked.
// So while there are any the descriptor is kept: unlinger needs it.
func (k *keeper) lingerLocked(slot string, fd int) {
	if fd < 0 {
		return
	}
	if len(k.flights) == 0 {
		_ = unix.Close(fd)
		return
	}
	if old, ok := k.lingering[slot]; ok {
		_ = unix.Close(old)
	}
	k.lingering[slot] = fd
}

// settleLocked closes what lingers once no fork is in flight.
func (k *keeper) settleLocked() {
	for slot, fd := range k.lingering {
		_ = unix.Close(fd)
		delete(k.lingering, slot)
	}
}

// unlinger unlocks the slot for every copy of the descriptor that lingers.
func (k *keeper) unlinger(slot string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if fd, ok := k.lingering[slot]; ok {
		_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
		_ = unix.Close(fd)
		delete(k.lingering, slot)
	}
}

// record is what a lock file says about the run that holds it.
type record struct {
	slot       string
	generation uint64
	pid        int
	birth      uint64
	boot       string
	pidns      uint64
}

const noBoot = "-" // in place of a boot id that is not known

// String is the record's one line, without its newline.
func (r record) String() string {
	boot := r.boot
	if boot == "" {
		boot = noBoot
	}
	return fmt.Sprintf("%s %d %d %d %s %d", r.slot, r.generation, r.pid, r.birth, boot, r.pidns)
}

// parseRecord reads a lock file's content. Without the newline at its end it
// was not written to the end.
func parseRecord(b []byte) (record, bool) {
	line, whole := bytes.CutSuffix(b, []byte("\n"))
	f := strings.Split(string(line), " ")
	if !whole || len(f) != 6 {
		return record{}, false
	}
	r := record{slot: f[0], boot: f[4]}
	if r.boot == noBoot {
		r.boot = ""
	}
	var errs [4]error
	r.generation, errs[0] = strconv.ParseUint(f[1], 10, 64)
	r.pid, errs[1] = strconv.Atoi(f[2])
	r.birth, errs[2] = strconv.ParseUint(f[3], 10, 64)
	r.pidns, errs[3] = strconv.ParseUint(f[5], 10, 64)
	ok := errs == [4]error{} && r.pid > 1 && validSlot(r.slot) && !strings.ContainsAny(r.boot, "\n\x00")
	return r, ok
}

// writeRecord says in the lock file which process the run is.
func (k *keeper) writeRecord(key runKey, fd, pid int, birth uint64) {
	if fd < 0 {
		return
	}
	line := record{key.slot, key.generation, pid, birth, k.boot, k.pidns}.String() + "\n"
	if n, err := unix.Pwrite(fd, []byte(line), 0); err != nil || n < len(line) {
		k.say("cannot record the process of %s: %v", key.slot, err)
		return
	}
	_ = unix.Ftruncate(fd, int64(len(line)))
}

// readRecord reads the record of the lock file fd.
func readRecord(fd int) (record, bool) {
	buf := make([]byte, 1024)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return record{}, false
	}
	return parseRecord(buf[:n])
}

// evict kills the processes that are proven to hold the lock of fd's file: the
// recorded leader with its group, and whatever else holds a locked descriptor
// of the file and can be looked at. It returns their pids.
func evict(fd int, boot string, pidns uint64) []int {
	var killed []int
	r, ok := readRecord(fd)
	if ok && r.boot == boot && r.pidns == pidns && killGroupOf(r.pid, r.birth) {
		killed = append(killed, r.pid)
	}
	for _, pid := range lockHolders(fd) {
		if killHolder(pid, fd) {
			killed = append(killed, pid)
		}
	}
	return killed
}

// killGroupOf kills the group led by pid if it is the process born at birth.
// The leader is stopped first, by its pidfd: it cannot end of its own accord
// then, and its number stays its group's.
func killGroupOf(pid int, birth uint64) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	st, err := readStat(pid)
	if err != nil || st.start != birth || st.state == 'Z' {
		return false
	}
	if unix.PidfdSendSignal(pidfd, unix.SIGSTOP, nil, 0) != nil {
		return false
	}
	if st, err = readStat(pid); err == nil && st.start == birth {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}

// killHolder kills pid, if it still holds the lock of fd's file.
func killHolder(pid, fd int) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	return holdsLock(pid, lockPath(fd)) && unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) == nil
}

// lockHolders lists the other processes seen to hold the lock of fd's file.
// Those of another uid may be out of sight.
func lockHolders(fd int) []int {
	path, self := lockPath(fd), os.Getpid()
	var pids []int
	for _, pid := range processes() {
		if pid != self && holdsLock(pid, path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// lockPath is the name the kernel gives fd's file; compared as a name, since
// looking at a file may hang.
func lockPath(fd int) string {
	path, _ := os.Readlink(pinned(fd))
	return path
}

// holdsLock reports whether pid has a descriptor of path with an OFD write
// lock on its open description.
func holdsLock(pid int, path string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil || path == "" {
		return false
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err != nil || to != path {
			continue
		}
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd.Name()))
		if err == nil && bytes.Contains(info, []byte("OFDLCK")) && bytes.Contains(info, []byte("WRITE")) {
			return true
		}
	}
	return false
}
