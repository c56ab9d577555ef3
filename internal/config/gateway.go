package config

import (
	"time"

	"hermes/internal/profile"
)

// Gateway is the section `gateway:` of a profile's config.yaml.
type Gateway struct {
	Command []string          // nil: HERMES_GATEWAY_COMMAND, else the built-in gateway
	Env     map[string]string // added to the gateway's environment
	Port    int               // 0: not said, or "auto"
	Host    string            // the address to serve on, "" when not said
	Restart profile.Restart   // default profile.RestartAlways
	Ready   Ready             // zero: by the command, see [Ready.Or]
	// StartTimeout is how long a gateway may take to be ready; default 90 s.
	StartTimeout time.Duration
	// StopTimeout is the grace between SIGTERM and SIGKILL; 0: not said, the
	// settings' counts.
	StopTimeout time.Duration
	Logs        Logs
}

// Ready says how it is known that a gateway serves. Path is of [ReadyHTTP].
type Ready struct {
	Kind ReadyKind
	Path string // absolute, with its query if any
}

// ReadyKind tells the ways apart; the zero value is "not said".
type ReadyKind string

// The ways.
const (
	ReadyNotify ReadyKind = "notify" // READY=1 on NOTIFY_SOCKET
	ReadyExec   ReadyKind = "exec"   // as soon as the program was executed
	ReadyHTTP   ReadyKind = "http"   // 2xx on its port
)

// Or is r, or if nothing was said the default: notify for the built-in
// gateway, exec for any other command.
func (r Ready) Or(builtIn bool) Ready {
	switch {
	case r.Kind != "":
		return r
	case builtIn:
		return Ready{Kind: ReadyNotify}
	}
	return Ready{Kind: ReadyExec}
}

// Logs bounds the logs of one gateway: MaxFiles archives of MaxSize bytes.
type Logs struct {
	MaxSize  int64
	MaxFiles int
}

// The defaults of [Gateway]; those of the logs are the seed's.
const (
	DefaultStartTimeout = 90 * time.Second
	DefaultLogSize      = 1_000_000
	DefaultLogFiles     = 10
)

// Limits of [Logs]; the sizes are those of s6-log, whose file names we use.
const (
	minLogSize  = 4096
	maxLogSize  = 268435455
	maxLogFiles = 1000
)

// Model is the section `model:`, read by the built-in gateway alone.
type Model struct {
	Provider  string
	BaseURL   string // http or https, "" for the provider's own
	Name      string
	APIKeyEnv string // the name of the variable that holds the key
}

// DefaultGateway is a gateway about which nothing is said.
func DefaultGateway() Gateway {
	return Gateway{
		Restart:      profile.RestartAlways,
		StartTimeout: DefaultStartTimeout,
		Logs:         Logs{MaxSize: DefaultLogSize, MaxFiles: DefaultLogFiles},
	}
}

// ExplicitPort is the port a person chose for the profile, 0 for none:
// API_SERVER_PORT in its .env, else gateway.port, else, for the default
// profile alone, the container's API_SERVER_PORT.
func ExplicitPort(n profile.Name, s Settings, g Gateway, dotenv map[string]string) (int, error) {
	if v := dotenv[portVariable]; v != "" {
		p, err := parsePort(v)
		if err != nil {
			var problem problems
			problem.add(".env of %s: %s: %v", n, portVariable, err)
			return 0, problem.fault("correct " + portVariable + " in the profile's .env")
		}
		return p, nil
	}
	if g.Port == 0 && n == profile.Default {
		return s.APIServerPort, nil
	}
	return g.Port, nil
}

const portVariable = "API_SERVER_PORT"
