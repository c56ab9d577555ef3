// Package supervisor is the imperative shell around the pure core: one loop
// per slot that feeds events to the lifecycle table and carries its actions
// out, and a fleet that owns the slots.
//
// # Usage
//
// New makes a fleet over a home and an engine.Runner; Boot collects the facts,
// plans and acts; then operators act through Start, Stop, Restart and All, and
// profiles come and go through Create, Delete, Rename and Rescan.
//
// # Concurrency
//
// A slot's fields belong to its loop. Others talk to it by posting functions
// that the loop runs one at a time, and read the view it publishes. The fleet's
// map of slots is guarded by Fleet.mu, which is never held across I/O.
//
// # Failure
//
// The supervisor may be killed at any moment. An intent is on disk before it
// is acted upon; an exit is on disk before the runner is told to forget it; a
// READY is on disk before it is taken from its socket. What comes back finds
// the rest with the runner.
//
// # Testing
//
// Policy is tested in lifecycle, restart and reconcile. Here the fake Runner
// of enginetest stands in for processes; the kill tests use real ones.
package supervisor
