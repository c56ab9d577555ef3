package fleettest

import (
	"testing"

	"hermes/internal/capability"
)

// proof is how a row of the table is proven. A row that every engine gives has
// no absent, one that none gives no given.
type proof struct {
	given, absent func(*testing.T, suite)
	// real says that it takes processes: a world without any cannot show it.
	real    bool
	options Options
}

func proofs() map[capability.Capability]proof {
	return map[capability.Capability]proof{
		capability.Register:     {given: proveRegister},
		capability.Intent:       {given: proveIntent},
		capability.Revive:       {given: proveRevive},
		capability.Park:         {given: provePark},
		capability.History:      {given: proveHistory},
		capability.ReadyExec:    {given: proveReadyExec},
		capability.ReadyBuiltIn: {given: proveReadyBuiltIn},
		capability.ReadyNotify:  {given: proveReadyNotify, absent: proveNoReadyNotify},
		capability.ReadyHTTP:    {given: proveReadyHTTP, absent: proveNoReadyHTTP, real: true},
		capability.StartTimeout: {given: proveStartTimeout, absent: proveNoStartTimeout},
		capability.Backoff:      {given: proveBackoff, absent: proveNoBackoff},
		capability.Policy:       {given: provePolicy},
		capability.Adoption:     {given: proveAdoption, absent: proveNoAdoption},
		capability.Health:       {given: proveHealth, absent: proveNoHealth},
		capability.Discovery:    {given: proveDiscovery, absent: proveNoDiscovery},
		capability.Strays:       {given: proveStrays, absent: proveNoStrays, real: true},
		capability.Events:       {given: proveEvents, absent: proveNoEvents},
		capability.JSONLogs:     {given: proveJSONLogs, absent: proveNoJSONLogs, options: Options{JSONLogs: true}},
	}
}

// proveAll proves every row of the engine's column.
func proveAll(t *testing.T, start Start) {
	known := proofs()
	for _, row := range capability.Table() {
		t.Run(string(row.Capability), func(t *testing.T) {
			p := known[row.Capability]
			s := begin(t, start, p.options)
			if p.real && !s.World.Real() {
				return // what it would show here is the suite itself
			}
			prove := p.absent
			if row.Answers[s.Engine].Given {
				prove = p.given
			}
			if prove == nil {
				t.Fatalf("nothing proves what the table says of %s about %s", s.Engine, row.Capability)
			}
			prove(t, s)
		})
	}
}
