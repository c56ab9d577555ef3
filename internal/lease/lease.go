package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// File is the name of the lock file in a home.
const File = ".hermes.lock"

// fileMode lets every uid that can reach the home find the socket.
const fileMode = 0o644

// ErrLost: another supervisor took the lease over ([TakeOptions.TakeOver])
// while this one was out of touch. The loser must stop supervising.
var ErrLost = errors.New("the lease was taken over by another supervisor")

// HeldError says that a home has another supervisor.
type HeldError struct {
	Home   string
	Record Record // zero where the holder's record cannot be read
	// Expires is when the holder's last heartbeat stops counting; zero when a
	// lock is held, which ends with its holder and cannot be taken over.
	Expires time.Time
}

func (e *HeldError) Error() string {
	if e.Record.PID == 0 {
		return fmt.Sprintf("cannot take %s: another process holds it", e.Home)
	}
	where := "host " + e.Record.Host
	if e.Record.Container != "" {
		where += ", container " + e.Record.Container
	}
	return fmt.Sprintf("cannot take %s: pid %d on %s holds it since %s",
		e.Home, e.Record.PID, where, e.Record.Since.Format(time.RFC3339))
}

// TakeOptions adjust [Take].
type TakeOptions struct {
	// TakeOver ignores another machine's fresh heartbeat, never a held lock.
	TakeOver bool
	// Now is the time of the first heartbeat; zero is the clock's.
	Now time.Time
	// Remote tells whether the file system of a descriptor is remote; nil asks
	// the kernel.
	Remote func(fd int) (bool, error)
}

// Lease is a held home.
type Lease struct {
	fd     int
	home   string
	remote bool

	mu  sync.Mutex // guards rec and the writing of it
	rec Record
}

// Take makes the caller the owner of home and then, not before, publishes rec
// ([Self] plus what the caller knows). It never waits. A home that has an owner
// is a [*HeldError].
func Take(home string, rec Record, o TakeOptions) (*Lease, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Remote == nil {
		o.Remote = remoteFS
	}
	fd, err := lock(home)
	if err != nil {
		return nil, err
	}
	l := &Lease{fd: fd, home: home}
	if err := l.claim(rec, o); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// claim settles, once the lock is held, whether the home may be had, and
// writes the record.
func (l *Lease) claim(rec Record, o TakeOptions) error {
	var err error
	if l.remote, err = o.Remote(l.fd); err != nil {
		return fmt.Errorf("cannot tell the file system of %s: %w", l.home, err)
	}
	if l.remote {
		old, err := readRecord(l.fd)
		if err == nil && !o.TakeOver && !old.SameHost(rec) && fresh(old.Heartbeat, o.Now) {
			return &HeldError{Home: l.home, Record: old, Expires: old.Heartbeat.Add(TakeOverAfter)}
		}
		rec.Heartbeat = o.Now.UTC()
	}
	return l.Update(rec)
}

// Adopt is the lease of home whose locked descriptor fd the caller inherited
// from the process that took it. The Lease owns fd.
func Adopt(fd int, home string) *Lease {
	unix.CloseOnExec(fd)
	l := &Lease{fd: fd, home: home}
	l.rec, _ = readRecord(fd)
	// A heartbeat is on record exactly where the taker found home remote.
	l.remote = !l.rec.Heartbeat.IsZero()
	return l
}

// FD is the locked descriptor, for duplicating into another process that is to
// hold the lease as well. It stays the Lease's.
func (l *Lease) FD() int { return l.fd }

// Remote tells whether the holder owes a [Lease.Beat] every [BeatEvery].
func (l *Lease) Remote() bool { return l.remote }

// Record is what was last published through this Lease.
func (l *Lease) Record() Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rec
}

// Update publishes rec instead of the present record. On a remote file system
// a rec without a heartbeat keeps the last one.
func (l *Lease) Update(rec Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remote && rec.Heartbeat.IsZero() {
		rec.Heartbeat = l.rec.Heartbeat
	}
	return l.writeLocked(rec)
}

// Beat says that the holder lives, at now. On a local file system, where the
// lock says it better, it does nothing. [ErrLost] means that the record is
// another supervisor's by now, and nothing was written.
func (l *Lease) Beat(now time.Time) error {
	if !l.remote {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// A new descriptor, since network file systems promise to show the changes
	// of others on open, not before. Closing it does not touch an OFD lock.
	if cur, _, err := Read(l.home); err == nil && cur.PID != 0 && !cur.Same(l.rec) {
		return ErrLost
	}
	rec := l.rec
	rec.Heartbeat = now.UTC()
	return l.writeLocked(rec)
}

// writeLocked overwrites in place: the lock is on this inode, so no rename,
// and the block is allocated already, so it works on a full disk.
func (l *Lease) writeLocked(rec Record) error {
	b, err := encode(rec)
	if err == nil {
		_, err = unix.Pwrite(l.fd, b, 0)
	}
	if err == nil {
		err = unix.Ftruncate(l.fd, int64(len(b)))
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(l.home, File), err)
	}
	l.rec = rec
	return nil
}

// Release ends an orderly supervision: it wipes the record, so that a remote
// home is free at once for everybody, and closes. The last holder calls it.
func (l *Lease) Release() error {
	l.mu.Lock()
	_, err := unix.Pwrite(l.fd, []byte{'\n'}, 0)
	err = errors.Join(err, unix.Ftruncate(l.fd, 1))
	l.mu.Unlock()
	return errors.Join(err, l.Close())
}

// Close gives the descriptor up. The home is free once every process that has
// a duplicate did so or died.
func (l *Lease) Close() error { return unix.Close(l.fd) }

// Status is what is known of a home's lock.
type Status uint8

// The statuses of a home.
const (
	Unknown Status = iota // the file or its lock cannot be examined
	Free                  // nobody supervises the home
	Held                  // somebody does
)

// Read tells who supervises home. It takes nothing and needs only permission
// to read the file. The record is zero when it is missing, torn or alien;
// with Free it is the last holder's. The error is non-nil with Unknown only.
func Read(home string) (Record, Status, error) {
	path := filepath.Join(home, File)
	fd, err := open(path, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, Free, nil
	}
	if err != nil {
		return Record{}, Unknown, err
	}
	defer unix.Close(fd)
	held, err := isLocked(fd)
	if err != nil {
		return Record{}, Unknown, &os.PathError{Op: "test the lock of", Path: path, Err: err}
	}
	rec, _ := readRecord(fd)
	if !held && fresh(rec.Heartbeat, time.Now()) && !rec.SameHost(Self(time.Time{})) {
		held = true // on a machine whose locks this one does not see
	}
	if held {
		return rec, Held, nil
	}
	return rec, Free, nil
}
