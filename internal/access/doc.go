// Package access decides who may use the dashboard, and from where: it stands
// before the pages and knows nothing of them.
//
// # Usage
//
// [Resolve] says what a host to listen on means. [New] checks that the settings
// allow that; [Guard.Wrap] puts the rules before a handler, and [CallerOf] tells
// the handler who asks. [NewServer] has the limits of a server whose peers are
// strangers.
//
// # Rules
//
// In this order: every answer has the headers that keep a page from being
// framed, sniffed or fed with foreign scripts; the Host must be ours, or a page
// whose name was bound to our address could read everything; nothing is done
// for a page of another origin; then who asks must have shown a session, a
// password or the token, unless none is set and only this machine can ask.
//
// # Concurrency
//
// A Guard may be used from any goroutine. It has no goroutines of its own.
//
// # Failure
//
// What is refused is answered with a reason: a page for a browser, else JSON.
// A panic of the handler is answered with 500 and logged.
//
// # Testing
//
// Each rule has a table; cookie, hash and Host are fuzzed. Time is an option.
package access
