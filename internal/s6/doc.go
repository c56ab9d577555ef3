// Package s6 is skarnet's s6 as this project uses it: what it keeps on disk, how
// its tools are called and what their exit codes say.
//
// # Usage
//
// [Detect] finds a running s6 and its scan directory. A [Scandir] is that
// directory: [Scandir.Prepare] makes it before s6-svscan is started,
// [Scandir.Lay] puts slots into it meanwhile, and under a running s6-svscan
// [Scandir.Register], [Scandir.Unregister], [Scandir.List], [Scandir.State],
// [Scandir.Start], [Scandir.Stop] and [Scandir.Restart] do what their names say.
// [Scandir.FindCopies] finds the processes of a slot that are not the run s6 knows of.
// docs/s6.md has the contract in words.
//
// What s6 does is learned from the files it writes, above all the status file
// ([ParseStatus]), never from what its tools print. Commands go through s6-svc
// and s6-svscanctl: their exit codes are those of the seeds' errors.
//
// # Concurrency
//
// A Scandir is a value without state: any number of processes use the same
// directory. Registering is one rename that fails if the name is taken, so of
// two that register one slot exactly one succeeds. Two commands to one slot are
// two bytes in a FIFO: s6-supervise obeys one after the other.
//
// # Failure
//
// A slot is looked for before any tool is run: [*NotRegisteredError]. A tool that
// fails is a [*CommandError] with service, action, return code and what it wrote.
// Both are [ErrS6] for errors.Is, and come wrapped in a *fault.Error.
// A registration that does not come to life is taken back. Every wait has a
// deadline: the context's, or one of the command's own.
//
// The exit codes of s6 changed with 2.14; both sets are understood, see [Tools].
//
// # Testing
//
// Against a real s6-svscan that the test starts. Exit codes that the installed
// version cannot give come from a script in its place, in the tests that say so.
package s6
