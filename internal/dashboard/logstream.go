package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"hermes/client"
	"hermes/internal/fault"
)

// The rhythm and the bounds of a log on its way to a browser.
const (
	logCalm    = 100 * time.Millisecond // between two batches
	logKept    = 1000                   // lines of a batch; the older ones of it are skipped, and counted
	logWindow  = 20_000                 // lines read per batch: then the log has to wait
	logAgain   = time.Second            // until a log that ended is asked for again
	logMissing = 5 * time.Second        // the same, if there is none
)

// logBatch is what a browser is sent of a log.
type logBatch struct {
	Lines   []string `json:"lines"`
	Skipped int      `json:"skipped,omitempty"` // lines before them, too many to show
	Reset   bool     `json:"reset,omitempty"`   // they are the whole, not more of it
	Error   string   `json:"error,omitempty"`   // why none comes, for now
	Hint    string   `json:"hint,omitempty"`
}

// log sends a gateway's log to a browser: its last lines, then each as it
// comes. A new engine goes on where the last one ended.
func (d *Dashboard) log(w http.ResponseWriter, r *http.Request) {
	s, closeStream := d.openStream(w)
	if s == nil {
		return
	}
	defer closeStream()
	if s.beat() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	b := &logBuffer{wake: make(chan struct{}, 1)}
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	reader.Go(func() { d.readLog(ctx, r, b) })
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		if batch, ok := b.take(); ok {
			data, err := json.Marshal(batch)
			if err != nil || s.send("log", "", data) != nil {
				return
			}
		}
		pause.Reset(logCalm)
		select {
		case <-b.wake:
		case <-beat.C:
			if s.beat() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// readLog reads a log into b until ctx ends, through the ends of engines.
func (d *Dashboard) readLog(ctx context.Context, r *http.Request, b *logBuffer) {
	name := r.PathValue("name")
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
		c, err := d.o.Connect(d.by(r))
		if err == nil {
			b.begin()
			err = c.Log(ctx, name, client.LogQuery{Lines: firstLogLines, Follow: true}, func(line string) error { return b.add(ctx, line) })
		}
		wait := logAgain
		if err != nil {
			b.fail(err)
			if code := fault.CodeOf(err); code == fault.Unreadable || code == fault.GatewayNotRegistered {
				wait = logMissing
			}
		}
		again.Reset(wait)
	}
}

// logBuffer is what was read and not sent yet. It keeps the newest lines: who
// is slow misses what nobody could have read.
type logBuffer struct {
	wake chan struct{} // of capacity 1: there is something

	mu    sync.Mutex // guards all below
	batch logBatch
	some  bool
	read  int           // lines since the last batch
	room  chan struct{} // closed when read is 0 again; nil while there is room
	place logPlace
}

// begin is a new reading of the log, from some lines before its end.
func (b *logBuffer) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.place.again() {
		return
	}
	b.batch = logBatch{Reset: true}
	b.ready()
}

// add takes a line, and waits while there are too many.
func (b *logBuffer) add(ctx context.Context, line string) error {
	b.mu.Lock()
	if b.read >= logWindow && b.room == nil {
		b.room = make(chan struct{})
	}
	room := b.room
	b.mu.Unlock()
	if room != nil {
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.place.news(line) {
		return nil
	}
	b.batch.Lines = append(b.batch.Lines, line)
	b.read++
	if len(b.batch.Lines) >= 2*logKept {
		b.trim()
	}
	b.ready()
	return nil
}

// trim skips all but the newest lines. The caller holds b.mu.
func (b *logBuffer) trim() {
	if more := len(b.batch.Lines) - logKept; more > 0 {
		b.batch.Skipped += more
		b.batch.Lines = slices.Delete(b.batch.Lines, 0, more)
	}
}

// fail notes why no line comes.
func (b *logBuffer) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batch.Error, b.batch.Hint = words(err)
	b.ready()
}

// ready wakes who sends. The caller holds b.mu.
func (b *logBuffer) ready() {
	b.some = true
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take is what is to be sent now.
func (b *logBuffer) take() (batch logBatch, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.some {
		return logBatch{}, false
	}
	b.trim()
	batch = b.batch
	b.batch, b.some, b.read = logBatch{}, false, 0
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
	return batch, true
}

// logPlace is how far a log was shown, by the times its lines begin with, so
// that a log that is read again from some lines before can go on there. Lines of
// the same instant are counted.
type logPlace struct {
	stamp string // of the newest line
	same  int    // how many lines of it there were

	skipTo   string // lines up to this stamp were shown
	skipSame int    // and so many of that very stamp
	skipping bool   // what the line before was, which a line without a stamp goes on
}

// again is a new reading; false if nothing was read before.
func (p *logPlace) again() bool {
	p.skipTo, p.skipSame, p.skipping = p.stamp, p.same, p.stamp != ""
	p.same = 0
	return p.stamp != ""
}

// news says whether a line was not shown before.
func (p *logPlace) news(line string) bool {
	if at := stampOf(line); at != "" {
		switch {
		case at < p.skipTo:
			p.skipping = true
		case at == p.skipTo && p.skipSame > 0:
			p.skipSame--
			p.skipping = true
		default:
			p.skipping = false
		}
		if at >= p.stamp {
			if at != p.stamp {
				p.same = 0
			}
			p.stamp = at
			p.same++
		}
	}
	return !p.skipping
}

// stampOf is the time a line begins with, in the form of package logfile, which
// sorts as the times do; "" if it does not.
func stampOf(line string) string {
	const form = "2006-01-02T15:04:05.000000Z "
	if len(line) < len(form) || line[10] != 'T' || line[26] != 'Z' || line[27] != ' ' {
		return ""
	}
	return line[:len(form)-1]
}
