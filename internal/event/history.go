package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"hermes/api"
)

// Query is what somebody wants to know.
type Query struct {
	// After is the id after which the events begin; Newest asks instead for the
	// newest Limit events.
	After  uint64
	Newest bool
	// Profile is a profile or a slot; "" is all.
	Profile string
	// Limit is how many events at most; 0 is as many as there are.
	Limit int
}

func (q *Query) matches(e *api.Event) bool {
	return q.Profile == "" || e.Profile == q.Profile || e.Slot == q.Profile
}

// full says whether n events are enough.
func (q *Query) full(n int) bool { return q.Limit > 0 && n >= q.Limit }

// maxID is what JavaScript can count to; ids get there in 2255.
const maxID = 1 << 53

// content is one file's.
type content struct {
	begin   uint64 // its events have greater ids
	known   Table  // nil without a header
	lines   []byte // after the header
	skipped int    // 1 if it has no header
}

// parseContent takes a file apart. begin is what its name says.
func parseContent(data []byte, begin uint64) content {
	first, rest, _ := bytes.Cut(data, []byte{'\n'})
	var h header
	if !bytes.HasPrefix(first, []byte(`{"after":`)) || json.Unmarshal(first, &h) != nil || h.After == nil || *h.After > maxID {
		return content{begin: begin, lines: data, skipped: 1}
	}
	c := content{begin: *h.After, lines: rest, known: make(Table, len(h.Slots))}
	for _, row := range h.Slots {
		c.known[row.Slot] = row
	}
	return c
}

// each calls do for the events with ids between after and before, until it
// returns false.
func (c *content) each(after, before uint64, do func(*api.Event) bool) {
	c.eachBy(Parse, after, before, do)
}

// skim is each for who needs of the events what a table does. It returns how
// many lines made no sense.
func (c *content) skim(after uint64, do func(*api.Event) bool) (skipped int) {
	s := skimmer{words: map[string]string{}}
	return c.eachBy(func(line []byte, e *api.Event) error {
		if s.skim(line, e) {
			return nil
		}
		*e = api.Event{}
		return Parse(line, e)
	}, after, ^uint64(0), do)
}

func (c *content) eachBy(parse func([]byte, *api.Event) error, after, before uint64, do func(*api.Event) bool) (skipped int) {
	rest := c.lines
	last := after
	var e api.Event // do must not keep it
	for len(rest) > 0 {
		line, more, ended := bytes.Cut(rest, []byte{'\n'})
		rest = more
		id, ok := idOf(line)
		if ok && id <= after {
			continue // without a closer look
		}
		e = api.Event{}
		switch err := parse(line, &e); {
		case err != nil && (len(line) > 0 || !ended):
			skipped++
		case err != nil: // the empty line that ends a torn one
		case e.ID <= last:
			skipped++
		case e.ID >= before:
			return skipped
		default:
			last = e.ID
			if !do(&e) {
				return skipped
			}
		}
	}
	return skipped
}

// idOf reads the id at the beginning of a line.
func idOf(line []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":`))
	digits, _, found := bytes.Cut(rest[:min(len(rest), 24)], []byte{','})
	if !ok || !found {
		return 0, false
	}
	id, err := strconv.ParseUint(string(digits), 10, 64)
	return id, err == nil
}

// Parse reads a line as [Append] writes it.
func Parse(line []byte, e *api.Event) error {
	if len(line) > maxLine {
		return fmt.Errorf("a line of %d bytes is no event", len(line))
	}
	if err := json.Unmarshal(line, e); err != nil {
		return err
	}
	if e.ID == 0 || e.ID > maxID || e.Kind == "" {
		return errors.New("an event has an id and a kind")
	}
	return nil
}

// load reads what is needed to go on: the newest file that says what was known,
// and those after it.
func (f *files) load() (found struct {
	table   Table
	last    uint64
	begin   uint64
	skipped int
},
) {
	found.table = Table{}
	all, err := f.contents(func(c *content) bool { return c.known == nil })
	if err != nil {
		return found
	}
	for i, c := range all {
		if i == 0 && c.known != nil {
			found.table = c.known
		}
		found.begin, found.last = c.begin, max(found.last, c.begin)
		found.skipped += c.skipped + c.skim(found.last, func(e *api.Event) bool {
			found.table.Apply(e)
			found.last = e.ID
			return true
		})
	}
	return found
}

// contents reads files from the newest back, as long as older, which is asked
// once about each, needs the one before; they are returned oldest first.
func (f *files) contents(older func(*content) bool) ([]content, error) {
	dir, err := f.dir(false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var all []content
	// Current first: if it is archived meanwhile it is read twice, not never.
	data, err := readFile(dir, current)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names, listErr := archives(dir)
	if listErr != nil {
		return nil, listErr
	}
	more := true
	add := func(data []byte, begin uint64) {
		all = append(all, parseContent(data, begin))
		more = older(&all[len(all)-1])
	}
	if err == nil {
		begin := uint64(0)
		if len(names) > 0 {
			begin, _ = beginOf(names[len(names)-1])
		}
		add(data, begin)
	}
	for _, name := range slices.Backward(names) {
		if !more {
			break
		}
		if data, err := readFile(dir, name); err == nil { // else removed meanwhile, or not ours
			begin, _ := beginOf(name)
			add(data, begin)
		}
	}
	slices.Reverse(all)
	return all, nil
}

// page answers a query about the events before an id.
func (f *files) page(q Query, before uint64) (api.EventList, error) {
	if q.Newest {
		return f.newest(q, before)
	}
	list := api.EventList{Last: q.After}
	all, err := f.contents(func(c *content) bool { return c.begin > q.After })
	if err != nil || len(all) == 0 {
		return list, err
	}
	list.Gone = all[0].begin > q.After
	for i := range all {
		all[i].each(list.Last, before, func(e *api.Event) bool {
			if q.full(len(list.Events)) {
				list.More = true
				return false
			}
			list.Last = e.ID
			if q.matches(e) {
				list.Events = append(list.Events, *e)
			}
			return true
		})
	}
	return list, nil
}

// newest collects the last events, looking back no further than it must.
func (f *files) newest(q Query, before uint64) (api.EventList, error) {
	var list api.EventList
	var found [][]api.Event // newest file first
	n := 0
	_, err := f.contents(func(c *content) bool {
		var here []api.Event
		c.each(0, before, func(e *api.Event) bool {
			list.Last = max(list.Last, e.ID)
			if q.matches(e) {
				here = append(here, *e)
			}
			return true
		})
		before = min(before, c.begin+1) // each file's events once
		found, n = append(found, here), n+len(here)
		return !q.full(n)
	})
	for _, here := range slices.Backward(found) {
		list.Events = append(list.Events, here...)
	}
	if q.full(len(list.Events)) {
		list.Events = list.Events[len(list.Events)-q.Limit:]
	}
	return list, err
}

// ReadHome answers a query from the files of a home, which may be supervised or
// not. A home that never was has no events; the error is about files that cannot
// be read.
func ReadHome(home string, q Query) (api.EventList, error) {
	list, err := newFiles(Options{Home: home}).page(q, ^uint64(0))
	if list.Events == nil {
		list.Events = []api.Event{}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return list, err
}
