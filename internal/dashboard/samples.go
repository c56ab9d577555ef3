package dashboard

import (
	"slices"
	"time"
)

// The memory charts: an hour, a sample every ten seconds. A thousand gateways
// take 1.5 MB.
const (
	sampleEvery = 10 * time.Second
	sampleCount = 360
)

// samples are rings of memory sizes, one per profile, all turned together. It
// is used under the hub's lock.
type samples struct {
	at     [sampleCount]int64 // Unix milliseconds, 0 for never
	next   int                // where the next sample goes
	last   time.Time
	byName map[string]*[sampleCount]uint32 // KiB, 0 while it did not run
}

func newSamples() *samples { return &samples{byName: map[string]*[sampleCount]uint32{}} }

// add takes a sample of all rows, if it is time for one.
func (s *samples) add(now time.Time, rows []row) {
	if !s.last.IsZero() && now.Sub(s.last) < sampleEvery-pollLeast {
		return
	}
	s.last = now
	s.at[s.next] = now.UnixMilli()
	for _, ring := range s.byName {
		ring[s.next] = 0
	}
	for i := range rows {
		ring := s.byName[rows[i].Profile]
		if ring == nil {
			ring = new([sampleCount]uint32)
			s.byName[rows[i].Profile] = ring
		}
		ring[s.next] = uint32(min(rows[i].Memory>>10, 1<<32-1))
	}
	s.next = (s.next + 1) % sampleCount
}

func (s *samples) drop(name string) { delete(s.byName, name) }

// sample is the memory of a gateway at a time, in Unix milliseconds and bytes;
// 0 bytes while it did not run.
type sample struct{ at, bytes int64 }

// of are the samples of a profile, oldest first.
func (s *samples) of(name string) []sample {
	ring := s.byName[name]
	if ring == nil {
		return nil
	}
	all := make([]sample, 0, sampleCount)
	for i := range sampleCount {
		at := (s.next + i) % sampleCount
		if s.at[at] != 0 {
			all = append(all, sample{s.at[at], int64(ring[at]) << 10})
		}
	}
	// What was sampled before the profile was there says nothing.
	first := slices.IndexFunc(all, func(x sample) bool { return x.bytes > 0 })
	return all[max(first, 0):]
}
