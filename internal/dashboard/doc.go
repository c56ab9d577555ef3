// Package dashboard is the web page of a fleet: what every gateway is doing,
// why one is not as it is wanted, and the buttons to change that.
//
// # Usage
//
// [New] makes a [Dashboard], an http.Handler of pages, posts and streams, whose
// [Dashboard.Run] has to run beside it. It is a client of the control API like
// every other and knows nothing else of the supervisor. Who may use it, and the
// security headers, are the business of whoever mounts it: every script and
// style is a file of /static/, nothing is inline, and no other host is asked.
//
// # Concurrency
//
// One goroutine, Run's, asks the engine for the fleet: on a timer, and at once
// after an event of the engine's or an action here. What it learns becomes rows
// with the number of their last change. A stream to a browser has no queue: it
// sends what changed since it last sent, so one that is read slowly skips what
// is out of date and costs no memory.
//
// # Failure
//
// An engine that does not answer is what the page shows, with the last known
// state; it is asked again until it does. A dashboard that crashes takes
// nothing with it: it holds no state but an hour of memory samples.
//
// # Testing
//
// What is shown is computed by pure functions (rows, differences, charts); the
// rest is tested over a fake control API, with the streams in synctest bubbles.
package dashboard
