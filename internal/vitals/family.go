package vitals

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/profile"
)

// kind is what Prometheus is told a number is.
type kind string

const (
	gauge   kind = "gauge"   // goes up and down
	counter kind = "counter" // goes up, or begins again at 0
)

// family is the series of one name. Labels are profiles, and words of which
// there is a list: nothing a gateway says is ever a label.
type family struct {
	name string
	kind kind
	help string // one sentence; the reference page has it as well
	// fleet is the number of a family that is about the whole fleet, and labels
	// what is said with it. gateway is that of one gateway; false: it has none, as
	// one that is down has no memory. is tells which of values a gateway's label
	// has. One of fleet, gateway and is is set.
	fleet   func(*api.Fleet) float64
	labels  func(*api.Fleet) []label
	gateway func(*api.Gateway) (float64, bool)
	is      func(*api.Gateway) string
	label   string
	values  []string
}

type label struct{ name, value string }

// up is the one family that says something when nobody answers.
func up() family {
	return family{
		name: "hermes_up", kind: gauge,
		help:  "1 if the supervisor tells the state of its fleet, else 0.",
		fleet: func(*api.Fleet) float64 { return 1 },
	}
}

// families are all series, in the order of the page. Rows are added, never
// renamed: people's alerts name them.
func families() []family {
	return slices.Concat([]family{up()}, ofFleet(), ofState(), ofRuns(), ofLogs())
}

func ofFleet() []family {
	return []family{
		{
			name: "hermes_build_info", kind: gauge, help: "1, with the version that supervises and its kind of engine.",
			fleet:  func(*api.Fleet) float64 { return 1 },
			labels: func(f *api.Fleet) []label { return []label{{"version", f.Version}, {"engine", f.Engine}} },
		},
		{
			name: "hermes_engine_restarts_total", kind: counter,
			help:  "Engines after the first since the supervisor was started, upgrades included. Gateways do not notice.",
			fleet: func(f *api.Fleet) float64 { return float64(f.EngineRestarts) },
		},
	}
}

func ofState() []family {
	return []family{
		{
			name: "hermes_gateway_intent_running", kind: gauge, help: "1 if the operator wants the gateway running, 0 if stopped.",
			gateway: func(g *api.Gateway) (float64, bool) { return truth(g.Intent == string(profile.Running)), true },
		},
		{
			name: "hermes_gateway_state", kind: gauge, help: "1 for the state the gateway is in, 0 for every other.",
			label: "state", values: states(), is: func(g *api.Gateway) string { return g.State },
		},
		{
			name: "hermes_gateway_health", kind: gauge, help: "1 for the health of the gateway, 0 for every other.",
			label: "health", values: healths(), is: func(g *api.Gateway) string { return g.Health },
		},
	}
}

func ofRuns() []family {
	return []family{
		{
			name: "hermes_gateway_restarts_total", kind: counter,
			help:    "Runs after the first since the gateway was last started by a command or a boot.",
			gateway: func(g *api.Gateway) (float64, bool) { return float64(g.Restarts), true },
		},
		{
			name: "hermes_gateway_failures", kind: gauge,
			help:    "Failed runs in a row, since the last healthy one or since it was started by a command.",
			gateway: func(g *api.Gateway) (float64, bool) { return float64(g.Failures), true },
		},
		{
			name: "hermes_gateway_start_time_seconds", kind: gauge, help: "When the run in hand began, Unix time. None while there is no run.",
			gateway: func(g *api.Gateway) (float64, bool) { return when(g.StartedAt) },
		},
		{
			name: "hermes_gateway_startup_seconds", kind: gauge, help: "From the start of the run in hand until it was ready. None before.",
			gateway: startup,
		},
		{
			name: "hermes_gateway_last_exit_code", kind: gauge,
			help:    "How the latest run that is over ended: its exit code, 128+n for signal n, -1 if nobody saw it or it never began.",
			gateway: lastExit,
		},
		{
			name: "hermes_gateway_last_exit_timestamp_seconds", kind: gauge, help: "When that run ended, Unix time.",
			gateway: func(g *api.Gateway) (float64, bool) {
				if g.LastExit == nil {
					return 0, false
				}
				return when(&g.LastExit.At)
			},
		},
		{
			name: "hermes_gateway_memory_bytes", kind: gauge, help: "Resident memory of the gateway's first process. None while there is no run.",
			gateway: func(g *api.Gateway) (float64, bool) { return float64(g.MemoryBytes), g.MemoryBytes != 0 },
		},
	}
}

func ofLogs() []family {
	return []family{
		{
			name: "hermes_gateway_log_lost_bytes_total", kind: counter,
			help:    "Bytes of the gateway's output that are not in the files of its log, since the engine started.",
			gateway: func(g *api.Gateway) (float64, bool) { return float64(g.LogLost), true },
		},
		{
			name: "hermes_gateway_stdout_lost_lines_total", kind: counter,
			help:    "Lines of it that are not on the supervisor's standard output, since the engine started.",
			gateway: func(g *api.Gateway) (float64, bool) { return float64(g.StdoutLost), true },
		},
	}
}

// states are those of the contract; a state that a newer engine tells of, and
// this build does not know, is none of them.
func states() []string {
	return words(profile.StateStopped, profile.StateStarting, profile.StateRunning,
		profile.StateStopping, profile.StateBackoff, profile.StateParked)
}

func healths() []string {
	return words(profile.HealthOK, profile.HealthDegraded, profile.HealthDraining, profile.HealthUnready, profile.HealthUnknown)
}

func words[T ~string](all ...T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func when(t *time.Time) (float64, bool) {
	if t == nil || t.IsZero() {
		return 0, false
	}
	return float64(t.UnixMilli()) / 1000, true
}

func startup(g *api.Gateway) (float64, bool) {
	if g.StartedAt == nil || g.ReadyAt == nil {
		return 0, false
	}
	took := max(g.ReadyAt.Sub(*g.StartedAt), 0) // the clock may have been set back
	return took.Round(time.Millisecond).Seconds(), true
}

// signalled is what shells add to the number of the signal that ended a process.
const signalled = 128

func lastExit(g *api.Gateway) (float64, bool) {
	switch e := g.LastExit; {
	case e == nil:
		return 0, false
	case e.Code != nil:
		return float64(*e.Code), true
	default:
		if n := unix.SignalNum(e.Signal); n != 0 {
			return float64(signalled + int(n)), true
		}
		return -1, true
	}
}
