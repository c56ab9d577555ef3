// Package stray finds the processes that outlive the run that started them: a
// daemon forks twice, a child takes a session of its own, and neither is in the
// run's process group any more. It ends those that are proven to be of the run
// and names the others.
//
// # Usage
//
// The environment of a run carries a [Mark], which everything it starts
// inherits. When the run has ended, whatever is left of it has become a child
// of the keeper, or descends from such a child: [Orphans] lists those at the
// cost of one small file. If there are any, [Sweep] looks at every process and
// ends what carries the mark or holds the slot's lock. Root without
// CAP_SYS_PTRACE, as in Docker, may not read the environment of another uid, so
// Sweep is done by a short-lived process of the runs' uid: `hermes strays`,
// which is [Main]. It is asked with a [Request] and answers with [Report]s.
//
// Where no supervisor of ours waits for the runs, [Find] names the processes of a
// slot, whatever their run, and ends nothing.
//
// # Failure
//
// A process is signalled by its pidfd, after what proves it was read while the
// pidfd was held. What cannot be read proves nothing, and is left alone.
//
// # Testing
//
// With real processes.
package stray
