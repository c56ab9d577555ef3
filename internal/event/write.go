package event

import (
	"maps"
	"time"

	"hermes/api"
)

// write writes what is pending, and lets it be told.
func (l *Log) write() {
	if l.history == nil {
		return
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	if l.due != nil {
		l.due.Stop()
		l.due = nil
	}
	upTo := l.next - 1
	done := l.closed || l.written >= upTo
	l.mu.Unlock()
	if done {
		return // somebody else wrote it meanwhile
	}
	stall := time.AfterFunc(stalled, func() { l.reveal(upTo) })
	defer stall.Stop()
	for time.Now().After(l.retry) && l.writeSome() {
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revealLocked(max(l.written, upTo)) // written or not
	if l.failing != "" {
		l.revealLocked(l.next - 1)
	}
	if l.written < l.next-1 {
		l.writeInLocked(max(gather, time.Until(l.retry)))
	}
}

func (l *Log) reveal(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revealLocked(id)
}

// writeSome writes a batch; false if nothing is pending or it failed. The
// caller holds writing.
func (l *Log) writeSome() bool {
	l.mu.Lock()
	events := l.pendingLocked()
	l.mu.Unlock()
	if len(events) == 0 {
		return false
	}
	n, err := l.history.append(events, l.snapshot)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events[:n] {
		if events[i].ID > l.written { // it was not given up meanwhile
			l.table.Apply(&events[i])
			l.written = events[i].ID
		}
	}
	if err != nil {
		l.failing = err.Error()
		l.retry = time.Now().Add(retryAfter)
		return false
	}
	l.failing = ""
	if l.lost.n > 0 {
		l.emitLocked(l.lost.event(), time.Now())
		l.lost.n = 0
	}
	return true
}

// pendingLocked copies the oldest events that are not written, a batch at most.
// The copy is the caller's until the next one.
func (l *Log) pendingLocked() []api.Event {
	l.batch = l.batch[:0]
	for id := l.written + 1; id < l.next && len(l.batch) < batch; id++ {
		l.batch = append(l.batch, *l.ring.at(id))
	}
	return l.batch
}

// snapshot is what is known up to the last event written.
func (l *Log) snapshot() (Table, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written < l.base {
		return maps.Clone(l.table), l.last
	}
	return maps.Clone(l.table), l.written
}
