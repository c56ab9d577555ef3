package logfile

import (
	"errors"
	"time"
)

// storeLocked writes p to the file, or counts it as lost.
func (l *Log) storeLocked(now time.Time, p, stamp []byte) {
	out := l.pool.chunks.Get().(*chunkBuffer)
	defer l.pool.chunks.Put(out)
	for len(p) > 0 {
		if err := l.readyLocked(now); err != nil {
			if !errors.Is(err, errWaiting) {
				l.failLocked(now, err)
			}
			l.loseLocked(now, p)
			return
		}
		inLine := l.file.inLine
		chunk, n := fill(out[:0], p, stamp, inLine, l.roomLocked())
		written, err := l.file.write(chunk)
		if err != nil {
			n = payload(chunk[:written], inLine)
			l.failLocked(now, err)
		}
		l.countWritten(n, err != nil)
		p = p[n:]
	}
}

// roomLocked is what may go into the file, in one chunk, before it is full.
func (l *Log) roomLocked() room {
	left := l.maxSize - l.file.size
	return room{soft: int(max(left-l.slack(), 0)), hard: int(min(left, chunkSize))}
}

// slack is how far from its end a file counts as full at the end of a line: a
// line up to this long is never divided between files. 2000 is s6-log's.
func (l *Log) slack() int64 {
	return max(2000, min(l.maxSize/32, batchSize))
}

func (l *Log) fullLocked() bool {
	left := l.maxSize - l.file.size
	return left <= 0 || !l.file.inLine && left < l.slack()
}

// Why readyLocked gives up without having tried everything.
var (
	errWaiting = errors.New("the file failed a moment ago")
	errRestive = errors.New("somebody else keeps replacing the file")
)

// readyLocked makes sure that there is an open current with room in it, and
// that it says what was lost. A full file is archived only when there is more
// to write: so the last byte of the log is always in current, where a successor
// looks for it.
func (l *Log) readyLocked(now time.Time) error {
	if l.file == nil && now.Before(l.retry) {
		return errWaiting
	}
	for range 8 { // open, cut, replace, open, mark and some for a stranger's doings
		var err error
		switch {
		case l.file == nil:
			err = l.openLocked(now)
		case l.cut && l.file.inLine:
			err = l.cutLocked()
		case l.fullLocked() || now.Sub(l.checked) >= patience:
			err = l.checkLocked(now)
		case l.gap.bytes+l.dropped.bytes > 0:
			err = l.markGapLocked(now)
		default:
			l.cut = false
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errRestive
}

// openLocked opens current. One that must not be written to is archived first.
func (l *Log) openLocked(now time.Time) error {
	d, err := l.place.open()
	if err != nil {
		return err
	}
	defer d.close()
	f, err := l.place.openCurrent(d)
	kind := byte(0)
	switch {
	case errors.Is(err, errShared):
		kind = safe
	case err == nil && l.fresh && f.inLine:
		kind = unfinished
		f.close()
	}
	if kind != 0 {
		if err = d.archive(now, kind, l.maxFiles-1); err == nil {
			f, err = l.place.openCurrent(d)
		}
	}
	if err != nil {
		return err
	}
	l.file, l.fresh, l.torn, l.checked = f, false, false, now
	l.pool.opened(l)
	return nil
}

// checkLocked lets go of a file that is no longer current, and replaces a full
// one.
func (l *Log) checkLocked(now time.Time) error {
	d, err := l.place.open()
	if err != nil {
		return err
	}
	defer d.close()
	l.checked = now
	if !l.file.isCurrent(d) {
		l.dropFileLocked()
		return nil
	}
	if !l.fullLocked() {
		return nil
	}
	if err := d.archive(now, safe, l.maxFiles-1); err != nil {
		return err
	}
	inLine := l.file.inLine
	l.dropFileLocked()
	if l.file, err = l.place.openCurrent(d); err != nil {
		return err
	}
	l.file.inLine = inLine // the line goes on here
	return nil
}

// cutLocked ends the line in which the file ends.
func (l *Log) cutLocked() error {
	if !l.file.inLine {
		return nil
	}
	_, err := l.file.write([]byte{'\n'})
	return err
}

// rest closes the file of a log that nobody is writing, until there is more to
// write; false if somebody is.
func (l *Log) rest() bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.file != nil {
		l.torn = l.file.inLine
		l.dropFileLocked()
	}
	return true
}

func (l *Log) dropFileLocked() {
	if l.file != nil {
		l.file.close()
		l.file = nil
	}
}
