package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// eventStream is an answer as server-sent events. Its header goes out with the
// first event or, should the provider think for long, with the first comment
// that keeps the connection alive; until then the answer can still be an error
// with a status of its own.
type eventStream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	limit limits

	mu    sync.Mutex // guards what is below, and the order of writes
	begun bool
	last  time.Time // of the latest write
	buf   []byte
	err   error // of the first write that failed
}

func newEventStream(w http.ResponseWriter, l limits) *eventStream {
	return &eventStream{w: w, rc: http.NewResponseController(w), limit: l, last: time.Now()}
}

// send writes an event. With more, another one follows at once and the event
// may wait for it; else, and if it is the first, it is on its way when send
// returns.
func (s *eventStream) send(e event, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = appendEvent(s.buf[:0], e)
	return s.writeLocked(s.buf, more && s.begun)
}

func (s *eventStream) writeLocked(b []byte, more bool) error {
	if s.err != nil {
		return s.err
	}
	s.beginLocked()
	s.last = time.Now()
	// A client that takes nothing for so long is gone; that it cannot be told
	// to a test's recorder does not matter.
	_ = s.rc.SetWriteDeadline(s.last.Add(s.limit.write))
	if _, s.err = s.w.Write(b); s.err == nil && !more {
		s.err = s.rc.Flush()
	}
	return s.err
}

func (s *eventStream) beginLocked() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", contentEvents)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would keep the deltas until they fill a buffer
	s.w.WriteHeader(http.StatusOK)
}

// keepAlive writes a comment whenever there was nothing to say for long, so
// that nothing between us and the client takes the connection for dead. It
// returns when ctx is done.
func (s *eventStream) keepAlive(ctx context.Context) {
	t := time.NewTimer(s.limit.keepAlive)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			t.Reset(s.comment())
		}
	}
}

// comment writes one if it is time, and says when to ask again.
func (s *eventStream) comment() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.limit.keepAlive - time.Since(s.last); left > 0 {
		return left
	}
	_ = s.writeLocked([]byte(": keepalive\n\n"), false) // kept in s.err
	return s.limit.keepAlive
}

// hasBegun reports that the status is out.
func (s *eventStream) hasBegun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}
