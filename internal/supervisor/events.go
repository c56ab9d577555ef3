package supervisor

import (
	"cmp"
	"errors"
	"os"
	"time"

	"hermes/api"
	"hermes/internal/config"
	"hermes/internal/event"
	"hermes/internal/lifecycle"
	"hermes/internal/profile"
)

// story is what events tell of a slot. It belongs to the slot's loop.
type story struct {
	begun bool // before, nothing is told
	event.Row
	news    []api.Event     // changes of state since the last publish
	feeding lifecycle.Event // what the table was given last
	found   string          // why the state is one that the table did not lead to
	mute    bool            // such a state is being entered
	exit    *profile.Exit   // of the run that has just ended
	pid     int             // of that run
	asked   bool            // an intent was set by a command that waits for it to be told
}

// introduce begins the slot's story, where the events of an earlier engine, or
// of an earlier name, left it.
func (s *slot) introduce() {
	slot := s.service.slotName()
	row, known := s.fleet.inherit(slot)
	switch {
	case !known:
		cause, _ := s.service.words()
		row = event.NewRow(string(s.name), slot)
		s.fleet.events.Emit(api.Event{
			Kind: api.EventSlot, Profile: row.Profile, Slot: row.Slot, To: api.SlotAdded,
			Cause: cause,
		})
	case row.Profile != string(s.name):
		was := row.Profile
		row.Profile, row.Slot = string(s.name), slot
		s.fleet.events.Emit(api.Event{
			Kind: api.EventSlot, Profile: row.Profile, Slot: row.Slot, From: was, To: api.SlotRenamed,
			Cause: "its profile was called " + was,
		})
	}
	s.story.Row, s.story.begun = row, true
}

// enterAs enters a state that the table did not lead to. It is told if it stays
// so, and differs from what was told before.
func (s *slot) enterAs(to lifecycle.State, why string) {
	s.story.mute, s.story.found = true, why
	s.enter(to)
	s.story.mute = false
}

// noteState keeps a change of state to be told with the next publish.
func (s *slot) noteState(to profile.State) {
	t := &s.story
	if !t.begun || t.mute || t.State == string(to) {
		return
	}
	e := api.Event{
		Kind: api.EventState, Profile: t.Profile, Slot: t.Slot, From: t.State, To: string(to),
		Health: string(s.health()), Cause: s.cause(),
	}
	switch {
	case t.exit != nil:
		e.Exit, e.PID = new(wireExit(*t.exit)), t.pid
		t.exit = nil
	case s.run != nil:
		e.PID = s.run.PID
	}
	t.news = append(t.news, e)
	t.State = e.To
}

// tell tells what has changed since it was last called. Who asked for an intent
// is answered once that is in the file: it is told exactly once, whoever is
// killed.
func (s *slot) tell() {
	t := &s.story
	if !t.begun {
		return
	}
	var told []api.Event
	if t.Generation != s.intent.Generation || t.Intent != string(s.intent.Intent) {
		told = append(told, s.intentEvent())
		t.Intent, t.Generation = string(s.intent.Intent), s.intent.Generation
	}
	if now := s.state.Visible(); t.State != string(now) {
		t.feeding = noEvent // it was found, and entered by nobody
		s.noteState(now)
	}
	t.found = ""
	health := string(s.health())
	switch n := len(t.news); {
	case n > 0:
		t.news[n-1].Health = health
		told = append(told, t.news...)
		t.news = nil
	case health != t.Health:
		e := api.Event{Kind: api.EventHealth, Profile: t.Profile, Slot: t.Slot, From: t.Health, To: health, Cause: "the gateway says so"}
		if s.run != nil {
			e.PID = s.run.PID
		}
		told = append(told, e)
	}
	t.Health, t.exit = health, nil
	if len(told) > 0 {
		s.fleet.events.Emit(told...)
	}
	if t.asked {
		t.asked = false
		s.fleet.events.Flush()
	}
}

// noEvent is none of the table's.
const noEvent lifecycle.Event = 255

// lateAfter is how old an intent is that an earlier engine, or a command
// without one, has set.
const lateAfter = time.Second

// intentEvent tells what is wanted now. By whom is a field of its own; the cause
// is what there is to add to it.
func (s *slot) intentEvent() api.Event {
	i := &s.intent
	e := api.Event{
		Kind: api.EventIntent, Profile: s.story.Profile, Slot: s.story.Slot, From: s.story.Intent, To: string(i.Intent),
		By: i.ChangedBy, Generation: i.Generation,
	}
	if i.Intent == "" {
		e.Cause = "its intent is no longer on record"
	} else if time.Since(i.ChangedAt) > lateAfter {
		e.Cause = "wanted so since " + i.ChangedAt.UTC().Format(time.RFC3339)
	}
	return e
}

// cause says why the state changes, in the words of a person.
func (s *slot) cause() string {
	t := &s.story
	if t.exit != nil {
		return s.exitCause(t.exit)
	}
	switch t.feeding {
	case lifecycle.Start:
		return "it is wanted running"
	case lifecycle.Restart:
		return "a restart was asked for"
	case lifecycle.Stop:
		switch {
		case s.fleet.closing.Load():
			return "everything shuts down"
		case s.gone:
			return "its slot is removed"
		}
		return "it is wanted stopped"
	case lifecycle.Ready:
		if s.setup.ready.Kind == config.ReadyExec {
			return "it was executed, and is not asked whether it is ready"
		}
		return "it is ready"
	case lifecycle.RetryDue:
		return "its wait is over"
	case lifecycle.StartTimeout, lifecycle.Refused, lifecycle.SpawnFailed:
		return s.reason
	default: // what exits is above, the others show no change
		return cmp.Or(t.found, s.reason, "it was found so")
	}
}

func (s *slot) exitCause(e *profile.Exit) string {
	switch {
	case e.Asked:
		return "it stopped as asked (" + e.String() + ")"
	case s.reason != "":
		return s.reason
	}
	return "it ended by itself (" + e.String() + ")"
}

// inherit is what is known of a slot that is about to be made, once.
func (f *Fleet) inherit(slot string) (event.Row, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	row, known := f.heritage[slot]
	delete(f.heritage, slot)
	return row, known
}

// bequeath keeps what was told of a slot for the one that follows it under
// another name.
func (f *Fleet) bequeath(row event.Row, to profile.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heritage[to.Slot()] = row
}

// forsake tells of the slots that nobody has followed.
func (f *Fleet) forsake(why string) {
	f.mu.Lock()
	left := f.heritage
	f.heritage = event.Table{}
	f.mu.Unlock()
	for _, row := range left {
		f.tellRemoved(row, why)
	}
}

func (f *Fleet) tellRemoved(row event.Row, why string) {
	f.events.Emit(api.Event{Kind: api.EventSlot, Profile: row.Profile, Slot: row.Slot, To: api.SlotRemoved, Cause: why})
}

// tellEngine tells what becomes of this engine.
func (f *Fleet) tellEngine(to, cause string) {
	f.events.Emit(api.Event{Kind: api.EventEngine, To: to, Cause: cause, PID: os.Getpid()})
}

// beginEvents goes on from what earlier engines told. The history was read
// while the fleet was looked at.
func (f *Fleet) beginEvents(returning bool) {
	before := f.events.Before()
	f.mu.Lock()
	f.heritage = before
	f.mu.Unlock()
	if returning {
		f.tellEngine(api.EngineReturned, "a new engine took over; gateways lived on")
	} else {
		f.tellEngine(api.EngineBooted, "hermes "+f.options.Version+" supervises this home")
	}
	f.events.Flush() // however soon it is killed
}

// noteEvents shows whether events cannot be written, and why.
func (f *Fleet) noteEvents() {
	if failing := f.events.Stats().Failing; failing != "" {
		f.notices.set(eventsUnwritten, "", errors.New("events are not written, and lost with the engine: "+failing))
		return
	}
	f.notices.clear(eventsUnwritten, "")
}
