package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The rhythm of a stream to a browser.
const (
	calm       = 250 * time.Millisecond // between two updates
	heartbeat  = 15 * time.Second       // proxies end what is silent
	writeGrace = 10 * time.Second       // of one piece; a browser that takes none is gone
	retryAfter = "5"                    // seconds, when there are too many streams
)

// sse writes server-sent events.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// openStream begins an answer of server-sent events. Without one, it has
// answered. The stream is to be closed.
func (d *Dashboard) openStream(w http.ResponseWriter) (s *sse, closeStream func()) {
	select {
	case d.streams <- struct{}{}:
	default:
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "too many pages are open: close some", http.StatusServiceUnavailable)
		return nil, nil
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep it
	s = &sse{w, http.NewResponseController(w)}
	return s, func() { <-d.streams }
}

// send writes an event; a name or an id that is "" is left out. The data is one
// line.
func (s *sse) send(name, id string, data []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeGrace))
	if name != "" {
		fmt.Fprintf(s.w, "event: %s\n", name)
	}
	if id != "" {
		fmt.Fprintf(s.w, "id: %s\n", id)
	}
	if _, err := fmt.Fprintf(s.w, "data: %s\n\n", data); err != nil {
		return err
	}
	return s.rc.Flush()
}

// beat writes a comment, which tells that the stream lives.
func (s *sse) beat() error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeGrace))
	if _, err := fmt.Fprint(s.w, ":\n\n"); err != nil {
		return err
	}
	return s.rc.Flush()
}

// stream sends what changes in the fleet, or of the one profile of the query,
// after the number that the page was made with.
func (d *Dashboard) stream(w http.ResponseWriter, r *http.Request) {
	s, closeStream := d.openStream(w)
	if s == nil {
		return
	}
	defer closeStream()
	wake, leave := d.hub.watch()
	defer leave()
	only := r.URL.Query().Get("profile")
	seen := cursor(r)
	if s.beat() != nil { // the head goes out: the browser knows it is connected
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select { // at most one update per pause
		case <-pause.C:
		case <-r.Context().Done():
			return
		case <-d.life.Done():
			return
		}
		u := d.hub.since(seen, only)
		seen = u.Seq
		if u.Full || u.Head != nil || len(u.Set)+len(u.Gone) > 0 {
			if s.update(u) != nil {
				return
			}
		}
		pause.Reset(calm)
		select {
		case <-wake:
		case <-beat.C:
			if s.beat() != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-d.life.Done():
			return
		}
	}
}

func (s *sse) update(u update) error {
	data, err := json.Marshal(u) // a JSON text has no line ends
	if err != nil {
		return err
	}
	return s.send("fleet", strconv.FormatUint(u.Seq, 10), data)
}

// cursor is the number a page has seen: that of the stream it lost, else that
// of its making. 0 for none.
func cursor(r *http.Request) uint64 {
	for _, text := range []string{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("since")} {
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	return 0
}
