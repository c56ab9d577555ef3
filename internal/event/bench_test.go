package event_test

import (
	"fmt"
	"testing"

	"hermes/api"
	"hermes/internal/event"
)

// boot is what a first boot of n gateways tells.
func boot(n int) [][]api.Event {
	var all [][]api.Event
	for i := range n {
		p := fmt.Sprintf("g%04d", i)
		slot := "gateway-" + p
		all = append(all,
			[]api.Event{{Kind: api.EventSlot, Profile: p, Slot: slot, To: api.SlotAdded, Cause: "its profile was found"}},
			[]api.Event{
				{Kind: api.EventIntent, Profile: p, Slot: slot, To: "running", By: "migration", Generation: 1},
				{Kind: api.EventState, Profile: p, Slot: slot, From: "stopped", To: "starting", Health: "unready", Cause: "it is wanted running"},
			},
			[]api.Event{{Kind: api.EventState, Profile: p, Slot: slot, From: "starting", To: "running", Health: "unknown", PID: 4242, Cause: "it was executed, and is not asked whether it is ready"}})
	}
	return all
}

// BenchmarkBoot1000 emits and writes what a boot of 1,000 gateways tells, 4,000
// events.
func BenchmarkBoot1000(b *testing.B) {
	told := boot(1000)
	for b.Loop() {
		l := event.Open(event.Options{Home: b.TempDir()})
		for _, events := range told {
			l.Emit(events...)
		}
		l.Close()
	}
}

// BenchmarkEmit is what a slot pays for one event.
func BenchmarkEmit(b *testing.B) {
	l := open(b, event.Options{Home: b.TempDir()})
	e := state("coder", "starting", "running")
	b.ReportAllocs()
	for b.Loop() {
		l.Emit(e)
	}
}

// BenchmarkFlush is what a command pays so that its intent is told.
func BenchmarkFlush(b *testing.B) {
	l := open(b, event.Options{Home: b.TempDir()})
	e := state("coder", "starting", "running")
	for b.Loop() {
		l.Emit(e)
		l.Flush()
	}
}

func BenchmarkAppend(b *testing.B) {
	e := state("coder", "starting", "running")
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = event.Append(buf[:0], &e)
	}
}

// BenchmarkOpen reads a full file of a fleet of 1,000.
func BenchmarkOpen(b *testing.B) {
	home := b.TempDir()
	l := event.Open(event.Options{Home: home, MaxSize: 16 << 20})
	for _, events := range boot(1000) {
		l.Emit(events...)
	}
	for range 2 {
		emitMany(l, 1000)
		l.Flush()
	}
	l.Close()
	for b.Loop() {
		l := event.Open(event.Options{Home: home})
		if len(l.Before()) < 1000 {
			b.Fatal("not all slots are known")
		}
		l.Close()
	}
}
