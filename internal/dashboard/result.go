package dashboard

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// result is what came of an action.
type result struct {
	OK      bool   `json:"ok"`
	Verb    string `json:"verb"` // start, stop, restart, create, rename, delete
	Profile string `json:"profile"`
	Code    string `json:"code,omitempty"` // of the failure
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Location is the page to go to, if the one it was asked on is gone.
	Location string `json:"location,omitempty"`
}

// failed is the result of what could not be done.
func (o order) failed(err error) result {
	r := result{Verb: o.verb, Profile: o.name, Code: string(fault.CodeOf(err))}
	if a, ok := errors.AsType[*api.Error](err); ok {
		r.Code = a.Code
	}
	r.Message, r.Hint = words(err)
	return r
}

// done is the result of what was done.
func (o order) done(message string, hints ...string) result {
	return result{OK: true, Verb: o.verb, Profile: o.name, Message: message, Hint: strings.Join(hints, "; ")}
}

// acted is the result of a start, a stop or a restart that the engine answered
// without an error. The gateway may have failed since.
func (o order) acted(res api.ActionResult) result {
	g := res.Gateway
	if res.Error != nil {
		return o.failed(&fault.Error{Code: fault.Code(res.Error.Code), Msg: res.Error.Message, Hint: res.Error.Hint})
	}
	switch profile.State(g.State) {
	case profile.StateBackoff, profile.StateParked:
		if o.verb == "stop" {
			break
		}
		reason := g.Reason
		if reason == "" {
			reason = "it ended at once"
		}
		return o.failed(fault.New(fault.GatewayFailed, "%s is %s: %s", g.Slot, g.State, reason).WithHint("%s", g.Hint))
	case profile.StateStopped, profile.StateStarting, profile.StateRunning, profile.StateStopping:
	}
	state := g.State
	if o.verb == "stop" {
		state = string(profile.StateStopped)
	}
	return o.done(o.name+" is "+state, res.Hints...)
}

// maxKept bounds the results that wait for their page.
const maxKept = 256

// kept are results that the page after a redirect will show, once, by a name
// that nobody guesses. The zero value is ready to use, from any goroutine.
type kept struct {
	mu     sync.Mutex // guards all below
	byName map[string]result
	order  []string
}

// keep keeps a result for the page after the redirect.
func (k *kept) keep(r result) (name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name = rand.Text()
	if k.byName == nil {
		k.byName = map[string]result{}
	}
	k.byName[name] = r
	if k.order = append(k.order, name); len(k.order) > maxKept {
		delete(k.byName, k.order[0])
		k.order = k.order[1:]
	}
	return name
}

// take gives a result once, nil if there is none of that name.
func (k *kept) take(name string) *result {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.byName[name]
	if !ok {
		return nil
	}
	delete(k.byName, name)
	return &r
}
