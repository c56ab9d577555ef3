// Package lease is the lock that makes one supervisor the owner of one home,
// and the record by which everyone else finds that supervisor.
//
// # Usage
//
// A supervisor calls [Take] and keeps the [Lease] for life; its engine, which
// inherits the descriptor, calls [Adopt]. Clients call [Read]: it needs no
// privilege beyond reading the file, and follows the holder's own word about
// where its socket is instead of guessing.
//
// # Concurrency
//
// The lock is an open file description (OFD) lock: it belongs to the
// description, not to the process, so closing some other descriptor of the
// same file does not drop it (a POSIX lock would be), a duplicate in another
// process holds it on, and the kernel drops it the instant the last holder
// dies. The record is written only by the holder. A [Lease] may be used from
// any goroutine.
//
// # Failure
//
// Where the file system is remote a lock may be local to one client machine.
// There, and only there, the record carries a heartbeat as well, and a fresh
// one of another machine or container refuses a second supervisor.
// A record that is torn, alien or hostile counts as no record at all.
//
// # Testing
//
// The tests take real locks in real processes; only remoteness is injected.
package lease
