package profile

import "time"

// Request is what an operator's action on a gateway is asked with.
type Request struct {
	NoWait  bool          // return as soon as the intent is on disk
	Timeout time.Duration // of the wait; 0 is the gateway's own
	By      string        // who asks, for changed_by: "cli uid 1000"
}
