// Package s6init is a container's process 1 where skarnet's s6 supervises: what
// becomes s6-svscan, and what stands by it.
//
// # Usage
//
// [Become] prepares the scan directory, boots the home into it, starts the
// process that runs the container's main program, gives up root, and executes
// s6-svscan. From then on no process of hermes is resident but that one. The
// others are [Attendant.Main] under the names that s6-svscan starts them by,
// links in its directory .s6-svscan: SIGTERM and SIGINT, in the place of what
// s6-svscan would do of such a signal, and finish, which takes its place as
// process 1 when all is down and exits with the container's code.
//
// # Who runs as whom
//
// Whoever may add a slot decides what s6-supervise executes, and gateways may
// add slots. So s6-svscan and everything below it runs as the uid of the
// gateways, never as root because init was: root is given up before.
//
// # The end
//
// A stop asked for from outside and the end of the main program are one thing:
// s6-svscan tells every s6-supervise to end, each gateway gets its grace, and
// what holds the end up after the longest of them is killed.
//
// # Testing
//
// In containers, by test/e2e.
package s6init
