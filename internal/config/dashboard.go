package config

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// The variables of the dashboard beside HERMES_DASHBOARD itself. Those for
// which [IsDashboardSecret] holds are handed to nobody else.
const (
	EnvDashboardHost         = "HERMES_DASHBOARD_HOST"
	EnvDashboardPort         = "HERMES_DASHBOARD_PORT"
	EnvDashboardAllowedHosts = "HERMES_DASHBOARD_ALLOWED_HOSTS"
	EnvDashboardToken        = "HERMES_DASHBOARD_TOKEN"
	EnvDashboardUsername     = "HERMES_DASHBOARD_BASIC_AUTH_USERNAME"
	EnvDashboardPassword     = "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD"
	EnvDashboardPasswordHash = "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH"
	EnvDashboardSecret       = "HERMES_DASHBOARD_BASIC_AUTH_SECRET"
	EnvDashboardTTL          = "HERMES_DASHBOARD_BASIC_AUTH_TTL_SECONDS"

	dashboardPrefix = "HERMES_DASHBOARD_"
	basicAuthPrefix = dashboardPrefix + "BASIC_AUTH_"
)

// Where the dashboard listens unless told otherwise.
const (
	DefaultDashboardHost = "127.0.0.1"
	DefaultDashboardPort = 9119
)

// How long a log-in to the dashboard holds.
const (
	DefaultSessionTTL = 12 * time.Hour
	minSessionTTL     = time.Minute
	maxSessionTTL     = 30 * 24 * time.Hour
)

// Dashboard is what the variables say of the dashboard. What its credentials
// are worth together is not checked here.
type Dashboard struct {
	Host         string   // $HERMES_DASHBOARD_HOST, default DefaultDashboardHost
	Port         int      // $HERMES_DASHBOARD_PORT, default DefaultDashboardPort
	AllowedHosts []string // $HERMES_DASHBOARD_ALLOWED_HOSTS, lower case, without ports
	Token        Secret   // $HERMES_DASHBOARD_TOKEN

	Username      string        // $HERMES_DASHBOARD_BASIC_AUTH_USERNAME
	Password      Secret        // …_PASSWORD
	PasswordHash  Secret        // …_PASSWORD_HASH
	SessionSecret Secret        // …_SECRET
	SessionTTL    time.Duration // …_TTL_SECONDS, default DefaultSessionTTL
}

// DashboardFrom reads what the environment, of the form of [os.Environ], and
// the home's .env say of the dashboard; as for a gateway, .env wins. It is no
// part of [FromEnviron], as a mistake here must keep no gateway down. The error
// lists every wrong variable; the settings are usable beside it.
func DashboardFrom(environ []string, dotenv map[string]string) (Dashboard, error) {
	e := newEnvironment(environ)
	maps.Copy(e.values, DashboardVariables(dotenv))
	d := Dashboard{
		Host:          e.text(EnvDashboardHost, DefaultDashboardHost),
		Port:          e.integer(EnvDashboardPort, DefaultDashboardPort, maxPort),
		AllowedHosts:  e.hosts(EnvDashboardAllowedHosts),
		Token:         Secret(e.values[EnvDashboardToken]),
		Username:      e.values[EnvDashboardUsername],
		Password:      Secret(e.values[EnvDashboardPassword]),
		PasswordHash:  Secret(e.values[EnvDashboardPasswordHash]),
		SessionSecret: Secret(e.values[EnvDashboardSecret]),
		SessionTTL:    e.seconds(EnvDashboardTTL, DefaultSessionTTL, minSessionTTL, maxSessionTTL),
	}
	return d, e.problems.fault("correct the variables named above")
}

// DashboardVariables are those of a .env that are about the dashboard.
func DashboardVariables(dotenv map[string]string) map[string]string {
	mine := map[string]string{}
	for k, v := range dotenv {
		if strings.HasPrefix(k, dashboardPrefix) {
			mine[k] = v
		}
	}
	return mine
}

// IsDashboardSecret reports a variable that opens the dashboard. A gateway runs
// what a model thinks of: it is not to find the key to the whole fleet in its
// environment.
func IsDashboardSecret(key string) bool {
	return key == EnvDashboardToken || strings.HasPrefix(key, basicAuthPrefix)
}

// hosts are names or addresses, separated by commas.
func (e *environment) hosts(key string) []string {
	var all []string
	for word := range strings.SplitSeq(e.values[key], ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		host := HostOf(word)
		if host == "" || strings.ContainsAny(host, "/*@ ") {
			e.problems.add("%s: %q is not the name of a host", key, clip(word))
			continue
		}
		all = append(all, host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// seconds is a whole number of seconds.
func (e *environment) seconds(key string, fallback, least, most time.Duration) time.Duration {
	d := time.Duration(e.integer(key, int(fallback/time.Second), int(most/time.Second))) * time.Second
	if d < least {
		e.problems.add("%s: %q is less than %d seconds", key, clip(e.values[key]), int(least/time.Second))
		return fallback
	}
	return d
}

// HostOf is the host of a Host header or of a name that a person wrote: without
// its port, the brackets of an IPv6 address and the dot that ends a complete
// name, in lower case. It is "" for what cannot be a host.
func HostOf(hostport string) string {
	host := hostport
	switch i := strings.LastIndexByte(hostport, ':'); {
	case strings.HasPrefix(hostport, "["):
		end := strings.IndexByte(hostport, ']')
		rest := hostport[end+1:]
		if end < 0 || rest != "" && !isPort(rest) {
			return ""
		}
		host = hostport[1:end]
	case i >= 0 && strings.IndexByte(hostport, ':') == i:
		if !isPort(hostport[i:]) {
			return ""
		}
		host = hostport[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isPort reports a colon with digits behind it, as in "host:80"; RFC 3986
// allows none.
func isPort(s string) bool {
	return s[0] == ':' && strings.Trim(s[1:], "0123456789") == ""
}
