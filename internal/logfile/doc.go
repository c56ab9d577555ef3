// Package logfile keeps the output of gateways: in time-stamped, rotated files
// named as s6-log names them, and as one stream on the container's stdout.
//
// # Usage
//
// One [Log] per slot, open for as long as its supervisor lives. Each run's
// [Pipe] is given to [Log.Copy] until it ends; what the run wrote while there
// was no supervisor is given to [Log.Write] before that. All logs of a
// supervisor share one [Tee]. [Tail] and [Follow] read a directory, whoever
// writes it.
//
// # Format
//
// A directory holds "current" and, oldest first in the order of their names,
// files "@<TAI64N>.s" that were filled, or "@<TAI64N>.u" that were left with an
// unfinished line by a crash. TAI64N is 24 hex digits, a second and a
// nanosecond. Every line begins with the UTC time at which it was read,
// "2026-05-28T12:42:13.123456Z ", always 28 bytes (s6-log's "T" is local time
// without a zone; a log that is read on another machine needs one). Everything
// else is the gateway's bytes, untouched; a missing newline at the end of a
// run's output is added.
//
// A log's file is opened when there is something to write, and closed again
// when many others were opened since: quiet gateways cost no descriptor.
//
// Files end with whole lines, except that a line longer than 1/32 of a file
// may be continued, without a second stamp, in the next.
//
// There is no lock and no state beside the files: a process that is killed
// leaves nothing that its successor would have to clean up.
//
// # Concurrency
//
// All methods may be called from any goroutine, those of a Pipe from one at a
// time. A Log has no goroutine and no timer, a Tee has one goroutine that is
// idle while nothing is written.
//
// A quiet pipe is waited for in Go's poller and read as soon as something comes.
// A busy one is made wider, taken out of the poller and read once per
// millisecond, all busy ones at the same moment: each write to a pipe somebody
// polls wakes the poller, which costs a writer of single lines more than half of
// its speed. Nobody reads on a thread of its own.
//
// # Failure
//
// Nothing here ever blocks or fails a gateway. What cannot be written (full
// disk, read-only file system, a link planted in the way) is counted as lost,
// and the file is tried again, at most once per second, when more output
// comes, and when the log is closed; a line in the log marks the gap, says how
// much is missing, since when and why. A stuck, full or closed stdout costs
// lines there, which are counted for each log, and nothing else.
//
// Directories may belong to users who are hostile to us: below [Options.Home]
// no link is followed, only regular files with one name are opened, and what
// we chown was made by us.
package logfile
