package dashboard

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"hermes/api"
)

// How often the engine is asked. An event or an action is followed at once.
const (
	watchedEvery = 2 * time.Second        // while a page is open
	blindEvery   = 500 * time.Millisecond // the same, without a stream of events
	idleEvery    = sampleEvery            // while none is: for the memory charts
	awayEvery    = 500 * time.Millisecond // while the engine does not answer
	pollLeast    = 100 * time.Millisecond // between two questions, whatever happens
	pollPatience = 2 * time.Second        // an engine that has not answered by then is away
)

// maxGone is how many removed profiles are remembered, for pages that have not
// heard of them.
const maxGone = 1000

// head is what the page shows beside the rows. Times as in row.
type head struct {
	Manager string       `json:"manager"`
	Engine  string       `json:"engine"`
	Home    string       `json:"home"`
	Version string       `json:"version"`
	Counts  counts       `json:"counts"`
	Notices []api.Notice `json:"notices"`
	// Known says that the engine has answered since the dashboard began.
	Known bool `json:"known"`
	// Away is since when the engine does not answer, Why what was said last.
	Away int64  `json:"away"`
	Why  string `json:"why"`
	Hint string `json:"hint"`
	// NewEngine is since when the present engine is there, if the dashboard
	// has seen another one before.
	NewEngine int64 `json:"new_engine"`
	EnginePID int   `json:"engine_pid"`
}

func (h head) equal(o head) bool {
	if !slices.Equal(h.Notices, o.Notices) {
		return false
	}
	return h.Manager == o.Manager && h.Engine == o.Engine && h.Home == o.Home && h.Version == o.Version &&
		h.Counts == o.Counts && h.Known == o.Known && h.Away == o.Away && h.Why == o.Why && h.Hint == o.Hint &&
		h.NewEngine == o.NewEngine && h.EnginePID == o.EnginePID
}

// update is what a page has to hear to be up to date.
type update struct {
	Seq  uint64   `json:"seq"`
	Now  int64    `json:"now"`            // of the dashboard's clock
	Full bool     `json:"full,omitempty"` // Set is all there is
	Set  []row    `json:"set,omitempty"`
	Gone []string `json:"gone,omitempty"`
	Head *head    `json:"head,omitempty"`
}

// hub knows the fleet as it was last seen, and who wants to know.
type hub struct {
	ask  func(ctx context.Context) (api.Fleet, error)
	log  *slog.Logger
	kick chan struct{} // of capacity 1: ask now

	mu       sync.Mutex // guards all below
	rows     []row      // sorted by profile, never changed once here
	stamps   map[string]uint64
	gone     map[string]uint64
	goneFrom uint64 // changes up to this one may be missing in gone
	head     head
	headAt   uint64
	seq      uint64
	polled   time.Time     // the last answer, or failure
	next     chan struct{} // closed at the next answer or failure
	events   bool          // the engine tells its events
	last     uint64        // the event after which the rows are out of date
	watchers map[chan struct{}]struct{}
	memory   *samples
}

func newHub(ask func(context.Context) (api.Fleet, error), log *slog.Logger) *hub {
	return &hub{
		ask: ask, log: log, kick: make(chan struct{}, 1),
		stamps: map[string]uint64{}, gone: map[string]uint64{},
		watchers: map[chan struct{}]struct{}{}, memory: newSamples(), next: make(chan struct{}),
		// A clock's time and not 0: a page of the dashboard's last life must not
		// take its numbers for this one's.
		seq: uint64(time.Now().UnixMicro()),
	}
}

// run asks until ctx ends.
func (h *hub) run(ctx context.Context) {
	h.mu.Lock()
	h.goneFrom = h.seq
	h.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.kick:
			if !h.rest(ctx) {
				return
			}
		}
		h.poll(ctx)
		timer.Reset(h.interval())
	}
}

// listen has the engine asked whenever it tells that something happened, until
// ctx ends.
func (h *hub) listen(ctx context.Context, connect func() (Teller, error)) {
	for ctx.Err() == nil {
		h.mu.Lock()
		known, after, next := h.head.Known, h.last, h.next
		h.mu.Unlock()
		if !known { // from when on is not known yet
			select {
			case <-next:
			case <-ctx.Done():
			}
			continue
		}
		if c, err := connect(); err == nil {
			h.follow(ctx, c, after)
		}
		pause := time.NewTimer(watchedEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// follow asks at every event until the engine tells no more.
func (h *hub) follow(ctx context.Context, c Teller, after uint64) {
	defer h.hears(false)
	for _, err := range c.Events(ctx, after, "") {
		if err != nil {
			return
		}
		h.hears(true)
		h.soon()
	}
}

// hears notes whether the engine tells its events.
func (h *hub) hears(events bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = events
}

// rest waits until pollLeast has passed since the last question; false when ctx
// has ended.
func (h *hub) rest(ctx context.Context) bool {
	h.mu.Lock()
	left := pollLeast - time.Since(h.polled)
	h.mu.Unlock()
	if left <= 0 {
		return true
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// soon has the engine asked at once.
func (h *hub) soon() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

func (h *hub) interval() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.head.Away != 0:
		return awayEvery
	case len(h.watchers) == 0:
		return idleEvery
	case h.events:
		return watchedEvery
	}
	return blindEvery
}

// poll asks once and tells the watchers what is new.
func (h *hub) poll(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, pollPatience)
	defer cancel()
	fleet, err := h.ask(bounded)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	if err != nil {
		h.lost(now, err)
		return
	}
	rows := make([]row, len(fleet.Gateways))
	for i := range fleet.Gateways {
		rows[i] = rowOf(&fleet.Gateways[i])
	}
	h.learn(now, &fleet, sortRows(rows))
}

// learn takes up an answer.
func (h *hub) learn(now time.Time, fleet *api.Fleet, rows []row) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory.add(now, rows)
	settle(h.rows, rows)
	c := diff(h.rows, rows)
	next := head{
		Manager: fleet.Manager, Engine: fleet.Engine, Home: fleet.Home, Version: fleet.Version,
		Counts: countRows(rows), Notices: fleet.Notices, Known: true,
		EnginePID: fleet.EnginePID, NewEngine: h.head.NewEngine,
	}
	if h.head.EnginePID != 0 && fleet.EnginePID != h.head.EnginePID {
		next.NewEngine = now.UnixMilli()
	}
	if h.head.Away != 0 {
		h.log.Info("engine answers again", "away", now.Sub(time.UnixMilli(h.head.Away)).Round(time.Millisecond).String())
	}
	h.heard(now)
	h.last = fleet.LastEvent
	changed := !c.empty() || !next.equal(h.head)
	if changed {
		h.seq++
	}
	for _, r := range c.set {
		h.stamps[r.Profile] = h.seq
		delete(h.gone, r.Profile)
	}
	for _, name := range c.gone {
		delete(h.stamps, name)
		h.gone[name] = h.seq
		h.memory.drop(name)
	}
	if len(h.gone) > maxGone {
		clear(h.gone)
		h.goneFrom = h.seq
	}
	h.rows = rows
	h.show(next)
	if changed {
		h.tell()
	}
}

// lost notes that the engine did not answer.
func (h *hub) lost(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard(now)
	next := h.head
	if next.Away == 0 {
		next.Away = now.UnixMilli()
		h.log.Warn("engine does not answer", "error", err)
	}
	next.Why, next.Hint = words(err)
	if !next.equal(h.head) {
		h.seq++
		h.show(next)
		h.tell()
	}
}

// heard ends the waits for an answer. The caller holds h.mu.
func (h *hub) heard(now time.Time) {
	h.polled = now
	close(h.next)
	h.next = make(chan struct{})
}

// show sets what the page shows beside the rows. The caller holds h.mu, and has
// counted h.seq up if this is a change.
func (h *hub) show(next head) {
	if !next.equal(h.head) {
		h.head, h.headAt = next, h.seq
	}
}

// tell wakes the watchers. The caller holds h.mu.
func (h *hub) tell() {
	for w := range h.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// watch registers a watcher: the channel has something while there may be
// something new. The engine is asked at once if that was long ago.
func (h *hub) watch() (wake <-chan struct{}, leave func()) {
	w := make(chan struct{}, 1)
	h.mu.Lock()
	h.watchers[w] = struct{}{}
	h.mu.Unlock()
	h.soon()
	return w, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}
}

// since is what changed after since. Without an only, of all profiles.
func (h *hub) since(since uint64, only string) update {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := update{Seq: h.seq, Now: time.Now().UnixMilli()}
	u.Full = since < h.goneFrom || since > h.seq
	if u.Full {
		since = 0
	}
	for i := range h.rows {
		if h.stamps[h.rows[i].Profile] > since && (only == "" || only == h.rows[i].Profile) {
			u.Set = append(u.Set, h.rows[i])
		}
	}
	for name, at := range h.gone {
		if at > since && !u.Full && (only == "" || only == name) {
			u.Gone = append(u.Gone, name)
		}
	}
	slices.Sort(u.Gone)
	if h.headAt > since {
		u.Head = new(h.head)
	}
	return u
}

// now is the fleet as it was last seen. rows must not be changed.
func (h *hub) now() (rows []row, shown head, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rows, h.head, h.seq
}

// one is the row of a profile.
func (h *hub) one(name string) (row, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := slices.BinarySearchFunc(h.rows, name, func(r row, name string) int { return strings.Compare(r.Profile, name) })
	if !ok {
		return row{}, false
	}
	return h.rows[i], true
}

// freshPatience is how long a page waits for an answer that is newer than
// freshEnough; after that it shows what is known.
const (
	freshEnough   = time.Second
	freshPatience = 500 * time.Millisecond
)

// fresh sees to it that what now tells is not old, as far as that is quick.
// After an action it is not old if it was asked for since.
func (h *hub) fresh(ctx context.Context, since time.Time) {
	h.mu.Lock()
	old := h.polled.Before(since) || time.Since(h.polled) > freshEnough
	next := h.next
	h.mu.Unlock()
	if !old {
		return
	}
	h.soon()
	patience := time.NewTimer(freshPatience)
	defer patience.Stop()
	select {
	case <-next:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// samples are the memory samples of a profile, oldest first.
func (h *hub) samples(name string) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory.of(name)
}
