// Package vitals tells other systems how a fleet is: /livez, /readyz and, as
// text for Prometheus, /metrics. docs/watching.md is about what to make of it.
//
// # Usage
//
// [NewHandler] answers the three paths from a [Source], which the fleet is for
// its engine and the client of the control API for everybody else. [Server]
// serves such a handler on an address of its own. Which series there are is the
// table in family.go; docs/reference/metrics.md is made from it.
//
// # Concurrency
//
// Requests run in parallel. The state of the fleet is asked for at most once at
// a time and once a second, however many scrape it.
//
// # Failure
//
// A source that fails is an answer: /livez and /readyz say 503 and why, and
// /metrics says that hermes_up is 0. An address that cannot be listened on is
// reported and tried again for as long as the server runs.
//
// # Security
//
// There is no authentication, so there is nothing but GET and HEAD, and nothing
// changes anything. Who connects may be anybody: every connection has a
// deadline, and there are never more than a few.
package vitals
