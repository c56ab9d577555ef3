// Package event is the ordered log of what happens in a home: every change of
// intent, state and health of every slot, and what became of the engine.
//
// # Usage
//
// One [Log] per engine. What happens is given to [Log.Emit], which numbers it.
// [Log.Page] and [Log.Next] are for who wants to know; [ReadHome] reads the
// history of a home that nothing supervises. [Table] makes of events what they
// say of each slot.
//
// # Format
//
// logs/events/ of the home holds "current" and, oldest first in the order of
// their names, full files "<id>.jsonl", named by the id after which they begin.
// A file begins with a line that says so, and what was known of each slot then;
// each further line is an event in JSON. The last file alone is enough to go on
// from. Ids begin, in each engine's life, at the microseconds since 1970, or
// after the last one in the file if that is greater: what was told and not
// written before a power cut is never told again under the same number.
//
// # Concurrency
//
// All methods may be called from any goroutine. Emit takes a place in a ring and
// no system call; a timer writes what has gathered. Who reads comes for its
// events at its own pace: nobody waits for a reader. One that is slower than the
// ring reads the files, and one that is slower than these is told what it
// missed. A Log without anything to write has no goroutine and no timer.
//
// # Failure
//
// An event is told once it is written, so that a killed engine's successor goes
// on from what was told; where writing fails or hangs it is told all the same.
// Events that cannot be written wait in the ring; those that it has no room for
// are missing in the file, are counted, and a later event says which. Nothing is
// synced: a power cut costs the last events, never more. A line that makes no
// sense is skipped and counted.
//
// # Testing
//
// The tests fill disks, tear lines and kill writers; benchmarks hold an event's
// cost.
package event
