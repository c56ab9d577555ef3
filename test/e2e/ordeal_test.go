package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// ordeal is a fleet whose supervisor is struck again and again: two gateways
// that are left in peace, four that operators start, stop, restart and crash,
// and one that crashes by itself.
type ordeal struct {
	*host
	busy []string
	pids map[string]int // of those left in peace
}

func newOrdeal(t *testing.T) *ordeal {
	t.Helper()
	o := &ordeal{host: newHost(t, "HERMES_STOP_TIMEOUT=2"), busy: []string{"anna", "bert", "cleo", "dora"}, pids: map[string]int{}}
	quiet := []string{"quiet-exec", "quiet-notify"}
	o.probe("quiet-exec", "-rate", "2000") // which a broken pipe would end
	o.probe("quiet-notify", "-notify")
	for _, name := range o.busy {
		o.probe(name)
	}
	o.probe("crash", "-exit", "1", "-after", "100ms")
	o.start(slices.Concat(quiet, o.busy, []string{"crash"})...)
	for _, name := range quiet {
		o.state(name, "running")
		o.pids[name] = o.gateway(name).PID
	}
	return o
}

// strike strikes at random moments while operators are at work. No quiet
// gateway notices, nothing runs twice, every intent that was acknowledged is
// kept.
func (o *ordeal) strike(times int, every time.Duration, blow func()) {
	o.t.Helper()
	stop := make(chan struct{})
	acknowledged := o.operate(o.busy, stop)
	for range times {
		wait := time.NewTimer(rand.N(every))
		<-wait.C
		blow()
	}
	close(stop)
	for name, want := range acknowledged() {
		if got := o.intent(name); got != want {
			o.t.Errorf("%s: intent %s was acknowledged, %s is kept", name, want, got)
		}
		o.state(name, want)
	}
	starts := map[string]int{}
	for name, pid := range o.pids {
		starts[name] = 1
		if now := o.gateway(name); now.PID != pid || now.State != "running" {
			o.t.Errorf("%s was pid %d and is %d, %s", name, pid, now.PID, now.State)
		}
	}
	o.noDoubles(starts)
	for _, name := range append(o.busy, "crash") {
		if d := o.lines(name, "doubles"); len(d) > 0 {
			o.t.Errorf("%s met itself: %v", name, d)
		}
	}
}
