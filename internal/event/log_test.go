package event_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hermes/api"
	"hermes/internal/event"
)

// open is a log that is closed with the test.
func open(t testing.TB, o event.Options) *event.Log {
	t.Helper()
	l := event.Open(o)
	t.Cleanup(l.Close)
	return l
}

// state is a change of one slot's state.
func state(profile, from, to string) api.Event {
	return api.Event{Kind: api.EventState, Profile: profile, Slot: "gateway-" + profile, From: from, To: to, Health: "unknown", Cause: "a test"}
}

func emitMany(l *event.Log, n int) {
	for i := range n {
		l.Emit(state(fmt.Sprintf("p%d", i%7), "stopped", "starting"))
	}
}

func ids(list []api.Event) []uint64 {
	var all []uint64
	for _, e := range list {
		all = append(all, e.ID)
	}
	return all
}

// ascending checks that the ids follow each other.
func ascending(t *testing.T, list []api.Event) {
	t.Helper()
	if got := ids(list); !slices.IsSorted(got) || len(slices.Compact(got)) != len(list) {
		t.Errorf("ids do not ascend: %v", ids(list))
	}
}

func TestPage(t *testing.T) {
	for _, home := range []bool{false, true} {
		t.Run(fmt.Sprintf("home=%v", home), func(t *testing.T) {
			o := event.Options{Ring: 64}
			if home {
				o.Home = t.TempDir()
			}
			l := open(t, o)
			emitMany(l, 50)
			l.Flush()
			all := l.Page(event.Query{})
			ascending(t, all.Events)
			if len(all.Events) != 50 || all.Gone || all.More || all.Last != l.Last() || all.Events[0].At.IsZero() {
				t.Fatalf("%d events, last %d, gone %v, more %v", len(all.Events), all.Last, all.Gone, all.More)
			}
			first := all.Events[0].ID
			for name, c := range map[string]struct {
				q    event.Query
				want []uint64
				last uint64
				more bool
			}{
				"after":               {event.Query{After: first + 47}, []uint64{first + 48, first + 49}, first + 49, false},
				"after, limited":      {event.Query{After: first + 9, Limit: 2}, []uint64{first + 10, first + 11}, first + 11, true},
				"the last":            {event.Query{After: first + 49}, nil, first + 49, false},
				"of another home":     {event.Query{After: first + 4900}, nil, first + 49, false},
				"newest":              {event.Query{Newest: true, Limit: 2}, []uint64{first + 48, first + 49}, first + 49, false},
				"of a profile":        {event.Query{Profile: "p6", Limit: 2}, []uint64{first + 6, first + 13}, first + 13, true},
				"of a slot":           {event.Query{Profile: "gateway-p6", After: first + 40}, []uint64{first + 41, first + 48}, first + 49, false},
				"newest of a profile": {event.Query{Profile: "p0", Newest: true, Limit: 1}, []uint64{first + 49}, first + 49, false},
				"of nobody":           {event.Query{Profile: "nobody"}, nil, first + 49, false},
			} {
				got := l.Page(c.q)
				if !slices.Equal(ids(got.Events), c.want) || got.Last != c.last || got.More != c.more || got.Gone {
					t.Errorf("%s: %v, %+v", name, ids(got.Events), got)
				}
			}
		})
	}
}

// TestNext: a reader waits for what comes, and misses nothing of it.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, event.Options{Home: t.TempDir()})
		after := l.Last()
		var got []api.Event
		done := make(chan struct{})
		go func() {
			defer close(done)
			for len(got) < 100 {
				list, err := l.Next(t.Context(), event.Query{After: after})
				if err != nil {
					t.Error(err)
					return
				}
				got, after = append(got, list.Events...), list.Last
			}
		}()
		for range 10 {
			emitMany(l, 10)
			<-time.After(7 * time.Millisecond)
		}
		<-done
		ascending(t, got)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Next(ctx, event.Query{After: after}); err != context.DeadlineExceeded {
			t.Errorf("nothing came, and Next answered %v", err)
		}
	})
}

// TestSuccessor: the log of the next engine goes on where the one before was
// killed, with every event that was told.
func TestSuccessor(t *testing.T) {
	home := t.TempDir()
	var told []api.Event
	for range 3 {
		l := open(t, event.Options{Home: home}) // never closed before the next
		emitMany(l, 30)
		l.Flush()
		told = append(told, l.Page(event.Query{After: l.Last() - 30}).Events...)
		if got := l.Page(event.Query{}); !slices.Equal(ids(got.Events), ids(told)) || got.Gone {
			t.Fatalf("%d events told, %d kept, %+v", len(told), len(got.Events), got.Gone)
		}
	}
	ascending(t, told)
}
