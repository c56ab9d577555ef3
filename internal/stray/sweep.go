package stray

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/process"
	"hermes/internal/slotlock"
)

// killWait bounds the wait for what was killed; longer means that it hangs in
// the kernel, or that it forks faster than it is found.
const killWait = 2 * time.Second

// execWait bounds the wait for a process that shows no environment at all: it
// may be in the middle of its exec, where it has none yet.
const execWait = 100 * time.Millisecond

// sweep is one Sweep under way.
type sweep struct {
	Request
	report func(Report)
	self   int
	uid    uint32
	words  []byte // the keeper's command line
	began  time.Time
	strays []*found
	below  map[int]bool      // orphans and what descends from them
	hidden map[int]time.Time // those in their exec, since when
	unsure bool              // the last look met one of them
	buf    []byte
	length int // of the environment last read
}

// found is a stray and what became of it.
type found struct {
	Process
	target *Target
	pidfd  int // -1 once it is gone
	sent   string
}

// Sweep ends every process of the caller's uid that is of a target's run and
// reports each, then that it is done. It returns once all are gone, or two
// seconds after the last grace.
func Sweep(r Request, report func(Report)) {
	s := &sweep{Request: r, report: report, self: os.Getpid(), uid: uint32(os.Geteuid()), began: time.Now(), hidden: map[int]time.Time{}}
	s.words, _ = os.ReadFile("/proc/" + strconv.Itoa(r.Keeper) + "/cmdline")
	s.nameOrphans()
	for s.look() || s.left() > 0 || s.unsure { // until a look finds nothing new
		s.signal()
		if time.Since(s.began) > s.longest()+killWait {
			break
		}
		s.await()
	}
	for _, f := range s.strays {
		if f.pidfd >= 0 {
			f.sent = Alive
			s.gone(f)
		}
	}
	report(Report{Done: true})
}

// longest is the longest grace.
func (s *sweep) longest() time.Duration {
	var longest time.Duration
	for _, t := range s.Targets {
		longest = max(longest, t.Grace)
	}
	return longest
}

// nameOrphans says of each orphan whose it is, before any of them is ended.
func (s *sweep) nameOrphans() {
	for _, pid := range s.Orphans {
		p, ok := Look(pid)
		if !ok {
			continue
		}
		mark, _ := s.mark(pid)
		s.report(Report{Process: p, Orphan: true, Mark: mark})
	}
}

// look adds to the strays what is not among them; true if there was any.
func (s *sweep) look() (fresh bool) {
	s.below, s.unsure = descendants(s.Orphans), false
	for _, pid := range process.All() {
		if s.known(pid) || s.targetOf(pid) == nil {
			continue
		}
		if f := s.take(pid); f != nil {
			s.strays = append(s.strays, f)
			fresh = true
		}
	}
	return fresh
}

func (s *sweep) known(pid int) bool {
	return pid == s.self || pid == s.Keeper || pid == s.Engine ||
		slices.ContainsFunc(s.strays, func(f *found) bool { return f.PID == pid && f.pidfd >= 0 })
}

// targetOf is the target whose run process pid is proven to be of, nil for
// none. Only a process of the caller's uid is any target's.
func (s *sweep) targetOf(pid int) *Target {
	t := s.provenOf(pid)
	if t != nil {
		if uid, ok := owner(pid); !ok || uid != s.uid {
			return nil
		}
	}
	return t
}

func (s *sweep) provenOf(pid int) *Target {
	value, readable := s.mark(pid)
	switch {
	case !readable:
		return nil
	case s.inExec(pid):
		s.unsure = true
		return nil
	case value == "":
		return s.holderOf(pid)
	}
	m, ok := ParseMark(value)
	if !ok || m.Lineage != s.Lineage {
		return nil // another supervisor's
	}
	for i := range s.Targets {
		if t := &s.Targets[i]; t.Slot == m.Slot && m.Generation <= t.Generation {
			return t
		}
	}
	return nil
}

// holderOf is the target whose lock process pid holds. Where they do, only
// orphans and what descends from them are looked at, since descriptors are
// many. The child of a fork of the keeper's has copies of all that the keeper holds until it has
// exec'd; it has the keeper's command line as well.
func (s *sweep) holderOf(pid int) *Target {
	orphaned := s.below[pid]
	wanted := func(path string) bool {
		return slices.ContainsFunc(s.Targets, func(t Target) bool { return t.Lock == path && (orphaned || t.Anywhere) })
	}
	if !orphaned && !slices.ContainsFunc(s.Targets, func(t Target) bool { return t.Anywhere }) {
		return nil
	}
	for _, file := range slotlock.Held(pid, wanted) {
		for i := range s.Targets {
			t := &s.Targets[i]
			if t.Lock != file.Path || t.Inode != file.Inode || t.Inode == 0 {
				continue
			}
			words, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			if err != nil || bytes.Equal(words, s.words) {
				return nil
			}
			return t
		}
	}
	return nil
}

// mark is the value of process pid's variable; false if it cannot be read.
func (s *sweep) mark(pid int) (value string, readable bool) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/environ", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	const most = 8 << 20 // the kernel allows 6 MiB
	if s.buf == nil {
		s.buf = make([]byte, 64<<10)
	}
	n := 0
	for n < most {
		if n == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		got, err := unix.Read(fd, s.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", false
		}
		n += got
		if n < len(s.buf) {
			break // the kernel fills the buffer if it can
		}
	}
	value, _ = findMark(s.buf[:n])
	s.length = n
	return value, true
}

// inExec says whether the process whose environment was just read, and was
// empty, may be in the middle of its exec. One that stays as it is has none.
func (s *sweep) inExec(pid int) bool {
	if s.length > 0 {
		delete(s.hidden, pid)
		return false
	}
	if uid, ok := owner(pid); !ok || uid != s.uid {
		return false
	}
	if _, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err != nil {
		return false // a thread of the kernel's, or dead
	}
	if _, met := s.hidden[pid]; !met {
		s.hidden[pid] = time.Now()
	}
	return time.Since(s.hidden[pid]) < execWait
}

// take opens process pid and proves it once more: a signal that would reach it
// after the proof was read shows that pid was its number all along.
func (s *sweep) take(pid int) *found {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	p, alive := Look(pid)
	t := s.targetOf(pid)
	if !alive || t == nil || unix.PidfdSendSignal(pidfd, 0, nil, 0) != nil {
		_ = unix.Close(pidfd)
		return nil
	}
	return &found{Process: p, target: t, pidfd: pidfd}
}

// signal sends every stray what its time has come for.
func (s *sweep) signal() {
	for _, f := range s.strays {
		switch {
		case f.pidfd < 0 || f.sent == Killed:
		case time.Since(s.began) >= f.target.Grace:
			f.sent = Killed
			_ = unix.PidfdSendSignal(f.pidfd, unix.SIGKILL, nil, 0)
		case f.sent == "":
			f.sent = Terminated
			_ = unix.PidfdSendSignal(f.pidfd, unix.SIGTERM, nil, 0)
			_ = unix.PidfdSendSignal(f.pidfd, unix.SIGCONT, nil, 0) // a stopped one hears nothing else
		}
	}
}

// lookAgain is how long strays are waited for until others are looked for,
// lookSoon if one of those may have been in its exec.
const (
	lookAgain = 250 * time.Millisecond
	lookSoon  = 5 * time.Millisecond
)

// await waits until all strays are gone, the next one is to be killed, or it is
// time to look again.
func (s *sweep) await() {
	until := time.Now().Add(lookAgain)
	if s.unsure {
		until = time.Now().Add(lookSoon)
	}
	for _, f := range s.strays {
		if due := s.began.Add(f.target.Grace); f.pidfd >= 0 && f.sent == Terminated && due.Before(until) {
			until = due
		}
	}
	for s.left() > 0 || s.unsure {
		var fds []unix.PollFd
		var of []*found
		for _, f := range s.strays {
			if f.pidfd >= 0 {
				fds, of = append(fds, unix.PollFd{Fd: int32(f.pidfd), Events: unix.POLLIN}), append(of, f)
			}
		}
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if _, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return
		}
		for i := range fds {
			if fds[i].Revents != 0 {
				s.gone(of[i])
			}
		}
	}
}

// gone reports a stray that is done with.
func (s *sweep) gone(f *found) {
	_ = unix.Close(f.pidfd)
	f.pidfd = -1
	s.report(Report{Process: f.Process, Slot: f.target.Slot, End: f.sent})
}

// left counts the strays that are not gone.
func (s *sweep) left() int {
	n := 0
	for _, f := range s.strays {
		if f.pidfd >= 0 {
			n++
		}
	}
	return n
}
