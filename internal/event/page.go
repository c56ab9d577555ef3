package event

import (
	"context"

	"hermes/api"
)

// Page answers a query with all that was emitted. Without a limit that is all
// there is.
func (l *Log) Page(q Query) api.EventList {
	<-l.ready
	l.hurry()
	if q.Newest {
		return l.newest(q)
	}
	return l.page(q)
}

// page is Page with what may be told now.
func (l *Log) page(q Query) api.EventList {
	l.mu.Lock()
	q.After = min(q.After, l.visible)
	l.mu.Unlock()
	list := api.EventList{Events: []api.Event{}, Last: q.After}
	for !list.More {
		if l.fromRing(&q, &list) {
			return list
		}
		l.fromFiles(&q, &list)
	}
	return list
}

// fromRing adds what the ring has after list.Last; false if that begins before
// the ring.
func (l *Log) fromRing(q *Query, list *api.EventList) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if list.Last+1 < l.firstLocked() {
		return false
	}
	for list.Last < l.visible {
		if q.full(len(list.Events)) {
			list.More = true
			break
		}
		// Between the lives of two engines ids are missing.
		e := l.ring.at(max(list.Last+1, l.base))
		list.Last = e.ID
		if q.matches(e) {
			list.Events = append(list.Events, *e)
		}
	}
	return true
}

// firstLocked is the id of the oldest event in memory, or what it will be.
func (l *Log) firstLocked() uint64 {
	if id, ok := l.ring.oldest(); ok {
		return id
	}
	return l.next
}

// fromFiles adds what the files have before the ring. What is in neither is
// gone, and list.Last is before the ring's first then.
func (l *Log) fromFiles(q *Query, list *api.EventList) {
	l.mu.Lock()
	first, base := l.firstLocked(), l.base
	l.mu.Unlock()
	if l.history != nil {
		rest := *q
		rest.After = list.Last
		if q.Limit > 0 {
			rest.Limit = q.Limit - len(list.Events)
		}
		if q.full(len(list.Events)) {
			list.More = true
			return
		}
		got, _ := l.history.page(rest, first) // what cannot be read is gone
		list.Gone = list.Gone || got.Gone
		list.Events = append(list.Events, got.Events...)
		list.More = got.More
		if got.Last > list.Last {
			list.Last = got.Last
			return // there may be more: a file may have been filled meanwhile
		}
	}
	list.Gone = list.Gone || first > max(list.Last+1, base)
	list.Last = first - 1
}

// newest is Page for the newest events.
func (l *Log) newest(q Query) api.EventList {
	l.mu.Lock()
	list := api.EventList{Events: []api.Event{}, Last: l.visible}
	first := l.firstLocked()
	for id := first; id <= l.visible; id++ {
		if e := l.ring.at(id); q.matches(e) {
			list.Events = append(list.Events, *e)
		}
	}
	l.mu.Unlock()
	switch n := len(list.Events); {
	case q.full(n):
		list.Events = list.Events[n-q.Limit:]
	case l.history != nil:
		if q.Limit > 0 {
			q.Limit -= n
		}
		older, _ := l.history.page(q, first)
		list.Events = append(older.Events, list.Events...)
	}
	return list
}

// Next waits until there is something after q.After, and answers as
// [Log.Page]; there may be none that matches. The error is ctx's.
func (l *Log) Next(ctx context.Context, q Query) (api.EventList, error) {
	q.After = min(q.After, l.Last())
	if err := l.wait(ctx, q.After); err != nil {
		return api.EventList{Last: q.After}, err
	}
	return l.page(q), nil
}
